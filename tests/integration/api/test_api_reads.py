"""Reads: never older than the last commit, whoever made it, and refused to whoever may not; rollback waits for none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import gate_records
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tokens import AccessStore
from rollout.domain.decide.actions import Wait
from rollout.domain.lifecycle.commands import By
from rollout.interfaces.api.report_answers import ReportAnswer
from rollout.interfaces.api.worker_pools import POOLS
from rollout.interfaces.views import rollout
from tests.integration.api.live import Live, live
from tests.support.values import said

SUMMARY = (
    "id",
    "name",
    "phase",
    "reason",
    "position",
    "steps",
    "agents",
    "weight",
    "retreated",
    "due_at",
    "next",
    "why",
    "waiting_for",
    "created_at",
    "updated_at",
)
ELSEWHERE = By("cli:test", "by another process")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("short"), ticking=True) as running:
        yield running


@pytest.fixture
def other(service: Live) -> Iterator[Database]:
    """The database as another process has it open."""
    database = Database(service.app.database.url, SystemClock())
    yield database
    database.close()


def get(service: Live, path: str, token: str = "viewer") -> Any:
    answer = service.ask("GET", path, token=token)
    assert answer.status == 200, answer.raw
    return answer.json


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "rollouts?nmae=frontdesk-v7",
            "nmae: there is no such query parameter; write one of: cursor, limit, live, name",
        ),
        ("rollouts/any?all=1", "all: there is no such query parameter; leave it out"),
    ],
)
def test_a_query_parameter_with_a_typo_does_not_find_everything(service: Live, path: str, words: str) -> None:
    answer = service.ask("GET", f"/api/v1/{path}", token="viewer")
    assert (answer.status, answer.json["detail"], answer.json["field"]) == (422, words, words.partition(":")[0])


def test_a_rollback_is_not_refused_for_its_query(service: Live) -> None:
    id_ = service.start(name="undone-whatever-is-asked")
    answer = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback?wiat=5", {"reason": "a test"}, token="responder")
    assert answer.status in (200, 202), answer.raw


def test_answers_are_those_of_the_views(service: Live) -> None:
    id_ = service.start(name="both")
    service.until(lambda: service.show(id_)["why"].startswith("the hold"))  # the scheduler has let it go
    shown = get(service, f"/api/v1/rollouts/{id_}")
    whole = rollout.show(service.app.store.load(id_)[0])
    assert list(shown) == [*whole, "timetable", "calls_unreadable"]
    assert shown == get(service, "/api/v1/rollouts/both")
    assert get(service, "/api/v1/rollouts?limit=1")["items"] == [{name: shown[name] for name in SUMMARY}]
    history = get(service, f"/api/v1/rollouts/{id_}/history?limit=50")
    assert history["items"] == json.loads(json.dumps([rollout.entry(e) for e in service.app.store.history(id_)]))
    two = get(service, f"/api/v1/rollouts/{id_}/history?after=1&limit=2")
    assert [e["seq"] for e in two["items"]] == [2, 3]
    assert two["next"] == (3 if len(history["items"]) > 3 else None)


def test_what_another_process_commits_is_seen_at_once(service: Live, other: Database) -> None:
    id_ = service.start(name="fresh")
    number = service.show(id_)["targets"][0]["number"]
    for i in range(10):
        paused = i % 2 == 0
        get(service, f"/api/v1/rollouts/{id_}"), get(service, f"/api/v1/rollouts/{id_}/history")
        command = service.app.commands.pause if paused else service.app.commands.resume
        command(id_, ELSEWHERE)
        wanted = "paused" if paused else "progressing"
        assert get(service, f"/api/v1/rollouts/{id_}")["phase"] == wanted
        listed = get(service, "/api/v1/rollouts?live=true")["items"]
        assert next(r for r in listed if r["id"] == id_)["phase"] == wanted
        kinds = [e["kind"] for e in get(service, f"/api/v1/rollouts/{id_}/history?limit=200")["items"]]
        assert kinds.count("pause") + kinds.count("resume") == i + 1
    # what is kept without an entry of the journal: the gates' newest look, and what the scheduler says
    with other.write() as connection:
        gate_records.set_verdict(connection, id_, said("pass"))
    store = Store(other)
    (held,) = store.claim("another", timedelta(seconds=5), only=id_) or service.until(
        lambda: store.claim("another", timedelta(seconds=5), only=id_)
    )
    assert get(service, f"/api/v1/rollouts/{id_}")["epoch"] == held.epoch
    store.release(held, Wait(None, "something", "because"))
    shown = get(service, f"/api/v1/rollouts/{id_}")
    assert (shown["next"], shown["why"], shown["due_at"]) == ("something", "because", None)
    assert shown["targets"][0]["number"] == number
    assert shown["verdict"]["outcome"] == "pass"


def test_a_revoked_token_is_refused_at_the_next_request(service: Live, other: Database) -> None:
    id_ = service.start(name="revoked")
    for path in ("/api/v1/rollouts", f"/api/v1/rollouts/{id_}", f"/api/v1/rollouts/{id_}/history", "/metrics"):
        token_id, token = service.token("viewer")
        for _ in range(3):
            assert service.ask("GET", path, token=token).status == 200
        AccessStore(other).revoke(token_id, "cli:test")
        assert service.ask("GET", path, token=token).status == 401


def test_rights_and_limits_hold_for_reads(service: Live) -> None:
    mine, theirs = service.number(), service.number()
    own = service.start(mine, name="own")
    foreign = service.start(theirs, name="foreign")
    _, token = service.token("viewer", numbers=[mine])
    assert get(service, f"/api/v1/rollouts/{own}", token)["id"] == own
    for path in (foreign, "foreign", f"{foreign}/history", "nobody"):
        assert service.ask("GET", f"/api/v1/rollouts/{path}", token=token).status == 404
    assert {r["id"] for r in get(service, "/api/v1/rollouts", token)["items"]} == {own}
    for path in ("/api/v1/rollouts", f"/api/v1/rollouts/{own}", f"/api/v1/rollouts/{own}/history", "/metrics"):
        assert service.ask("GET", path, token="trigger").status == 403
        assert service.ask("GET", path, token=None).status == 401
        assert service.ask("GET", path, headers={"Host": "evil.example"}).status == 421
        assert service.ask("POST", path, {}, token="admin").status in (405, 422)


def test_a_token_over_its_limit_is_refused(tmp_path: Path) -> None:
    with live(tmp_path, read_rate=2.0) as service:
        answers = [service.ask("GET", "/api/v1/rollouts", token="viewer").status for _ in range(8)]
    assert set(answers[:4]) == {200} and 429 in answers[4:]


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=201", "?limit=x", "?live=maybe", "?limit=1&limit=0", "?cursor=%00", "?limit=9999999999999"],
)
def test_odd_parameters_are_refused(service: Live, query: str) -> None:
    answer = service.ask("GET", "/api/v1/rollouts" + query)
    assert answer.status == 422 and answer.json["detail"]


def test_a_rollback_waits_for_no_reader_of_the_same_token(tmp_path: Path) -> None:
    """Also who asks is found out in a pool of its own."""
    with live(tmp_path, ticking=False) as running:
        id_ = running.start(name="held", confirmed=False)
        service, held = running.server.service, threading.Event()
        readers = POOLS["read"][0]
        try:
            for _ in range(readers):
                service.pools.submit("read", held.wait)
            with ThreadPoolExecutor(1) as pool:
                reader = pool.submit(running.ask, "GET", "/api/v1/rollouts", token="operator")
                running.until(lambda: service.pools._waiting["read"] > readers)
                path = f"/api/v1/rollouts/{id_}/rollback?wait=0"
                assert running.ask("POST", path, {}, token="operator", timeout=5).status in (200, 202)
                assert not reader.done()
                held.set()
                assert reader.result().status == 200
        finally:
            held.set()


def test_the_report_comes_in_three_forms_and_only_to_who_may_see_the_rollout(service: Live) -> None:
    id_ = service.start()
    address = f"/api/v1/rollouts/{id_}/report"
    found = service.ask("GET", address, token="viewer")
    assert found.headers["content-type"] == "application/json"
    assert ReportAnswer.model_validate(found.json).model_dump(exclude_unset=True).keys() == found.json.keys()
    page = service.ask("GET", f"{address}?format=html", token="viewer")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-disposition"] == f'attachment; filename="report-{id_}.html"'
    assert page.raw.startswith(b"<!doctype html>")
    text = service.ask("GET", f"{address}?format=text", token="viewer")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.raw.decode().splitlines()[0].endswith(f"({id_}): progressing")
    assert service.ask("GET", f"{address}?format=pdf", token="viewer").status == 422
    other = service.ask("POST", "/api/v1/tokens", {"name": "o", "role": "viewer", "numbers": ["+14158880000"]}).json
    assert service.ask("GET", address, token=other["token"]).status == 404


@pytest.mark.parametrize("path", ["", "/history"])
def test_an_answer_about_a_rollout_is_read_at_one_moment(
    service: Live, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    id_, moments = service.start(), []
    whole = service.app.database.at_one_moment

    @contextmanager
    def watched() -> Iterator[None]:
        with whole():
            moments.append("begun")
            yield
            moments.append("over")

    monkeypatch.setattr(service.app.database, "at_one_moment", watched)
    assert service.ask("GET", f"/api/v1/rollouts/{id_}{path}").status == 200
    assert moments == ["begun", "over"]
