"""The command line's operations on a running service: the same values and errors as on the database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from rollout.adapters.planfile import build_plan, dump_plan
from rollout.domain.errors import (
    Forbidden,
    InputError,
    NotReachable,
    PlanError,
    PreflightRefused,
    SettingsError,
    StaleExpectation,
    Unauthenticated,
    UnknownRollout,
)
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.state import Position
from rollout.interfaces.backend.local import Backend, LocalBackend
from rollout.interfaces.backend.plan_text import PlanText
from rollout.interfaces.backend.remote import RemoteBackend
from tests.integration.api.live import Live


@pytest.fixture
def remote(service: Live) -> Iterator[RemoteBackend]:
    found = RemoteBackend(service.server.url, service.tokens["operator"])
    yield found
    found.close()


ME = By("cli:tests", "because")


def written(service: Live, *numbers: str, **more: object) -> PlanText:
    return PlanText.read(dump_plan(build_plan(service.plan(*numbers, **more))), "plan.yaml")


def test_a_whole_rollout(service: Live, remote: RemoteBackend) -> None:
    backend: Backend = remote
    number = service.number()
    plan = written(service, number, name="by-remote")
    report = backend.check(plan)
    there = LocalBackend(service.app).check(plan)
    assert report["ok"] and {**report, "timetable": ""} == {**there, "timetable": ""}  # it begins at the second of now
    id_ = backend.start(plan, ME).id
    service.until(lambda: backend.show(id_)["confirmed_at"])
    assert backend.show("by-remote")["id"] == id_ == backend.on_number(number)
    moved = backend.command("promote", id_, ME, expect=Position(1, 1))
    assert moved.position == (1, 2)
    with pytest.raises(StaleExpectation) as stale:
        backend.command("promote", id_, ME, expect=Position(1, 1))
    assert stale.value.exit_code == 3 and stale.value.details["position"] == {"wave": 1, "step": 2}
    assert id_ in {r["id"] for r in backend.list(live=True)}
    assert backend.rollback(id_, ME)["phase"] in ("rolling_back", "rolled_back")
    back = backend.follow_rollback(id_, 20)
    assert back["phase"] in ("rolling_back", "rolled_back") and back["seconds"] is not None
    assert service.served(number) == [(6, 1)]
    service.until(lambda: backend.show(id_)["phase"] == "rolled_back")
    entries = backend.history(id_)
    assert entries == LocalBackend(service.app).history(id_) and entries[0]["reason"] == "because"
    assert backend.history(id_, entries[-1]["seq"]) == []
    assert backend.service_is_alive()


def test_errors_are_the_same_ones(service: Live, remote: RemoteBackend) -> None:
    with pytest.raises(PlanError, match=r"plan\.yaml:1:1"):
        remote.check(replace(written(service), text="- 1"))
    with pytest.raises(UnknownRollout) as unknown:
        remote.show("no such?rollout#é")
    assert unknown.value.exit_code == 2
    with pytest.raises(PreflightRefused):
        remote.start(written(service, "+19995550003"), ME)
    with pytest.raises(UnknownRollout):
        remote.on_number("+19995550003")
    with pytest.raises(Forbidden):
        RemoteBackend(service.server.url, service.tokens["viewer"]).start(written(service), ME)
    with pytest.raises(Unauthenticated) as nobody:
        RemoteBackend(service.server.url, None).list()
    assert nobody.value.exit_code == 4
    with pytest.raises(InputError):
        remote.command("Rollback!", "x", ME)
    with pytest.raises(InputError):
        remote.command("pause", "x", ME, full=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://rollout.example.com",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "",
        "http://",
        "https://a:b@127.0.0.1",
        "http://127.0.0.1:99999",
    ],
)
def test_addresses_that_would_leak_or_mean_nothing_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="ROLLOUT_URL"):
        RemoteBackend(url, "rlt_x")


def test_a_token_with_a_line_break_is_refused() -> None:
    with pytest.raises(SettingsError, match="ROLLOUT_TOKEN"):
        RemoteBackend("http://127.0.0.1:1", "rlt_x\r\nX: y")


def test_nobody_there_and_somebody_else_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.interfaces.backend.remote.PAUSE", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NotReachable, match="cannot be reached") as gone:
            RemoteBackend(f"http://127.0.0.1:{free.getsockname()[1]}", "rlt_x").list()
        assert gone.value.exit_code == 4
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            sock, _ = other.accept()
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
            sock.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NotReachable, match="not the service's JSON"):
            RemoteBackend(f"http://127.0.0.1:{other.getsockname()[1]}", "rlt_x").list()
        thread.join()


@pytest.mark.parametrize(
    "raw",
    [b'{"version": "1", "version": "2"}', b'{"version": Infinity}', b"[" * 100_000, b'{"version": "\xff"}'],
    ids=["a key twice", "not a number", "depth", "not UTF-8"],
)
def test_an_answer_that_is_not_strict_json_is_none(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = RemoteBackend("http://127.0.0.1:1", "rlt_x")
    monkeypatch.setattr(remote, "_once", lambda *_given: (200, raw))
    with pytest.raises(NotReachable, match="answered 200 with something that is not the service's JSON"):
        remote.list()


@pytest.mark.parametrize("raw", [b'{"message": "nothing is here"}', b'{"status": "error", "message": "Forbidden"}'])
@pytest.mark.parametrize("status", [401, 403, 404, 409, 500, 502])
def test_a_refusal_by_something_else_at_this_address_is_told_as_that(
    status: int, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteBackend("http://127.0.0.1:1", "rlt_x")
    monkeypatch.setattr("rollout.interfaces.backend.remote.PAUSE", 0.0)
    monkeypatch.setattr(remote, "_once", lambda *_given: (status, raw))
    with pytest.raises(NotReachable, match=f"answered {status} with something that is not the service's JSON"):
        remote.list()


def test_a_number_means_its_rollout_even_after_its_rollback(service: Live, remote: RemoteBackend) -> None:
    number = service.number()
    with pytest.raises(UnknownRollout, match=rf"no rollout has written \{number}$"):
        remote.on_number(number)
    id_ = service.start(number, name="twice-by-number")
    remote.rollback(remote.on_number(number), ME)
    remote.follow_rollback(id_, 20)
    assert remote.on_number(number) == id_ == LocalBackend(service.app).on_number(number)
    assert service.ask("GET", f"/api/v1/numbers/{number}").json["rollback"] is None, "nothing is left to roll back"


@pytest.mark.parametrize("line", ['{"report": {}, "report": {}}', '{"report": {"p": NaN}}', "[" * 100_000])
def test_a_line_about_tests_that_is_not_strict_json_breaks_the_answer_off(line: str) -> None:
    remote = RemoteBackend("http://127.0.0.1:1", "rlt_x")
    remote._client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=line + "\n")))
    with pytest.raises(NotReachable, match="it is not the service's JSON"):
        remote._run_tests({}, print)


def test_a_lost_answer_is_asked_again_and_has_one_effect(
    service: Live, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = service.start(name="lost-answer")
    once, lost = remote._once, []

    def loses(*given: object) -> tuple[int, bytes]:
        got = once(*given)
        if not lost:
            lost.append(got)
            raise httpx.ReadError("lost on the way")
        return got

    monkeypatch.setattr(remote, "_once", loses)
    answer = remote.command("promote", id_, ME)
    assert lost and answer.position == (1, 2)
    assert service.show(id_)["position"] == {"wave": 1, "step": 2}


def test_every_rollout_is_listed_however_many_answers_that_takes(
    service: Live, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 of 5,001 were given as if they were all."""
    for i in range(5):
        service.start(name=f"listed-{i}")
    monkeypatch.setattr("rollout.interfaces.backend.remote.PAGE", 2)
    whole = [r["id"] for r in LocalBackend(service.app).list()]
    assert [r["id"] for r in remote.list()] == whole
    assert [r["id"] for r in remote.list(limit=3)] == whole[:3]
    assert [r["name"] for r in remote.list(name="listed-3")] == ["listed-3"]
    assert remote.list(name="nobody") == []
