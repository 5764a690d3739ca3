"""Reads: tried again as long as there is time, and strict about what they believe."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.reader import TRIES
from rollout.domain.writes.answers import Failure, Reading, Trouble
from tests.integration.retell.retell_peer import (
    ENTRY,
    NUMBER,
    Behaviour,
    Peer,
    Seen,
    drips,
    drops,
    good,
    http,
    says,
    shown,
)

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]


def read(client: RetellClient, number: str = NUMBER) -> Reading | Failure:
    with client.session([number]) as session:
        return session.read([number])[number]


def test_a_reading_has_what_was_shown(serve: Serve, client: Make) -> None:
    lists: dict[str, Any] = {
        "inbound_agents": [{"agent_id": "a", "agent_version": "prod", "weight": 0.5, "new_field": {"x": 1}}, ENTRY],
        "outbound_agents": None,
        "inbound_sms_agents": [],
    }
    found = read(client(serve(says(http(shown(**lists, inbound_webhook_url="https://x.example", later=[1]))))))
    assert isinstance(found, Reading)
    assert (found.number, dict(found.lists), found.modified) == (NUMBER, lists, 1_703_413_636_133)
    assert (found.nickname, found.inbound_webhook_url) == ("Front", "https://x.example")
    assert found.inbound_sms_webhook_url is None


@pytest.mark.parametrize(
    ("header", "etag"),
    [
        ('etag: "1703413636133"', '"1703413636133"'),
        ('ETag:   "a-b#c"', '"a-b#c"'),
        ('etag: W/"weak"', None),
        ("etag: bare", None),
        ('etag: ""', None),
        (f'etag: "{"x" * 201}"', None),
        ('etag: "two" "three"', None),
        ("x-other: 1", None),
    ],
)
def test_a_reading_has_the_strong_etag_of_its_answer(serve: Serve, client: Make, header: str, etag: str | None) -> None:
    found = read(client(serve(says(http(shown(), 200, header)))))
    assert isinstance(found, Reading)
    assert found.etag == etag


def test_others_changes_with_any_other_field_and_with_nothing_else(serve: Serve, client: Make) -> None:
    peer = serve(
        says(
            http(shown()),
            http(dict(reversed(shown(last_modification_timestamp=9, inbound_agents=None).items()))),
            http(shown(nickname="Back")),
            http(shown(a_field_of_tomorrow={"x": None})),
        )
    )
    made = client(peer)
    digests = [outcome.others for _ in range(4) if isinstance(outcome := read(made), Reading)]
    assert len(digests) == 4
    assert digests[0] == digests[1] and len(set(digests)) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(serve: Serve, client: Make, status: int) -> None:
    peer = serve(says(http({"status": "error", "message": "No."}, status)))
    found = read(client(peer))
    assert isinstance(found, Failure)
    assert (found.trouble, found.status, len(peer.seen)) == (Trouble.REJECTED, status, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(serve: Serve, client: Make, status: int) -> None:
    peer = serve(says(http({}, status, "retry-after: 0.05"), http(shown())))
    assert isinstance(read(client(peer)), Reading)
    assert len(peer.seen) == 2 and peer.seen[1].at - peer.seen[0].at >= 0.05


@pytest.mark.parametrize("behave", [drops, says(http({}, 500))])
def test_it_gives_up_after_four_tries(serve: Serve, client: Make, behave: Behaviour) -> None:
    peer = serve(behave)
    found = read(client(peer, deadline=5.0))
    assert isinstance(found, Failure) and found.trouble is Trouble.UNREACHABLE
    assert len(peer.seen) == 4


def test_it_pauses_between_its_tries_and_not_after_the_last(
    serve: Serve, client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(SystemClock, "sleep", lambda _self, seconds: pauses.append(seconds))
    peer = serve(says(http({}, 500)))
    assert isinstance(read(client(peer, deadline=5.0)), Failure)
    assert len(peer.seen) == TRIES == 4
    assert all(0 <= pause < longest for pause, longest in zip(pauses, (0.25, 0.5, 1.0), strict=True))


@pytest.mark.real_time
def test_a_retry_after_that_does_not_fit_ends_it_at_once(serve: Serve, client: Make) -> None:
    peer = serve(says(http({}, 429, "retry-after: 30")))
    began = time.monotonic()
    found = read(client(peer))
    assert time.monotonic() - began < 0.3 and len(peer.seen) == 1
    assert isinstance(found, Failure) and (found.trouble, found.retry_after) == (Trouble.UNREACHABLE, 30.0)


@pytest.mark.parametrize(
    "said, low, high",
    [
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        ("99999", 300, 300),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 300, 300),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0),
        ("soon", None, None),
        ("-3", None, None),
        ("Wed, 99 Foo", None, None),
    ],
)
def test_retry_after(serve: Serve, client: Make, said: str, low: float | None, high: float | None) -> None:
    found = read(client(serve(says(http({}, 422, f"retry-after: {said}")))))
    assert isinstance(found, Failure)
    if low is None or high is None:
        assert found.retry_after is None
    else:
        assert found.retry_after is not None and low <= found.retry_after <= high


def test_retry_after_as_a_date(serve: Serve, client: Make) -> None:
    def behave(seen: Seen, sock: socket.socket) -> None:
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
        sock.sendall(http({}, 422, f"retry-after: {at}"))

    found = read(client(serve(behave)))
    assert isinstance(found, Failure) and found.retry_after is not None and 35 < found.retry_after <= 40


@pytest.mark.real_time
def test_a_drip_ends_at_the_deadline(serve: Serve, client: Make) -> None:
    began = time.monotonic()
    found = read(client(serve(drips), deadline=0.4))
    assert 0.35 < time.monotonic() - began < 0.7
    assert isinstance(found, Failure) and found.trouble is Trouble.UNREACHABLE


@pytest.mark.real_time
def test_a_server_that_accepts_and_says_nothing(client: Make) -> None:
    """The listen queue takes the connection, nobody serves it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        found = read(client(f"http://127.0.0.1:{mute.getsockname()[1]}", deadline=0.3))
    assert time.monotonic() - began < 0.6
    assert isinstance(found, Failure) and found.trouble is Trouble.UNREACHABLE


def entry(**fields: Any) -> dict[str, Any]:
    return {"inbound_agents": [ENTRY | fields]}


NOT_BELIEVED: dict[str, object] = {
    "another number": shown("+14150000000"),
    "no number": {k: v for k, v in shown().items() if k != "phone_number"},
    "no time stamp": {k: v for k, v in shown().items() if k != "last_modification_timestamp"},
    "time stamp as text": shown(last_modification_timestamp="1703413636133"),
    "time stamp as decimal": shown(last_modification_timestamp=1.5),
    "time stamp true": shown(last_modification_timestamp=True),
    "list as object": shown(inbound_agents={"agent_id": "a"}),
    "list of text": shown(outbound_agents=["agent"]),
    "not an agent_id": shown(inbound_agents=[{"weight": 1}]),
    "empty agent_id": shown(**entry(agent_id="")),
    "agent_id as number": shown(**entry(agent_id=7)),
    "agent_id with a half character": shown(**entry(agent_id="\ud800")),
    "no weight": shown(inbound_agents=[{"agent_id": "a"}]),
    "weight as text": shown(**entry(weight="1")),
    "weight true": shown(**entry(weight=True)),
    "weight without end": http(shown()).partition(b"\r\n\r\n")[2].replace(b'"weight": 1', b'"weight": 1e999'),
    "weight with 400 digits": shown(**entry(weight=10**400)),
    "version true": shown(**entry(agent_version=True)),
    "version as list": shown(**entry(agent_version=[1])),
    "a bare list": [shown()],
    "null": None,
    "infinity": '{"a": -Infinity}',
    "a key twice below": '{"a": {"b": 1, "b": 2}}',
    "deep": "[" * 200_000,
    "html": "<html></html>",
    "nothing": "",
}


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_what_is_not_believed(serve: Serve, client: Make, name: str) -> None:
    peer = serve(says(http(NOT_BELIEVED[name])))
    found = read(client(peer))
    assert isinstance(found, Failure), found
    assert (found.trouble, found.status) == (Trouble.UNREACHABLE, 200)
    assert found.detail.startswith("Retell answered 200, but ") and len(peer.seen) == 1


def test_a_stale_idle_connection_costs_no_try_and_no_wait(
    serve: Serve, client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes just as the request arrives: a read goes over a new connection at once."""

    def closes_silently(seen: Seen, sock: socket.socket) -> bool | None:
        if seen.connection == 1 and len(peer.seen) == 2:
            return False
        return good(seen, sock)

    peer = serve(closes_silently)
    made = client(peer)
    pauses: list[float] = []
    monkeypatch.setattr(SystemClock, "sleep", lambda _self, seconds: pauses.append(seconds))
    assert isinstance(read(made), Reading)
    assert isinstance(read(made), Reading)
    assert pauses == []
    assert [seen.connection for seen in peer.seen] == [1, 1, 2]


def test_a_closed_client_asks_nothing(serve: Serve, client: Make) -> None:
    peer = serve(good)
    made = client(peer)
    made.close()
    found = read(made)
    assert isinstance(found, Failure) and "closed" in found.detail
    assert peer.seen == []
