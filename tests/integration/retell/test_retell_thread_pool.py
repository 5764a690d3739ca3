"""Concurrency is the setting: what else was asked, and how soon that was answered, changes nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.number_session import AHEAD
from rollout.domain.writes.answers import Failure, Order, Reading
from tests.integration.retell.retell_peer import BODY, Peer, Seen, good, http, shown

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]

NUMBERS = [f"+1415777{i:04}" for i in range(100)]
GONE = "+14157770999"
CONCURRENCY = 16


class Slow:
    """Numbers take 20 ms, everything else no time; counts the requests on numbers that are under way."""

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, seen: Seen, sock: socket.socket) -> None:
        if seen.number == GONE:
            sock.sendall(http({"status": "error", "message": "Cannot find requested asset"}, 422))
        elif "phone-number/" not in seen.path:
            sock.sendall(http({}, 404))
        else:
            with self.lock:
                self.under_way += 1
                self.most = max(self.most, self.under_way)
            time.sleep(0.02)
            with self.lock:
                self.under_way -= 1
            good(seen, sock)


def agents(made: RetellClient) -> None:
    assert isinstance(made.version("agent_a", 7), Failure)


def a_gone_number(made: RetellClient) -> None:
    with made.session([GONE]) as session:
        assert isinstance(session.read([GONE])[GONE], Failure)


def a_refused_write(made: RetellClient) -> None:
    with made.session([GONE], urgent=True) as session:
        answers = session.write([Order(GONE, BODY)], send_by=made._clock.boot() + 3, stop=lambda: False)
    assert answers[GONE].status == 422


def calls(made: RetellClient) -> None:
    assert list(made.since(NUMBERS[0], "inbound", [("agent_a", 7)], made._clock.now()))


def nothing(_made: RetellClient) -> None:
    pass


@pytest.mark.real_time
@pytest.mark.parametrize("urgent", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("quick", [nothing, agents, a_gone_number, a_refused_write, calls])
def test_a_quick_endpoint_does_not_slow_the_numbers(
    serve: Serve, client: Make, quick: Callable[[RetellClient], None], urgent: bool
) -> None:
    slow = Slow()
    made = client(serve(slow), concurrency=CONCURRENCY, deadline=3.0)
    quick(made)
    with made.session(NUMBERS, urgent=urgent) as session:
        if not urgent:
            assert all(isinstance(found, Reading) for found in session.read(NUMBERS).values())
        assert slow.most in (0, CONCURRENCY)
        slow.most = 0
        answers = session.write([Order(n, BODY) for n in NUMBERS], send_by=made._clock.boot() + 3, stop=lambda: False)
    assert all(answer.status == 200 for answer in answers.values())
    assert slow.most == CONCURRENCY


@pytest.mark.parametrize("seconds", [0.0, 0.03], ids=["near", "far"])
@pytest.mark.parametrize("pages", [1, 2, 50])
def test_a_session_says_so_while_as_much_is_left_as_the_next_one_needs_to_begin(
    serve: Serve, client: Make, pages: int, seconds: float
) -> None:
    def behave(seen: Seen, sock: socket.socket) -> None:
        time.sleep(seconds)
        sock.sendall(http(shown(seen.number)))

    made = client(serve(behave), concurrency=4, deadline=3.0)
    made._listing._size = 1000 * pages
    told: list[int] = []
    with made.session(NUMBERS) as session:
        done = [0]
        inner = session._judge

        def judge(*given: object) -> object:
            done[0] += 1
            return inner(*given)  # type: ignore[arg-type]

        session._judge = judge  # type: ignore[method-assign, assignment]
        session.write(
            [Order(n, BODY) for n in NUMBERS],
            send_by=made._clock.boot() + 30,
            stop=lambda: False,
            nearly=lambda: told.append(done[0]),
        )
    (at,) = told
    wanted = 4 * (AHEAD + pages)
    if wanted < len(NUMBERS):
        left = len(NUMBERS) - at - 3  # three others are being answered
        assert abs(left - wanted) <= 6
    else:
        assert 4 <= at <= 8, "not before each thread has had an answer: it may be behind an older session"
