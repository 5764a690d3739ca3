"""One PATCH: what leaves, when nothing may leave, and what each answer means."""

from __future__ import annotations

import gc
import json
import socket
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from rollout.adapters.retell import RetellClient
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from tests.integration.retell.retell_peer import (
    BODY,
    NUMBER,
    Behaviour,
    Peer,
    Seen,
    drips,
    drops,
    good,
    http,
    on,
    says,
    shown,
)

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
Soon = Callable[[float], float]


def patch(client: RetellClient, soon: Soon, number: str = NUMBER, body: str = BODY) -> Answer:
    """Read, then write one order, as the driver does."""
    with client.session([number]) as session:
        session.read([number])
        return session.write([Order(number, body)], send_by=soon(30), stop=lambda: False)[number]


def test_the_body_leaves_verbatim_and_the_answer_is_shown(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    body = '{"inbound_agents": [{"agent_id":"agent_abc", "agent_version":7, "weight":1.0}]}'
    answer = patch(client(peer), soon, body=body)
    assert answer.status == 200 and answer.failure is None and answer.shown is not None
    assert answer.shown.lists == {"inbound_agents": shown()["inbound_agents"]}
    assert answer.shown.modified == 1_703_413_636_133
    [sent] = peer.methods("PATCH")
    assert sent.body == body.encode()
    assert sent.path == "/update-phone-number/%2B14157774444"
    assert sent.headers["authorization"].startswith("Bearer ")
    assert sent.headers["content-type"] == "application/json"
    assert sent.connection == peer.methods("GET")[0].connection


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_rejected_and_not_repeated(serve: Serve, client: Make, soon: Soon, status: int) -> None:
    peer = serve(on("PATCH", says(http({"status": "error", "message": "No such version."}, status))))
    answer = patch(client(peer), soon)
    assert answer.failure is not None
    assert (answer.failure.trouble, answer.failure.status) == (Trouble.REJECTED, status)
    assert len(peer.methods("PATCH")) == 1
    if status not in (401, 403):
        assert "No such version." in answer.failure.detail


@pytest.mark.parametrize(
    ("etag", "trouble"), [('"17"', Trouble.CHANGED), (None, Trouble.UNKNOWN)], ids=["conditional", "unconditional"]
)
def test_a_number_that_had_changed_is_not_written_where_the_request_says_so(
    serve: Serve, client: Make, soon: Soon, etag: str | None, trouble: Trouble
) -> None:
    peer = serve(on("PATCH", says(http({"status": "error", "message": "changed"}, 412))))
    with client(peer).session([NUMBER]) as session:
        session.read([NUMBER])
        answer = session.write([Order(NUMBER, BODY, etag)], send_by=soon(30), stop=lambda: False)[NUMBER]
    [sent] = peer.methods("PATCH")
    assert sent.headers.get("if-match") == etag
    assert answer.failure is not None
    assert (answer.failure.trouble, answer.failure.status) == (trouble, 412)


TRUNCATED = http(shown(), length=5000)
UNKNOWN: dict[str, tuple[Behaviour, int | None]] = {
    "409": (says(http({"status": "error", "message": "x"}, 409)), 409),
    "429": (says(http({"status": "error", "message": "x"}, 429, "retry-after: 7")), 429),
    "500": (says(http({"status": "error", "message": "x"}, 500)), 500),
    "503 html": (says(http("<html>down</html>", 503)), 503),
    "201": (says(http(shown(), 201)), 201),
    "redirect": (says(http("", 302, "location: http://127.0.0.1:1/update-phone-number/x")), 302),
    "html with 200": (says(http("<html>ok</html>")), 200),
    "empty 200": (says(http("")), 200),
    "another number": (says(http(shown("+14150000000"))), 200),
    "no time stamp": (says(http({"phone_number": NUMBER})), 200),
    "a key twice": (says(http('{"phone_number":"+14157774444","phone_number":"+14157774444"}')), 200),
    "NaN": (says(http('{"a": NaN}')), 200),
    "not UTF-8": (says(http(b'{"a": "\xff"}')), 200),
    "truncated": (lambda seen, sock: sock.sendall(TRUNCATED) or False, None),
    "dropped": (drops, None),
    "reset": (lambda seen, sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"), None),
    "compressed": (says(http(b"\x1f\x8b", 200, "content-encoding: gzip")), None),
    "not HTTP": (lambda seen, sock: sock.sendall(b"hello\r\n\r\n") or False, None),
    "half closed": (lambda seen, sock: sock.shutdown(socket.SHUT_WR), None),
    "two lengths": (says(http(shown(), 200, "content-length: 3")), None),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_everything_else_is_unknown_and_sent_once(serve: Serve, client: Make, soon: Soon, name: str) -> None:
    behaviour, status = UNKNOWN[name]

    def behave(seen: Seen, sock: socket.socket) -> bool | None:
        result = behaviour(seen, sock)
        return False if name == "reset" else result

    peer = serve(on("PATCH", behave))
    answer = patch(client(peer), soon)
    assert answer.shown is None and answer.failure is not None
    assert (answer.failure.trouble, answer.failure.status) == (Trouble.UNKNOWN, status)
    assert answer.failure.retry_after == (7.0 if name == "429" else None)
    assert len(peer.methods("PATCH")) == 1


def test_lists_that_are_left_out_are_no_failure(serve: Serve, client: Make, soon: Soon) -> None:
    bare = {k: v for k, v in shown().items() if k != "inbound_agents"}
    answer = patch(client(serve(on("PATCH", says(http(bare))))), soon)
    assert answer.shown is not None and answer.shown.lists == {}


@pytest.mark.real_time
def test_an_answer_above_a_mebibyte_is_not_read_to_its_end(serve: Serve, client: Make, soon: Soon) -> None:
    def floods(seen: Seen, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(4000):
            sock.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        return False

    began = time.monotonic()
    answer = patch(client(serve(on("PATCH", floods)), deadline=5.0), soon)
    assert answer.failure is not None and answer.failure.trouble is Trouble.UNKNOWN
    assert "larger than 1048576 bytes" in answer.failure.detail
    assert time.monotonic() - began < 4


@pytest.mark.real_time
def test_a_drip_ends_at_the_deadline(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(on("PATCH", drips))
    began = time.monotonic()
    answer = patch(client(peer, deadline=0.4), soon)
    assert 0.35 < time.monotonic() - began < 0.7
    assert answer.failure is not None and answer.failure.trouble is Trouble.UNKNOWN
    assert "the deadline has passed" in answer.failure.detail


def test_silence_ends_at_the_deadline(serve: Serve, client: Make, soon: Soon) -> None:
    answer = patch(client(serve(on("PATCH", lambda seen, sock: None)), deadline=0.2), soon)
    assert answer.failure is not None and answer.failure.trouble is Trouble.UNKNOWN


def surely_not_sent(answer: Answer, words: str) -> None:
    assert answer.status is None and answer.shown is None and answer.failure is not None
    assert answer.failure.trouble is Trouble.UNREACHABLE
    assert words in answer.failure.detail


def test_nothing_leaves_after_the_send_window(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    with client(peer).session([NUMBER]) as session:
        session.read([NUMBER])
        answers = session.write([Order(NUMBER, BODY)], send_by=soon(-0.001), stop=lambda: False)
    surely_not_sent(answers[NUMBER], "")
    assert peer.methods("PATCH") == []


def test_nothing_leaves_once_told_to_stop(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    numbers = [f"+1415777{i:04}" for i in range(40)]
    with client(peer, concurrency=1).session(numbers) as session:
        session.read(numbers)
        orders = [Order(number, BODY) for number in numbers]
        answers = session.write(orders, send_by=soon(30), stop=lambda: len(peer.methods("PATCH")) >= 10)
    assert len(peer.methods("PATCH")) == 10
    assert [answer.status for answer in answers.values()] == [200] * 10 + [None] * 30
    surely_not_sent(answers[numbers[-1]], "told to stop")


def test_the_last_look_is_right_before_the_first_byte(serve: Serve, client: Make, soon: Soon) -> None:
    """A stop that comes after the request was made ready still holds it back, and closes the connection."""
    peer = serve(good)
    looks: list[int] = []
    with client(peer).session([NUMBER]) as session:
        session.read([NUMBER])
        answers = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: looks.append(1) or len(looks) > 1)
        surely_not_sent(answers[NUMBER], "told to stop")
        again = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)
        surely_not_sent(again[NUMBER], "no connection was open")
    assert len(looks) == 2
    assert peer.methods("PATCH") == []


def test_a_connection_that_the_server_closed_sends_nothing(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    with client(peer).session([NUMBER]) as session:
        session.read([NUMBER])
        peer.drop_all()
        time.sleep(0.05)
        answers = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)
    surely_not_sent(answers[NUMBER], "closed the connection before the request")
    assert peer.methods("PATCH") == [] and peer.accepted == 1


def test_something_nobody_asked_for_spoils_a_connection(serve: Serve, client: Make, soon: Soon) -> None:
    """As servers do that say 408 before they close an idle connection: its answer must not become ours."""

    def chatty(seen: Seen, sock: socket.socket) -> None:
        good(seen, sock)
        sock.sendall(http(shown(), 200))

    peer = serve(on("GET", chatty))
    with client(peer).session([NUMBER]) as session:
        session.read([NUMBER])
        time.sleep(0.05)
        answers = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)
    failure = answers[NUMBER].failure
    assert peer.methods("PATCH") == [] or peer.methods("PATCH")[0].connection > 1
    assert failure is None or failure.trouble is Trouble.UNREACHABLE


def test_a_write_opens_no_connection(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    session = client(peer).session([NUMBER])
    answers = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)
    surely_not_sent(answers[NUMBER], "no connection was open")
    assert peer.accepted == 0


def test_what_the_session_says_when_nobody_listens(client: Make, soon: Soon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with client(f"http://127.0.0.1:{port}").session([NUMBER]) as session:
        found = session.read([NUMBER])
        answers = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)
    assert isinstance(found[NUMBER], Failure) and found[NUMBER].trouble is Trouble.UNREACHABLE
    surely_not_sent(answers[NUMBER], "Connection refused")


HOSTILE = ["+1/../delete-agent/x", "%2e%2e", "+1415?x=1", "+1415#x", "+1415\r\nX: y", "+１４１５７７７", "", "+0123"]


@pytest.mark.parametrize("number", HOSTILE)
def test_a_number_that_is_none_is_refused_without_a_request(
    serve: Serve, client: Make, soon: Soon, number: str
) -> None:
    peer = serve(good)
    with client(peer).session([number]) as session:
        found = session.read([number])[number]
        answer = session.write([Order(number, BODY)], send_by=soon(30), stop=lambda: False)[number]
    for failure in (found, answer.failure):
        assert isinstance(failure, Failure) and failure.trouble is Trouble.REJECTED
    assert peer.seen == []


def test_two_orders_for_one_number_are_a_mistake(serve: Serve, client: Make, soon: Soon) -> None:
    with client(serve(good)).session([NUMBER]) as session, pytest.raises(ValueError, match="twice"):
        session.write([Order(NUMBER, BODY)] * 2, send_by=soon(30), stop=lambda: False)


def test_early_hints_are_passed_over(serve: Serve, client: Make, soon: Soon) -> None:
    hinted = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + http(shown())
    answer = patch(client(serve(on("PATCH", says(hinted)))), soon)
    assert isinstance(answer.shown, Reading)


def test_large_orders_are_sent_whole(serve: Serve, client: Make, soon: Soon) -> None:
    body: dict[str, Any] = {"inbound_agents": [{"agent_id": "a" * 60_000, "agent_version": 1, "weight": 1}] * 5}
    peer = serve(good)
    assert patch(client(peer, deadline=3.0), soon, body=json.dumps(body)).status == 200
    assert peer.methods("PATCH")[0].json == body


def test_no_socket_is_left_behind(serve: Serve, client: Make, soon: Soon) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for behave in (good, drops, on("PATCH", drops), on("PATCH", says(http({}, 422)))):
            made = client(serve(behave), deadline=0.2)
            patch(made, soon)
            made.close()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
