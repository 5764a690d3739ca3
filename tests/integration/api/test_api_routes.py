"""The API over real sockets: what each route answers."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.errors import NotReachable
from rollout.interfaces.api.server import run_server
from rollout.interfaces.backend.local import LocalBackend
from tests.integration.api.live import Live, live
from tests.support.logs import captured
from tests.support.phases import commands_in_every_phase


def test_a_rollout_goes_its_way_over_http(service: Live) -> None:
    number = service.number()
    checked = service.ask("POST", "/api/v1/plans/check", {"plan": service.plan(number)})
    assert checked.status == 200 and checked.json["ok"]
    assert checked.json["requests"][0]["numbers"] == [number]
    id_ = service.start(number, name="goes-its-way")
    shown = service.show(id_)
    assert shown["position"] == {"wave": 1, "step": 1} and shown["weight"] == 0.1
    assert service.served(number) == [(7, 0.1), (6, 0.9)] or sorted(service.served(number)) == [(6, 0.9), (7, 0.1)]
    moved = service.ask("POST", f"/api/v1/rollouts/{id_}/promote", {"expect": {"wave": 1, "step": 1}, "reason": "good"})
    assert moved.status == 200 and moved.json["position"] == {"wave": 1, "step": 2}
    service.until(lambda: service.show(id_)["confirmed_at"])
    paused = service.ask("POST", f"/api/v1/rollouts/{id_}/pause", {"reason": "lunch"}, token="responder")
    assert paused.json["phase"] == "paused" and paused.json["reason"] == "lunch"
    assert service.ask("POST", f"/api/v1/rollouts/{id_}/resume").json["phase"] == "progressing"
    back = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback", {"reason": "calls drop"}, token="responder")
    assert back.status == 200 and back.json["read_back"] is True and back.json["seconds"] < 10
    assert service.served(number) == [(6, 1)]
    kinds = [e["kind"] for e in service.ask("GET", f"/api/v1/rollouts/{id_}/history").json["items"]]
    assert kinds[0] == "created" and "promote" in kinds and "rollback" in kinds


def test_weights_are_set_by_hand(service: Live) -> None:
    number = service.number()
    id_ = service.start(number, name="by-hand")
    path = f"/api/v1/rollouts/{id_}/set"
    service.until(lambda: service.show(id_)["confirmed_at"])
    done = service.ask("POST", path, {"weight": 0.3, "expect": "1.1", "reason": "slower"})
    assert done.status == 200 and done.json["position"] == {"wave": 1, "step": 1}
    service.until(lambda: service.served(number) == [(7, 0.3), (6, 0.7)])
    service.until(lambda: service.show(id_)["confirmed_at"])
    shown = service.show(id_)
    assert shown["by_hand"] == {"canary": 0.3} and shown["weight"] == 0.3 and shown["targets"][0]["step"] == 1
    for body, said in (
        ({}, '"weight": 0.2'),
        ({"weight": 0.2, "weights": {"canary": 0.2}}, '"weight": 0.2'),
        ({"weights": {"b": 0.2}}, "there is no version b; write one of: canary"),
        ({"weight": 1.0}, "leaves nothing for the baseline"),
    ):
        refused = service.ask("POST", path, body)
        assert refused.status == 422 and said in str(refused.json), refused.json
    assert service.ask("POST", path, {"weight": 0.3}).status == 409
    assert service.ask("POST", path, {"weight": 0.2}, token="responder").status == 403


def test_set_and_ship_in_every_phase_where_they_may_be_and_a_sentence_where_not(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False) as service:
        id_ = service.start(confirmed=False)
        bodies = {"set": {"weight": 0.3}, "ship": {"variant": "canary", "anyway": True}}
        for command, refused in commands_in_every_phase(service.app.store, id_):
            epoch = service.app.store.load(id_)[0].epoch
            answer = service.ask("POST", f"/api/v1/rollouts/{id_}/{command}", bodies[command])
            assert (answer.status, answer.json.get("detail")) == (409 if refused else 200, refused)
            assert (service.app.store.load(id_)[0].epoch == epoch) is (refused is not None)


def test_a_version_is_shipped_and_promoted(service: Live) -> None:
    number = service.number()
    versions = {name: {"agent_id": "agent_frontdesk", "agent_version": v} for name, v in (("b", 7), ("c", 8))}
    steps = [{"weights": {"b": 0.1, "c": 0.1}, "hold": "1h"}, {"weights": {"b": 0.4, "c": 0.4}, "hold": "1h"}]
    id_ = service.start(number, name="three-versions", canary=None, variants=versions, steps=steps)
    path = f"/api/v1/rollouts/{id_}/ship"
    refused = service.ask("POST", path, {"variant": "c"})
    assert refused.status == 409 and "no gate has judged c yet" in refused.json["detail"], refused.json
    assert service.ask("POST", path, {}).status == service.ask("POST", path, {"variant": "d"}).status == 422
    assert service.ask("POST", path, {"variant": "c", "anyway": True}, token="responder").status == 403
    done = service.ask("POST", path, {"variant": "c", "anyway": True, "reason": "it books more"})
    assert done.status == 200 and done.json["position"] == {"wave": 1, "step": 2}
    service.until(lambda: service.served(number) == [(8, 1)])
    service.until(lambda: service.show(id_)["confirmed_at"])
    assert service.show(id_)["shipped"] == "c" and service.show(id_)["weights"] == {"c": 1.0}
    service.ask("POST", f"/api/v1/rollouts/{id_}/promote", {"reason": "no bake"})
    service.until(lambda: service.show(id_)["phase"] == "promoted")
    data = next(
        e for e in service.ask("GET", f"/api/v1/rollouts/{id_}/history").json["items"] if e["kind"] == "shipped"
    )
    assert data["data"]["missing"] == "no gate has judged c yet" and data["reason"] == "it books more"


def test_a_plan_may_be_yaml_text_and_complaints_name_line_and_field(service: Live) -> None:
    text = f'version: 1\nname: yaml\nnumbers: ["{service.number()}"]\nchannels: [inbound]\nsteps: [{{weight: 1.0}}]\n'
    text += "canary: {agent_id: agent_frontdesk, agent_version: 7}\ngates: []\n"
    assert service.ask("POST", "/api/v1/plans/check", {"plan": text}).json["ok"]
    wrong = service.ask("POST", "/api/v1/rollouts", {"plan": text.replace("1.0", "1.5")})
    assert wrong.status == 422 and wrong.headers["content-type"] == "application/problem+json"
    assert wrong.json["code"] == "plan_error" and wrong.json["problems"][0]["line"] == 5
    missing = service.ask("POST", "/api/v1/rollouts", {})
    assert missing.status == 422 and missing.json["errors"][0] == {
        "in": "body",
        "field": "plan",
        "problem": "it is missing; add it",
    }
    for kind in (1, None, ["a"]):
        refused = service.ask("POST", "/api/v1/rollouts", {"plan": kind})
        assert (refused.status, refused.json["detail"]) == (
            422,
            "plan: write an object with the plan's keys, or the text of a plan file",
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("POST", "/rollouts/x/pause", {"reason": "a" * 1001}, "reason: it is too long; write at most 1000 characters"),
        ("POST", "/rollouts/x/pause", {"request_id": ""}, "request_id: it is too short; write at least 1 character"),
        ("GET", "/numbers/14157774444", None, "number: write text of the form "),
        ("GET", "/rollouts?limit=0", None, "limit: write at least 1"),
        ("GET", "/rollouts/x/report?format=pdf", None, "format: write 'json', 'text' or 'html'"),
        ("GET", "/rollouts?limit=1000", None, "limit: write at most 200"),
    ],
)
def test_what_is_out_of_bounds_is_told_what_to_write(
    service: Live, method: str, path: str, body: dict[str, Any] | None, detail: str
) -> None:
    refused = service.ask(method, f"/api/v1{path}", body)
    assert refused.status == 422 and refused.json["detail"].startswith(detail)


def test_a_stale_expectation_is_409_and_says_where_it_stands(service: Live) -> None:
    id_ = service.start(name="stale")
    answer = service.ask("POST", f"/api/v1/rollouts/{id_}/promote", {"expect": {"wave": 1, "step": 2}})
    assert answer.status == 409 and answer.json["position"] == {"wave": 1, "step": 1}
    assert answer.json["phase"] == "progressing" and "nothing was changed" in answer.json["detail"]
    illegal = service.ask("POST", f"/api/v1/rollouts/{id_}/adopt")
    assert illegal.status == 409 and illegal.json["position"] == {"wave": 1, "step": 1}
    assert service.show(id_)["position"] == {"wave": 1, "step": 1}


def test_a_repeated_request_id_gives_the_first_answer(service: Live) -> None:
    id_ = service.start(name="repeated")
    path = f"/api/v1/rollouts/{id_}/promote"
    first = service.ask("POST", path, {"request_id": "once"})
    again = service.ask("POST", path, {}, headers={"Idempotency-Key": "once"})
    assert first.status == again.status == 200 and first.json == again.json
    assert service.show(id_)["position"] == {"wave": 1, "step": 2}
    both = service.ask("POST", path, {"request_id": "once"}, headers={"Idempotency-Key": "twice"})
    assert both.status == 422 and "Idempotency-Key" in both.json["detail"]
    other = service.ask("POST", path, {"request_id": "once", "full": True})
    assert other.status == 409 and "already used" in other.json["detail"]
    plan = service.plan(name="start-twice")
    begun = [service.ask("POST", "/api/v1/rollouts", {"plan": plan, "request_id": "s"}).json for _ in range(2)]
    assert begun[0] == begun[1]


def test_two_who_press_promote_at_once_move_it_once(service: Live) -> None:
    id_ = service.start(name="two-browsers")
    body = {"expect": {"wave": 1, "step": 1}}
    answers = [service.ask("POST", f"/api/v1/rollouts/{id_}/promote", body).status for _ in range(2)]
    assert answers == [200, 409]


def test_lists_are_paged_by_cursor(service: Live) -> None:
    made = [service.start(name=f"page-{i}", confirmed=False) for i in range(5)]
    seen, cursor = [], None
    while True:
        tail = f"&cursor={cursor}" if cursor else ""
        page = service.ask("GET", f"/api/v1/rollouts?limit=2{tail}", token="viewer").json
        assert len(page["items"]) <= 2
        seen += [r["id"] for r in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) and set(made) <= set(seen)
    assert seen[:5] == made[::-1]
    assert service.ask("GET", "/api/v1/rollouts?cursor=nonsense").status == 422
    assert service.ask("GET", "/api/v1/rollouts?limit=201").status == 422
    live = service.ask("GET", "/api/v1/rollouts?live=true&limit=200").json["items"]
    assert all(r["phase"] not in ("promoted", "rolled_back", "stopped") for r in live)
    service.until(lambda: service.show(made[0])["confirmed_at"])
    page = service.ask("GET", f"/api/v1/rollouts/{made[0]}/history?limit=1").json
    assert page["next"] == 1 and page["items"][0]["seq"] == 1


def test_a_number_shows_what_it_serves_and_its_history(service: Live) -> None:
    number = service.number()
    id_ = service.start(number, name="number")
    found = service.ask("GET", f"/api/v1/numbers/{number}?fresh=true", token="viewer").json
    assert found["driven_by"]["id"] == id_ and found["rollback"] == id_
    assert {e["agent_version"] for e in found["serves"]["inbound_agents"]} == {6, 7}
    assert [r["id"] for r in found["rollouts"]] == [id_]
    assert service.ask("GET", "/api/v1/numbers/+19995550000").status == 404
    assert service.ask("GET", "/api/v1/numbers/+1..%2Fx").status in (404, 422)


@pytest.mark.real_time
def test_rollback_answers_at_once_when_asked_not_to_wait(service: Live) -> None:
    number = service.number()
    id_ = service.start(number, name="no-wait")
    began = time.monotonic()
    answer = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback?wait=0", raw=b"")
    assert answer.status == 202 and answer.json["read_back"] is False and time.monotonic() - began < 2
    assert answer.headers["location"] == f"/api/v1/rollouts/{id_}"
    service.until(lambda: service.served(number) == [(6, 1)])


def test_a_rollback_that_takes_long_is_202_and_goes_on(service: Live) -> None:
    number = service.number()
    id_ = service.start(number, name="takes-long")
    fault = {"method": "PATCH", "number": number, "kind": "status", "status": 500, "times": 4}
    service.sandbox.fault(**fault)
    answer = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback?wait=0.2")
    assert answer.status == 202 and answer.json["phase"] == "rolling_back"
    service.until(lambda: service.served(number) == [(6, 1)], 20)


def test_health_readiness_and_metrics(service: Live) -> None:
    assert service.ask("GET", "/healthz", token=None).json == {"status": "alive"}
    ready = service.ask("GET", "/readyz", token=None)
    assert ready.status == 200 and ready.json == {"status": "ready"}
    full = service.ask("GET", "/readyz", token="viewer").json
    assert full["checks"] == {"schema": "ok", "database": "ok", "ticks": "ok"}
    assert service.ask("GET", "/metrics", token=None).status == 401
    figures = service.ask("GET", "/metrics", token="viewer")
    assert figures.raw == b"rollout_up 1\n" and figures.headers["content-type"].startswith("text/plain")


def test_what_is_not_wired_is_501(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.ask("POST", "/api/v1/plans/rehearse", {"plan": service.plan()}).json["line"].startswith("a plan")
    monkeypatch.setattr(service.server.service, "rehearse", None)
    answer = service.ask("POST", "/api/v1/plans/rehearse", {"plan": service.plan()})
    assert answer.status == 501 and "rollout rehearse" in answer.json["detail"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_405_and_name_those_that_work(service: Live, method: str) -> None:
    answer = service.ask(method, "/api/v1/rollouts")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST"
    only_post = service.ask("HEAD", "/hooks/retell")
    assert only_post.status == 405 and only_post.headers["allow"] == "POST"


def test_head_is_answered_wherever_get_is(service: Live) -> None:
    id_ = service.start(name="head")
    for route in service.server.api.routes:
        if "GET" not in route.methods:
            continue
        path = route.path.replace("{id}", id_).replace("{number}", "+19995550000")
        head = service.ask("HEAD", path)
        assert head.raw == b"", path
        if path.endswith("/events"):
            assert head.status == 200 and head.headers["content-type"].startswith("text/event-stream")
            continue
        got = service.ask("GET", path)
        assert (head.status, head.headers["content-type"]) == (got.status, got.headers["content-type"]), path
    assert service.ask("HEAD", "/healthz", token=None).headers["content-length"] == "18"
    assert len(service.server.service.hub) == 0


def test_unknown_things_are_404(service: Live) -> None:
    for path in ("/api/v1/rollouts/nosuch", "/api/v1/nothing", "/docs", "/redoc", "/openapi.json", "/debug"):
        answer = service.ask("GET", path)
        assert answer.status == 404 and answer.headers["content-type"] == "application/problem+json", path


@pytest.mark.real_time
def test_answers_do_not_wait_for_small_packets(service: Live) -> None:
    """Without TCP_NODELAY each answer on a kept connection waits some 40 ms for the client's acknowledgement."""
    connection = http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=10)
    took = []
    for _ in range(30):
        began = time.monotonic()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        took.append(time.monotonic() - began)
    connection.close()
    assert min(took[1:]) < 0.03, took


def test_expect_is_taken_as_the_command_line_writes_it(service: Live) -> None:
    id_ = service.start(name="expected")
    for command in ("pause", "resume"):
        stale = service.ask("POST", f"/api/v1/rollouts/{id_}/{command}", {"expect": "2.1"})
        assert stale.status == 409 and stale.json["position"] == {"wave": 1, "step": 1}
        assert service.ask("POST", f"/api/v1/rollouts/{id_}/{command}", {"expect": "1.1"}).status == 200
    assert service.ask("POST", f"/api/v1/rollouts/{id_}/pause", {"expect": {"wave": 1, "step": 1}}).status == 200
    for wrong in ("1.2.3", "", "one", "0.1", "1.0", "²", "1." + "9" * 5000, "-1.2", " 1.1", 1.1, 11, [1, 1], True):
        answer = service.ask("POST", f"/api/v1/rollouts/{id_}/resume", {"expect": wrong})
        assert answer.status == 422 and answer.json["errors"][0]["field"] == "expect", wrong
        assert "1.2" in answer.json["detail"], answer.json
    rolled_back = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback", {"expect": "1.2"})
    assert rolled_back.status == 200


def test_addresses_that_are_told_have_the_brackets_of_ipv6(service: Live) -> None:
    server = run_server(service.app, None, "::1", 0)
    try:
        server.start()
        assert server.url == f"http://[::1]:{server.port}"
        with pytest.raises(NotReachable, match=rf"cannot listen on \[::1\]:{server.port}: "):
            run_server(service.app, None, "::1", server.port).start()
    finally:
        server.stop()


def test_readiness_says_that_the_database_file_was_replaced(service: Live) -> None:
    """After `rm` of the file, /readyz went on saying 200."""
    path = Path(service.app.settings.database_url.removeprefix("sqlite:///"))
    away = path.with_name("away.db")
    path.rename(away)
    try:
        service.until(lambda: service.ask("GET", "/readyz", token=None).status == 503, 10)
    finally:
        away.rename(path)
    service.until(lambda: service.ask("GET", "/readyz", token=None).status == 200, 30)


def test_an_unforeseen_error_in_a_rollback_is_in_the_log_as_the_answer_says(
    service: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: LocalBackend, _id: str, _timeout: float) -> None:
        raise ZeroDivisionError("seven by nothing")

    id_ = service.start()
    monkeypatch.setattr(LocalBackend, "follow_rollback", broken)
    with captured() as lines:
        answer = service.ask("POST", f"/api/v1/rollouts/{id_}/rollback?wait=5")
    assert answer.status == 202
    assert answer.json["trouble"] == "unexpected ZeroDivisionError; the log has it"
    (line,) = [one for one in lines if one["event"] == "a rollback was not driven on"]
    assert (line["rollout"], line["error"], line["log_level"]) == (id_, "ZeroDivisionError", "error")
