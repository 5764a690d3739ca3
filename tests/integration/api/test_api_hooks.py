"""Hooks: alerts that stop a rollout once, and Retell's webhooks, forged, stale, replayed and in a flood."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.sandbox.webhooks import signature
from tests.integration.api.live import AGENT, Answer, Live, live

KEY = "key_of_the_tests"


def listening(service: Live, team: str, action: str = "rollback", number: str | None = None) -> tuple[str, str]:
    """(rollout id, number) of a rollout that listens to alerts of one team."""
    number = number or service.number()
    rules = [{"match": {"team": team}, "action": action}]
    return service.start(number, name=f"listens-{team}", alerts=rules), number


def alert(service: Live, source: str, body: Any, token: str = "trigger") -> Answer:
    return service.ask("POST", f"/hooks/alerts/{source}", body, token=token)


def alertmanager(
    team: str, status: str = "firing", started: str = "2026-11-01T00:00:00Z", **labels: str
) -> dict[str, Any]:
    one = {
        "status": status,
        "labels": {"alertname": "CallsDrop", "team": team, **labels},
        "annotations": {"summary": "calls\r\ndrop \x1b[31mnow"},
        "startsAt": started,
        "fingerprint": f"f-{team}",
    }
    return {"version": "4", "status": status, "receiver": "rollout", "alerts": [one]}


def test_an_alert_rolls_back_once(service: Live) -> None:
    id_, number = listening(service, "one")
    answer = alert(service, "alertmanager", alertmanager("one"))
    assert answer.status == 200 and answer.json["done"][0]["rollout"] == id_ and answer.json["done"][0]["done"]
    service.until(lambda: service.served(number) == [(6, 1)])
    shown = service.until(lambda: (s := service.show(id_))["phase"] == "rolled_back" and s)
    assert shown["reason"] == "alert CallsDrop (alertmanager): calls drop [31mnow"
    entries = service.ask("GET", f"/api/v1/rollouts/{id_}/history?limit=200").json["items"]
    orders = [e for e in entries if e["kind"] == "rollback"]
    assert len(orders) == 1 and orders[0]["actor"].startswith("token:")
    assert orders[0]["data"]["alert"] == "CallsDrop"
    assert alert(service, "alertmanager", alertmanager("one")).json["done"] == []  # it is not live any more


def test_a_repeated_alert_does_nothing_twice_and_a_resolved_one_nothing(service: Live) -> None:
    id_, _ = listening(service, "pausing", "pause")
    assert alert(service, "alertmanager", alertmanager("pausing", "resolved")).json["done"][0]["done"] is False
    assert service.show(id_)["phase"] == "progressing"
    assert alert(service, "alertmanager", alertmanager("pausing")).json["done"][0]["done"] is True
    assert service.show(id_)["phase"] == "paused"
    service.ask("POST", f"/api/v1/rollouts/{id_}/resume")
    again = alert(service, "alertmanager", alertmanager("pausing")).json["done"][0]
    assert again["done"] is False and "already" in again["why"]
    assert service.show(id_)["phase"] == "progressing"
    fresh = alert(service, "alertmanager", alertmanager("pausing", started="2026-11-02T00:00:00Z"))
    assert fresh.json["done"][0]["done"] is True and service.show(id_)["phase"] == "paused"


BODIES: dict[str, Any] = {
    "grafana": {**alertmanager("grafana"), "orgId": 1, "title": "[FIRING]", "state": "alerting"},
    "pagerduty": {
        "event": {
            "id": "01",
            "event_type": "incident.triggered",
            "resource_type": "incident",
            "occurred_at": "2026-11-01T00:00:00Z",
            "data": {
                "id": "P1",
                "type": "incident",
                "title": "calls drop",
                "service": {"id": "S1", "summary": "pagerduty"},
            },
        }
    },
    "datadog": {"alert_id": "77", "title": "calls drop", "transition": "Triggered", "tags": "env:prod,team:datadog"},
    "generic": {"status": "firing", "labels": {"team": "generic"}, "summary": "calls drop"},
}


@pytest.mark.parametrize("source", BODIES)
def test_each_tool(service: Live, source: str) -> None:
    label = "service" if source == "pagerduty" else "team"
    rules = [{"match": {label: source}, "action": "pause"}]
    id_ = service.start(name=f"tool-{source}", alerts=rules)
    answer = alert(service, source, BODIES[source])
    assert answer.status == 200 and answer.json["done"][0]["done"], answer.raw
    assert service.show(id_)["phase"] == "paused"


def test_an_alert_without_a_name_is_not_given_one_in_its_reason(service: Live) -> None:
    id_, _ = listening(service, "nameless", "pause")
    alert(service, "generic", {"status": "firing", "labels": {"team": "nameless"}, "summary": "calls drop"})
    assert service.show(id_)["reason"] == "alert (generic): calls drop"


def test_a_generic_alert_acts_again_after_it_was_resolved(service: Live) -> None:
    id_, _ = listening(service, "again", "pause")
    body = {"status": "firing", "labels": {"team": "again"}}
    for acts in (True, False):
        assert alert(service, "generic", body).json["done"][0]["done"] is acts
    service.ask("POST", f"/api/v1/rollouts/{id_}/resume")
    alert(service, "generic", {**body, "status": "resolved"})
    assert alert(service, "generic", body).json["done"][0]["done"] is True
    assert service.show(id_)["phase"] == "paused"


def test_numbers_narrow_an_alert(service: Live) -> None:
    id_, number = listening(service, "numbers", "pause")
    elsewhere = {"status": "firing", "labels": {"team": "numbers"}, "numbers": ["+19995550001"]}
    assert alert(service, "generic", elsewhere).json["done"] == []
    assert alert(service, "alertmanager", alertmanager("numbers", number="+19995550001")).json["done"] == []
    assert alert(service, "generic", {**elsewhere, "numbers": [number]}).json["done"][0]["rollout"] == id_


def test_a_trigger_limited_to_numbers_reaches_no_others(service: Live) -> None:
    id_, _ = listening(service, "limited", "pause")
    _, token = service.token("trigger", numbers=[service.number()])
    assert alert(service, "alertmanager", alertmanager("limited"), token).json["done"] == []
    assert service.show(id_)["phase"] == "progressing"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"alerts": []},
        {"alerts": "x"},
        {"status": "loud", "labels": {"a": "b"}},
        {"status": "firing"},
        {"status": "firing", "labels": {"a": "b"}, "url": "http://127.0.0.1"},
        {"status": "firing", "labels": {"a": "b"}, "numbers": ["../x"]},
    ],
)
def test_what_is_no_alert_is_422(service: Live, body: Any) -> None:
    answer = alert(service, "generic", body)
    assert answer.status == 422 and answer.json["detail"]
    assert alert(service, "nosuchtool", body).status == 422


def test_pager_and_datadog_know_resolved(service: Live) -> None:
    resolved = json.loads(json.dumps(BODIES["pagerduty"]))
    resolved["event"]["event_type"] = "incident.resolved"
    assert alert(service, "pagerduty", resolved).json["done"] in (
        [],
        [d for d in alert(service, "pagerduty", resolved).json["done"] if not d["done"]],
    )
    recovered = {**BODIES["datadog"], "transition": "Recovered"}
    assert not any(d["done"] for d in alert(service, "datadog", recovered).json["done"])


# ------------------------------------------------------------------ Retell


def call(number: str, call_id: str, **more: Any) -> dict[str, Any]:
    return {
        "event": more.pop("event", "call_analyzed"),
        "call": {
            "call_id": call_id,
            "call_type": "phone_call",
            "agent_id": AGENT,
            "agent_version": 7,
            "call_status": "ended",
            "direction": "inbound",
            "to_number": number,
            "from_number": "+14155550100",
            "start_timestamp": 1_790_000_000_000,
            "end_timestamp": 1_790_000_060_000,
            "disconnection_reason": "user_hangup",
            "latency": {"e2e": {"p50": 800.5}},
            "transcript": "canary-transcript",
            "recording_url": "https://canary-recording.example",
            "call_analysis": {
                "call_successful": True,
                "user_sentiment": "Positive",
                "call_summary": "canary-summary",
                "custom_analysis_data": {"booked": True, "name": "canary-name"},
            },
            **more,
        },
    }


def now_ms() -> int:
    return int(time.time() * 1000)


def hook(service: Live, body: bytes, sign: str | None) -> Answer:
    headers = {} if sign is None else {"x-retell-signature": sign}
    return service.ask("POST", "/hooks/retell", raw=body, token=None, headers=headers)


def test_a_signed_call_is_a_sample_once(service: Live) -> None:
    number = service.number()
    service.start(number, name="samples")
    time.sleep(1.05)  # the list of live numbers is at most a second old
    body = json.dumps(call(number, "call_1")).encode()
    sign = signature(body, KEY, now_ms())
    for _ in range(20):
        assert hook(service, body, sign).status == 200
    service.until(lambda: service.server.service.intake.counts["replayed"] >= 19)
    mine = [c for c in service.seen if c.call_id == "call_1"]
    assert len(mine) == 1
    seen = mine[0]
    assert (seen.number, seen.channel, seen.agent_version, seen.e2e_p50_ms) == (number, "inbound", 7, 800.5)
    assert seen.successful is True and seen.custom == {"booked": True} and seen.analyzed
    assert seen.started_at is not None and seen.started_at.year == 2026
    path = service.app.settings.database_url.removeprefix("sqlite:///")
    dump = "\n".join(sqlite3.connect(path).iterdump())
    assert "canary" not in repr(seen) and "canary-" not in dump


def test_other_numbers_and_events_are_passed_over(service: Live) -> None:
    number = service.number()
    service.start(number, name="passed-over")
    time.sleep(1.05)
    before = len(service.seen)
    intake = service.server.service.intake
    seen = intake.counts["passed_over"] + intake.counts["unreadable"]
    bodies = [
        call("+19995550002", "call_2"),
        call(number, "call_3", event="transcript_updated"),
        call(number, "call_4", agent_version="7"),
        call(number, "call_5", direction="sideways"),
        call(number, "call_6", call_type="web_call"),
        {"event": "call_ended"},
        [],
    ]
    raws = [json.dumps(b).encode() for b in bodies] + [b"{", b"\xff", b'{"event": 1, "event": 2}', b"[" * 100_000]
    for raw in raws:
        assert hook(service, raw, signature(raw, KEY, now_ms())).status == 200
    service.until(lambda: intake.counts["passed_over"] + intake.counts["unreadable"] == seen + len(raws))
    assert len(service.seen) == before


def bad_signatures(body: bytes) -> dict[str, str | None]:
    at = now_ms()
    good = signature(body, KEY, at)
    digest = good.partition("d=")[2]
    return {
        "none": None,
        "empty": "",
        "words": "hello",
        "other key": signature(body, "another key", at),
        "other body": signature(body + b" ", KEY, at),
        "upper case": f"v={at},d={digest.upper()}",
        "65 digits": f"{good}0",
        "63 digits": good[:-1],
        "old": signature(body, KEY, at - 301_000),
        "future": signature(body, KEY, at + 65_000),
        "no time": f"v=,d={digest}",
        "swapped": f"d={digest},v={at}",
        "arabic digits": f"v={'١' * 13},d={digest}".encode().decode("latin-1"),
        "other time": f"v={at - 1},d={digest}",
        "huge time": f"v={'9' * 400},d={digest}",
        "extra": f"{good},x=1",
        "spaces": good.replace(",", ", "),
    }


@pytest.mark.parametrize("kind", bad_signatures(b""))
def test_forged_and_stale_signatures_are_401(service: Live, kind: str) -> None:
    body = json.dumps(call("+14155550100", "forged")).encode()
    answer = hook(service, body, bad_signatures(body)[kind])
    assert answer.status == 401 and answer.headers["content-type"] == "application/problem+json"
    assert KEY not in answer.raw.decode()


def test_two_signature_headers_are_401(service: Live) -> None:
    import http.client

    body = b"{}"
    connection = http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=30)
    connection.putrequest("POST", "/hooks/retell")
    for _ in range(2):
        connection.putheader("x-retell-signature", signature(body, KEY, now_ms()))
    connection.putheader("Content-Length", "2")
    connection.endheaders(body)
    assert connection.getresponse().status == 401
    connection.close()


def test_keys_rotate_and_the_api_key_no_longer_counts(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False, webhook_key="first-key", webhook_key_next="second-key") as both:
        for key, status in (("first-key", 200), ("second-key", 200), (KEY, 401), ("", 401)):
            body = json.dumps(call("+14155550100", key)).encode()
            assert hook(both, body, signature(body, key, now_ms())).status == status


@pytest.mark.real_time
def test_webhooks_are_answered_at_once_while_the_recorder_hangs_and_then_429(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False, webhook_queue=20) as small:
        number = small.number()
        small.start(number, confirmed=False)
        hang = threading.Event()
        small.server.service.intake._observe = lambda _call: hang.wait(20)
        try:
            statuses, took = [], []
            for i in range(150):
                body = json.dumps(call(number, f"flood_{i}")).encode()
                began = time.monotonic()
                statuses.append(hook(small, body, signature(body, KEY, now_ms())).status)
                took.append(time.monotonic() - began)
            assert statuses[0] == 200 and statuses[-1] == 429 and set(statuses) == {200, 429}
            assert sorted(took)[-8] < 1, sorted(took)[-8:]
            assert small.ask("GET", "/healthz", token=None).status == 200
        finally:
            hang.set()


def test_a_body_of_the_sandbox_fits(service: Live) -> None:
    """The digest by hand, so that the test's signature and ours cannot be wrong together."""
    body, at = b'{"event":"call_ended","call":{}}', now_ms()
    digest = hmac.new(KEY.encode(), body + str(at).encode(), hashlib.sha256).hexdigest()
    assert hook(service, body, f"v={at},d={digest}").status == 200
