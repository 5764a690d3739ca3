"""The control routes: log, edits, numbers, agents, history, clock, webhooks, reset."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rollout.sandbox import Sandbox

NUMBER = "+14157774444"
READ, WRITE = f"/get-phone-number/{NUMBER}", f"/update-phone-number/{NUMBER}"
SPLIT = [{"agent_id": "agent_frontdesk", "agent_version": 7, "weight": 1}]


def test_the_log_shows_every_request_in_order(client: Any) -> None:
    client("GET", READ)
    answer = client("PATCH", "/update-phone-number/%2B14157774444", '{"inbound_agents": [], "x":1}')
    client("PATCH", WRITE, '{"inbound_agents": 5}', key="")
    log = client("GET", "/sandbox/log").body
    assert [(entry["seq"], entry["method"], entry["status"]) for entry in log] == [
        (1, "GET", 200),
        (2, "PATCH", 200),
        (3, "PATCH", 401),
    ]
    assert {entry["number"] for entry in log} == {NUMBER}
    assert log[1]["body"] == '{"inbound_agents": [], "x":1}'
    assert log[1]["applied"] == {"inbound_agents": []}
    assert log[1]["last_modification_timestamp"] == answer.body["last_modification_timestamp"]
    assert log[1]["at"] <= log[1]["applied_at"]
    assert log[1]["peer"].startswith("127.0.0.1:")
    assert log[0]["applied"] is None
    assert [
        entry["seq"] for entry in client("GET", "/sandbox/log?since=1&method=PATCH&number=%2B14157774444").body
    ] == [2, 3]
    assert client("GET", "/sandbox/log?number=+1999").body == []
    client("DELETE", "/sandbox/log")
    client("GET", READ)
    assert [entry["seq"] for entry in client("GET", "/sandbox/log").body] == [4]


def test_another_hand_edits_or_touches(client: Any) -> None:
    before = client("GET", READ).body
    touched = client("POST", "/sandbox/edit", {"number": NUMBER, "touch": True}).body
    assert touched["last_modification_timestamp"] > before["last_modification_timestamp"]
    assert {**touched, "last_modification_timestamp": 0} == {**before, "last_modification_timestamp": 0}
    edited = client("POST", "/sandbox/edit", {"number": NUMBER, "inbound_agents": SPLIT, "nickname": None}).body
    assert (edited["inbound_agents"], edited["nickname"]) == (SPLIT, None)
    assert client("GET", READ).body == edited
    broken = [{"agent_id": "nobody", "weight": 0.3}]
    assert client("POST", "/sandbox/edit", {"number": NUMBER, "inbound_agents": broken}).status == 200
    history = client("GET", f"/sandbox/numbers/{NUMBER}/history").body
    assert [entry["by"] for entry in history] == ["created", "edit", "edit", "edit"]
    assert history[-1]["until"] is None
    stamps = [entry["last_modification_timestamp"] for entry in history]
    assert stamps == sorted(set(stamps))


def test_numbers_come_and_go(client: Any) -> None:
    body = {"number": "+12125550000", "inbound_agents": SPLIT, "nickname": "New", "calls_per_hour": {"inbound": 5}}
    made = client("POST", "/sandbox/numbers", body)
    assert made.body["phone_number_pretty"] == "+1 (212) 555-0000"
    assert client("GET", "/get-phone-number/+12125550000").body == made.body
    assert len(client("GET", "/sandbox/numbers").body) == 4
    assert client("DELETE", "/sandbox/numbers/+12125550000").status == 200
    assert client("GET", "/get-phone-number/+12125550000").status == 422
    assert client("DELETE", "/sandbox/numbers/+12125550000").status == 422


def test_agents_are_made_and_changed_by_version(client: Any) -> None:
    versions = [{"version": 3, "success": 0.2, "custom": {"booked": 0.5}}, {"version": 4, "is_published": False}]
    made = client("POST", "/sandbox/agents", {"agent_id": "agent_b", "versions": versions, "tags": {"prod": 3}})
    assert made.body["versions"] == [3, 4]
    assert client("GET", "/get-agent/agent_b?version=latest_published").body["version"] == 3
    more = [{"version": 4, "is_published": True}, 5]
    again = client("POST", "/sandbox/agents", {"agent_id": "agent_b", "versions": more})
    assert again.body["versions"] == [3, 4, 5]
    assert again.body["tags"] == {"prod": {"version": 3}}
    assert client("GET", "/get-agent/agent_b?version=4").body["is_published"] is True
    assert client("DELETE", "/sandbox/agents/agent_b/versions/5").status == 200
    assert client("GET", "/get-agent/agent_b").body["version"] == 4


def test_the_clock_is_moved_and_its_callers_with_it(still: Any, stopped: Sandbox) -> None:
    assert still("GET", "/sandbox/clock").body == {"now": 1_800_000_000_000, "speed": 0}
    assert still("POST", "/sandbox/clock", {"advance": 1800.5}).body["now"] == 1_800_001_800_500
    calls = still("GET", f"/sandbox/calls?number={NUMBER}").body
    assert calls == stopped.calls(NUMBER)
    assert len(calls) == pytest.approx(60, abs=25)
    served = still("GET", f"/sandbox/numbers/{NUMBER}/history").body[0]["served"]
    assert served == {"inbound": {"agent_frontdesk@6": len(calls)}}
    assert still("POST", "/sandbox/clock", {"speed": 3600}).body["speed"] == 3600
    first = still("GET", "/sandbox/clock").body["now"]
    time.sleep(0.02)
    assert still("GET", "/sandbox/clock").body["now"] - first > 60_000


def test_faults_one_or_many(client: Any) -> None:
    many = [{"kind": "drop_after", "method": "PATCH"}, {"kind": "status", "status": 429, "retry_after": 2}]
    made = client("POST", "/sandbox/faults", many).body
    assert [fault["id"] for fault in made] == [1, 2]
    assert client("POST", "/sandbox/faults", {"kind": "omit"}).body[0]["times"] == 1
    assert len(client("GET", "/sandbox/faults").body) == 3
    client("DELETE", "/sandbox/faults")
    assert client("GET", "/sandbox/faults").body == []


def test_reset_goes_back_to_the_start(client: Any) -> None:
    client("POST", "/sandbox/edit", {"number": NUMBER, "nickname": "changed"})
    client("DELETE", "/sandbox/agents/agent_frontdesk/versions/7")
    client("POST", "/sandbox/faults", {"kind": "status", "status": 500, "times": None})
    client("POST", "/sandbox/reset")
    assert client("GET", READ).body["nickname"] == "Frontdesk Main"
    assert client("GET", "/get-agent/agent_frontdesk?version=7").status == 200
    assert [entry["seq"] for entry in client("GET", "/sandbox/log").body] == [1, 2]


def test_the_summary_needs_no_key_and_names_the_routes(client: Any) -> None:
    summary = client("GET", "/sandbox", key=None)
    assert summary.status == 200
    assert "POST /sandbox/faults" in summary.body["routes"]
    lost = client("GET", "/sandbox/nowhere", key=None)
    assert lost.status == 404
    assert "POST /sandbox/edit" in lost.body["message"]


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("edit", {"nickname": "x"}, "number is missing"),
        ("edit", {"number": NUMBER, "nick": "x"}, "'nick' is not a field of a number: write one of inbound_agents"),
        ("numbers", {"number": "+1", "calls_per_hour": {"fax": 1}}, "calls_per_hour.fax is no channel"),
        ("numbers", {"number": "+1", "calls_per_hour": -1}, "calls_per_hour.inbound -1 is negative"),
        ("numbers", {"number": "+1", "bypass": {"share": 2}}, "bypass must have agent_id"),
        ("agents", {"versions": [1]}, "agent_id is missing"),
        ("agents", {"agent_id": "a", "versions": ["1"]}, "version"),
        ("agents", {"agent_id": "a", "versions": [{"version": 1, "succes": 1}]}, "unknown field 'succes'"),
        ("agents", {"agent_id": "a", "versions": [{"version": 1, "success": 1.5}]}, "success 1.5 is not a probability"),
        ("agents", {"agent_id": "a", "channel": "fax"}, "channel 'fax' is unknown"),
        ("clock", {"advance": -1}, "advance -1 is negative"),
        ("clock", {"speed": -1}, "speed -1 is negative"),
        ("webhook", {"url": "http://example.com/x", "key": "k"}, "is not on loopback"),
        ("faults", "5", "Send one fault"),
    ],
)
def test_wrong_orders_are_explained(client: Any, path: str, body: Any, complaint: str) -> None:
    answer = client("POST", f"/sandbox/{path}", body)
    assert answer.status == 400
    assert complaint in answer.body["message"]


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it gets; refuses the first request."""

    got: list[tuple[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.got.append((body, self.headers["x-retell-signature"]))
        self.send_response(503 if len(self.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    Receiver.got = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_webhooks_are_signed_as_the_sdk_checks_them(
    still: Any, stopped: Sandbox, receiver: ThreadingHTTPServer
) -> None:
    webhook_auth = pytest.importorskip("retell.lib.webhook_auth", reason="retell-sdk is a development dependency")
    for other in stopped.numbers():
        stopped.edit(other.phone_number, calls_per_hour=60 if other.phone_number == NUMBER else 0)
    stopped.clock(advance=600)
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    assert still("POST", "/sandbox/webhook", {"url": url, "key": "secret"}).status == 200
    before = {call["call_id"] for call in stopped.calls()}
    stopped.clock(advance=600)
    stopped.edit(NUMBER, calls_per_hour=0)
    stopped.clock(advance=3600)
    expected = {call["call_id"] for call in stopped.calls()} - before
    assert expected
    end = time.monotonic() + 5
    while len(Receiver.got) < 2 * len(expected) + 1 and time.monotonic() < end:
        time.sleep(0.01)
    bodies = [json.loads(body) for body, _ in Receiver.got[1:]]
    for kind in ("call_ended", "call_analyzed"):
        calls = [event["call"] for event in bodies if event["event"] == kind]
        assert {call["call_id"] for call in calls} == expected
        assert all(("call_analysis" in call) == (kind == "call_analyzed") for call in calls)
        assert all("end_timestamp" in call for call in calls)
    assert Receiver.got[0][0] == Receiver.got[1][0]  # the refused one was tried again
    for body, signature in Receiver.got:
        assert webhook_auth.verify(body, "secret", signature)
    assert still("GET", "/sandbox/webhook").body[0]["status"] == 503
    assert still("DELETE", "/sandbox/webhook").status == 200
