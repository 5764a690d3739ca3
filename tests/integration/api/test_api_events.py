"""Event streams: nothing is missed over a reconnect, they end with the service and with the token."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.interfaces.api import stream
from rollout.interfaces.api.stream import EventStream, Hub, Subscriber
from rollout.interfaces.auth.roles import NOBODY, Caller, Role, revoke_token
from tests.integration.api.live import Live, live
from tests.support.loops import run_apart, run_without_waiting


class Stream:
    """An open event stream."""

    def __init__(self, service: Live, path: str, token: str = "viewer", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=10)
        sent = {"Authorization": f"Bearer {service.tokens.get(token, token)}", **headers}
        self._connection.request("GET", path, headers=sent)
        self.answer = self._connection.getresponse()

    def events(self) -> Iterator[dict[str, Any]]:
        """{"id", "event", "data"} of each event; ends when the stream does."""
        found: dict[str, Any] = {}
        while line := self.answer.readline():
            text = line.decode().rstrip("\n")
            if not text:
                if "data" in found:
                    yield {**found, "data": json.loads(found["data"])}
                found = {}
            elif not text.startswith(":"):
                name, _, value = text.partition(": ")
                found[name] = value

    def entries(self, count: int) -> list[dict[str, Any]]:
        found = []
        for event in self.events():
            if event["event"] == "entry":
                found.append(event)
                if len(found) == count:
                    break
        return found

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.answer.close()
        self._connection.close()


def test_a_reconnect_by_event_id_misses_nothing(service: Live) -> None:
    id_ = service.start(name="events")
    path = f"/api/v1/rollouts/{id_}/events"
    first = Stream(service, path)
    assert first.answer.getheader("Content-Type", "").startswith("text/event-stream")
    got = first.entries(3)
    assert [e["id"] for e in got] == ["1", "2", "3"] and got[0]["data"]["kind"] == "created"
    first.close()
    service.ask("POST", f"/api/v1/rollouts/{id_}/pause", {"reason": "while nobody looked"})
    total = len(service.ask("GET", f"/api/v1/rollouts/{id_}/history?limit=200").json["items"])
    second = Stream(service, path, **{"Last-Event-ID": "3"})
    rest = second.entries(total - 3)
    assert [int(e["id"]) for e in rest] == list(range(4, total + 1))
    assert rest[-1]["data"]["reason"] == "while nobody looked"
    service.ask("POST", f"/api/v1/rollouts/{id_}/resume", {"reason": "live"})
    more = next(e for e in second.events() if e["event"] == "entry")
    assert int(more["id"]) == total + 1 and more["data"]["kind"] == "resume"
    state = next(e for e in second.events() if e["event"] == "state")
    assert state["data"]["phase"] == "progressing" and "id" not in state
    second.close()


def test_ids_from_nowhere(service: Live) -> None:
    id_ = service.start(name="odd-ids")
    path = f"/api/v1/rollouts/{id_}/events"
    for odd in ("x", "-1", "1.5", "9" * 20, "99999999999"):
        assert service.ask("GET", path, headers={"Last-Event-ID": odd}).status == 422
    assert service.ask("GET", "/api/v1/rollouts/nosuch/events").status == 404
    ahead = Stream(service, path, **{"Last-Event-ID": "5000"})
    assert next(ahead.events())["event"] == "state"
    service.ask("POST", f"/api/v1/rollouts/{id_}/pause")
    assert next(e for e in ahead.events() if e["event"] == "entry")["data"]["kind"] == "pause"
    ahead.close()


@pytest.mark.real_time
def test_a_revoked_token_ends_its_stream(service: Live) -> None:
    id_ = service.start(name="revoked-stream")
    token_id, token = service.token("viewer")
    stream = Stream(service, f"/api/v1/rollouts/{id_}/events", token)
    stream.entries(1)
    revoke_token(service.app.store, token_id, "tests")
    began = time.monotonic()
    list(stream.events())
    assert time.monotonic() - began < 3
    stream.close()


def test_streams_are_counted_and_their_places_come_back(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False, event_clients=4) as small:
        id_ = small.start(confirmed=False)
        path = f"/api/v1/rollouts/{id_}/events"
        open_ = [Stream(small, path) for _ in range(4)]
        assert all(s.answer.status == 200 for s in open_)
        refused = small.ask("GET", path)
        assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
        for stream in open_:
            stream.close()
        small.until(lambda: len(small.server.service.hub) == 0, 5)
        again = Stream(small, path)
        assert again.entries(1)[0]["data"]["kind"] == "created"
        again.close()


@pytest.mark.real_time
def test_the_service_stops_within_seconds_with_streams_and_idle_sockets_open(tmp_path: Path) -> None:
    with live(tmp_path) as ending:
        id_ = ending.start(confirmed=False)
        streams = [Stream(ending, f"/api/v1/rollouts/{id_}/events") for _ in range(5)]
        idle = [socket.create_connection(("127.0.0.1", ending.server.port)) for _ in range(5)]
        idle[0].sendall(b"GET /healthz HTTP/1.1\r\n")
        streams[0].entries(1)
        began = time.monotonic()
        ending.server.stop()
        assert time.monotonic() - began < 5
        for stream in streams:
            list(stream.events())  # ends, and is no error
            stream.close()
        for sock in idle:
            sock.close()


# ------------------------------------------------------------------ one subscriber beside others


def subscriber(seq: int = 0) -> Subscriber:
    return Subscriber("r", Caller(None, "x", Role.VIEWER), seq)


def test_a_stream_that_is_cut_loses_no_entry_between_those_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entry made room for the end: whoever reconnected behind the others never saw it."""
    monkeypatch.setattr(stream, "MOST_WAITING", 3)

    async def play() -> tuple[list[str | None], list[str | None]]:
        slow, quick = subscriber(), subscriber()
        while slow.put("entry"):
            pass
        quick.put("entry")
        for each in (slow, quick):
            each.end()
        return [slow.waiting.get_nowait() for _ in range(slow.waiting.qsize())], [
            quick.waiting.get_nowait() for _ in range(quick.waiting.qsize())
        ]

    assert run_apart(play()) == ([None], ["entry", None])


def test_a_sign_of_life_loses_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that came in the moment of the sign of life was taken from the queue and thrown away."""
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.0)

    async def play() -> list[str]:
        mine, found = subscriber(), []
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        response = EventStream(None, mine)
        for i in range(200):
            asyncio.get_running_loop().call_soon(mine.put, str(i))
            found.append(await response._next(gone))
        while not mine.waiting.empty():
            found.append(await response._next(gone))
        return [text for text in found if text and text.isdigit()]

    assert run_apart(play()) == [str(i) for i in range(200)]


def test_one_that_catches_up_holds_up_nobody(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries were read from where the last one stood, and the others waited until it had caught up."""
    monkeypatch.setattr(stream, "PAGE", 1)
    id_ = service.start(name="catching-up")
    head = len(service.ask("GET", f"/api/v1/rollouts/{id_}/history?limit=200").json["items"])
    hub, own = service.server.service.hub, Caller(None, "x", Role.VIEWER)

    async def look() -> tuple[int, int]:
        late, level = Subscriber(id_, own, 0), Subscriber(id_, own, head - 1)
        await hub._look({id_: [late, level]})
        return late.seq, level.seq

    assert head > 2 and run_apart(look()) == (1, head)


@pytest.mark.parametrize("open_, apart", [(0, 0.05), (1, 0.05), (20, 0.05), (40, 0.025), (400, 0.0025)])
def test_pages_are_told_one_after_the_other_and_all_within_a_second(open_: int, apart: float) -> None:
    assert stream.pause_between(open_) == pytest.approx(apart)
    assert open_ * stream.pause_between(open_) <= 1.0 + 1e-9


@pytest.mark.parametrize("new", [True, False], ids=["something new", "nothing new"])
def test_between_two_pages_that_are_told_the_hub_waits(monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    """Twenty pages that are told at once reload at once, and wait for one another."""
    told: list[float] = []

    class Pools:
        async def run(self, _pool: str, _ask: object) -> tuple[dict[str, Any], set[str], dict[Any, Any]]:
            return {"a": (0, None)}, set(), {}

    def tell(*_given: object) -> bool:
        told.append(asyncio.get_running_loop().time())
        return new

    hub = Hub(SimpleNamespace(), SimpleNamespace(), SimpleNamespace(), Pools(), 100)
    hub._subscribers.update(Subscriber("a", NOBODY, 0) for _ in range(40))
    monkeypatch.setattr(hub, "_tell", tell)
    run_without_waiting(hub._look({"a": list(hub._subscribers)}))
    assert [b - a for a, b in pairwise(told)] == pytest.approx([0.025 if new else 0.0] * 39)
