"""Sessions over many numbers: which connections are open when, and for whom."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from rollout.adapters.retell import RetellClient
from rollout.domain.writes.answers import Failure, Order, Reading, Trouble
from tests.integration.retell.retell_peer import BODY, Peer, Seen, closes, good, http, on, says, shown

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
Soon = Callable[[float], float]

NUMBERS = [f"+1415777{i:04}" for i in range(100)]
ORDERS = [Order(number, BODY) for number in NUMBERS]


def never() -> bool:
    return False


def at_rest(value: Callable[[], int]) -> int:
    """A counter once it has stopped moving."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.2:
        time.sleep(0.01)
        if value() != last:
            last, since = value(), time.monotonic()
    return last


def test_a_batch_is_spread_over_the_connections(serve: Serve, client: Make, soon: Soon) -> None:
    def slow(seen: Seen, sock: socket.socket) -> None:
        time.sleep(0.01)
        good(seen, sock)

    peer = serve(slow)
    with client(peer, concurrency=8, deadline=3.0).session(NUMBERS) as session:
        found = session.read(NUMBERS)
        answers = session.write(ORDERS, send_by=soon(30), stop=never)
        again = session.read(NUMBERS)
    assert list(found) == list(answers) == list(again) == NUMBERS
    assert all(isinstance(found[n], Reading) and found[n].number == n for n in NUMBERS)
    assert all(answer.status == 200 for answer in answers.values())
    assert peer.accepted in (8, 9)  # one more if the list of the account was tried on its own
    assert sorted(seen.number for seen in peer.methods("PATCH")) == NUMBERS
    assert len({seen.connection for seen in peer.methods("PATCH")}) == 8


def test_connections_are_opened_before_the_write_and_none_during_it(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    with client(peer, deadline=3.0).session(NUMBERS) as session:
        session.read(NUMBERS)
        before = at_rest(lambda: peer.accepted)
        peer.stop_listening()
        answers = session.write(ORDERS, send_by=soon(30), stop=never)
    assert 3 <= before <= 33
    assert peer.accepted == before
    assert all(answer.status == 200 for answer in answers.values())


def test_a_server_that_closes_after_each_answer_gets_one_connection_per_order(
    serve: Serve, client: Make, soon: Soon
) -> None:
    peer = serve(closes)
    with client(peer, deadline=3.0).session(NUMBERS) as session:
        assert all(isinstance(outcome, Reading) for outcome in session.read(NUMBERS).values())
        assert at_rest(lambda: peer.accepted) >= 200
        peer.stop_listening()
        answers = session.write(ORDERS, send_by=soon(30), stop=never)
    assert all(answer.status == 200 for answer in answers.values())
    assert sorted(seen.number for seen in peer.methods("PATCH")) == NUMBERS


def test_connections_that_close_early_leave_their_orders_to_the_others(serve: Serve, client: Make, soon: Soon) -> None:
    """A server may end any connection with an answer: the rest goes over those that are open."""

    def ends_the_first(seen: Seen, sock: socket.socket) -> bool:
        sock.sendall(http(shown(seen.number), 200, *(["connection: close"] if seen.connection == 1 else [])))
        return seen.connection != 1

    peer = serve(on("PATCH", ends_the_first))
    with client(peer, concurrency=4, deadline=3.0).session(NUMBERS) as session:
        session.read(NUMBERS)
        answers = session.write(ORDERS, send_by=soon(30), stop=never)
    assert all(answer.status == 200 for answer in answers.values())
    assert sorted(seen.number for seen in peer.methods("PATCH")) == NUMBERS


def test_what_no_connection_is_left_for_was_surely_not_sent(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(on("PATCH", closes))
    with client(peer, concurrency=4, deadline=3.0).session(NUMBERS) as session:
        session.read(NUMBERS)
        answers = session.write(ORDERS, send_by=soon(30), stop=never)
    sent = {seen.number for seen in peer.methods("PATCH")}
    assert len(sent) == 4
    for number, answer in answers.items():
        if number in sent:
            assert answer.status == 200
        else:
            assert answer.failure is not None and answer.failure.trouble is Trouble.UNREACHABLE


def test_writes_that_close_get_a_connection_each_though_reads_keep_theirs(
    serve: Serve, client: Make, soon: Soon
) -> None:
    peer = serve(on("PATCH", closes))
    made = client(peer, concurrency=4, deadline=3.0)
    for first, last in ((0, 10), (10, 40), (40, 70)):
        with made.session(NUMBERS[first:last]) as session:
            session.read(NUMBERS[first:last])
            answers = session.write(ORDERS[first:last], send_by=soon(30), stop=never)
            session.read(NUMBERS[first:last])
        if first:
            assert {answer.status for answer in answers.values()} == {200}


def test_refusals_that_close_do_not_make_every_write_need_a_connection(serve: Serve, client: Make, soon: Soon) -> None:
    def behave(seen: Seen, sock: socket.socket) -> bool | None:
        return good(seen, sock) if seen.method == "PATCH" else closes(seen, sock)

    peer = serve(behave)
    made = client(peer, concurrency=4, deadline=3.0)
    with made.session(NUMBERS[:1], urgent=True) as session:
        session.write(ORDERS[:1], send_by=soon(30), stop=never)
        session.read(NUMBERS[:1])
    before = at_rest(lambda: peer.accepted)
    with made.session(NUMBERS[1:], urgent=True) as session:
        answers = session.write(ORDERS[1:], send_by=soon(30), stop=never)
    assert {answer.status for answer in answers.values()} == {200}
    assert peer.accepted - before <= 4


def test_one_bad_number_does_not_spoil_the_others(serve: Serve, client: Make, soon: Soon) -> None:
    def behave(seen: Seen, sock: socket.socket) -> bool | None:
        if seen.number == NUMBERS[3]:
            sock.sendall(http({"status": "error", "message": "Cannot find requested asset"}, 422))
            return None
        if seen.number == NUMBERS[4]:
            return False
        return good(seen, sock)

    with client(serve(behave), concurrency=4, deadline=3.0).session(NUMBERS[:20]) as session:
        found = session.read(NUMBERS[:20])
    odd = {number: outcome for number, outcome in found.items() if isinstance(outcome, Failure)}
    assert {number: outcome.trouble for number, outcome in odd.items()} == {
        NUMBERS[3]: Trouble.REJECTED,
        NUMBERS[4]: Trouble.UNREACHABLE,
    }


@pytest.mark.real_time
def test_a_read_as_a_whole_ends(serve: Serve, client: Make) -> None:
    """Forty silent numbers over two connections would be twenty deadlines; the session takes at most three."""
    began = time.monotonic()
    with client(serve(lambda seen, sock: None), concurrency=2, deadline=0.3).session(NUMBERS[:40]) as session:
        found = session.read(NUMBERS[:40])
    assert time.monotonic() - began < 2.0
    assert all(isinstance(outcome, Failure) for outcome in found.values())
    assert any("not read" in outcome.detail for outcome in found.values() if isinstance(outcome, Failure))


def test_the_next_session_uses_an_idle_connection_that_lives(serve: Serve, client: Make) -> None:
    peer = serve(good)
    made = client(peer)
    for expected in (1, 1, 2):
        with made.session(NUMBERS[:1]) as session:
            assert isinstance(session.read(NUMBERS[:1])[NUMBERS[0]], Reading)
        assert peer.accepted == expected
        if expected == 1 and len(peer.seen) == 2:
            peer.drop_all()
            time.sleep(0.05)


def test_every_connection_of_a_session_serves_the_next_one(serve: Serve, client: Make, soon: Soon) -> None:
    met = threading.Barrier(4)

    def together(seen: Seen, sock: socket.socket) -> None:
        met.wait(5)
        good(seen, sock)

    peer = serve(together)
    made = client(peer, concurrency=4, deadline=5.0)
    for first in (0, 4):
        with made.session(NUMBERS[first : first + 4], urgent=True) as session:
            answers = session.write(ORDERS[first : first + 4], send_by=soon(30), stop=never)
        assert {answer.status for answer in answers.values()} == {200}
    assert peer.accepted == 4


def test_a_rollback_needs_no_read(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    with client(peer).session(NUMBERS[:3], urgent=True) as session:
        answers = session.write(ORDERS[:3], send_by=soon(30), stop=never)
    assert [answer.status for answer in answers.values()] == [200, 200, 200]
    assert [seen.method for seen in peer.seen] == ["PATCH"] * 3


@pytest.mark.real_time
def test_a_rollback_goes_before_forward_work(serve: Serve, client: Make, soon: Soon) -> None:
    """Forward reads hang on every turn there is; the rollback's first PATCH leaves at once all the same."""
    gate = threading.Event()

    def behave(seen: Seen, sock: socket.socket) -> None:
        if seen.method == "GET":
            gate.wait(5)
        good(seen, sock)

    peer = serve(behave)
    made = client(peer, concurrency=4, deadline=3.0)
    found: dict[str, object] = {}

    def forward() -> None:
        with made.session(NUMBERS) as session:
            found.update(session.read(NUMBERS))

    thread = threading.Thread(target=forward)
    thread.start()
    while len(peer.seen) < 4:
        time.sleep(0.005)
    began = time.monotonic()
    with made.session(NUMBERS[:8], urgent=True) as session:
        answers = session.write(ORDERS[:8], send_by=soon(30), stop=never)
    assert peer.methods("PATCH")[0].at - began < 0.1
    assert all(answer.status == 200 for answer in answers.values())
    gate.set()
    thread.join()
    assert all(isinstance(outcome, Reading) for outcome in found.values())


def test_after_a_429_forward_writes_wait_and_rollbacks_do_not(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(on("PATCH", says(http({}, 429, "retry-after: 60"), http(shown(NUMBERS[1])))))
    made = client(peer)
    with made.session(NUMBERS[:2]) as session:
        session.read(NUMBERS[:2])
        first = session.write(ORDERS[:1], send_by=soon(30), stop=never)[NUMBERS[0]].failure
        second = session.write(ORDERS[1:2], send_by=soon(30), stop=never)[NUMBERS[1]].failure
        third = session.read(NUMBERS[:1])[NUMBERS[0]]
    assert first is not None and (first.trouble, first.status, first.retry_after) == (Trouble.UNKNOWN, 429, 60.0)
    assert second is not None and second.trouble is Trouble.UNREACHABLE and len(peer.methods("PATCH")) == 1
    assert second.retry_after is not None and 55 < second.retry_after <= 60
    assert isinstance(third, Failure) and third.retry_after is not None and 55 < third.retry_after <= 60
    with made.session(NUMBERS[1:2], urgent=True) as session:
        assert session.write(ORDERS[1:2], send_by=soon(30), stop=never)[NUMBERS[1]].status == 200


class OneAnswer(BaseHTTPRequestHandler):
    """The plainest server that people write: HTTP/1.0, a connection per answer."""

    patched: list[str]

    def do_GET(self) -> None:
        data = http(shown(self.path.rpartition("/")[2].replace("%2B", "+"))).partition(b"\r\n\r\n")[2]
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.command == "PATCH":
            self.patched.append(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PATCH = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    "server, protocol, count",
    [
        (HTTPServer, "HTTP/1.0", 4),
        (ThreadingHTTPServer, "HTTP/1.0", 25),
        (ThreadingHTTPServer, "HTTP/1.1", 25),
        (HTTPServer, "HTTP/1.1", 1),
    ],
)
def test_python_http_server(client: Make, soon: Soon, server: type[HTTPServer], protocol: str, count: int) -> None:
    handler = type("Handler", (OneAnswer,), {"protocol_version": protocol, "patched": []})
    with server(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        made = client(f"http://127.0.0.1:{running.server_port}", deadline=4.0, connect_timeout=4.0)
        try:
            with made.session(NUMBERS[:count]) as session:
                found = session.read(NUMBERS[:count])
                answers = session.write(ORDERS[:count], send_by=soon(30), stop=never)
                again = session.read(NUMBERS[:count])
        finally:
            made.close()
            running.shutdown()
            thread.join()
    assert all(isinstance(outcome, Reading) for outcome in [*found.values(), *again.values()])
    assert [answer.status for answer in answers.values()] == [200] * count
    assert len(handler.patched) == count


def test_answers_leave_nothing_for_the_collector(serve: Serve, client: Make, soon: Soon) -> None:
    """A parser and its answer hold each other: a thousand such pairs were pauses of 30 ms in the middle of a step."""
    peer = serve(good)
    gc.collect()
    gc.disable()
    try:
        with client(peer, deadline=3.0).session(NUMBERS[:8]) as session:
            session.read(NUMBERS[:8])
            session.write(ORDERS[:8], send_by=soon(30), stop=never)
        assert not [found for found in gc.get_objects() if type(found).__name__ == "_Answer"]
    finally:
        gc.enable()
