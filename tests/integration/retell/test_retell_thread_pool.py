"""Concurrency is the setting: what else was asked, and how soon that was answered, changes nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import pytest

from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.number_session import AHEAD
from rollout.adapters.retell.thread_pool import ThreadPool
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
        answers = session.write([Order(GONE, BODY)], send_by=made._clock.boot() + 30, stop=lambda: False)
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
        answers = session.write([Order(n, BODY) for n in NUMBERS], send_by=made._clock.boot() + 30, stop=lambda: False)
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
            return inner(*given)

        session._judge = judge
        session.write(
            [Order(n, BODY) for n in NUMBERS],
            send_by=made._clock.boot() + 30,
            stop=lambda: False,
            when_nearly_done=lambda: told.append(done[0]),
        )
    (at,) = told
    wanted = 4 * (AHEAD + pages)
    if wanted < len(NUMBERS):
        left = len(NUMBERS) - at - 3  # three others are being answered
        assert abs(left - wanted) <= 6
    else:
        assert 4 <= at <= 8, "not before each thread has had an answer: it may be behind an older session"


# ------------------------------------------------------------------ the threads themselves


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    made = ThreadPool(3)
    yield made
    made.close()


def side_by_side(pool: ThreadPool, most: int, count: int, *, urgent: bool = False, opens: bool = False) -> None:
    """Passes if exactly so many threads do this work at the same time."""
    met, began = threading.Barrier(count), list[int]()

    def work() -> None:
        began.append(threading.get_ident())
        met.wait(10)

    pool.run(work, most, urgent=urgent, opens=opens)
    assert len(set(began)) == count and threading.get_ident() in began


@pytest.mark.parametrize(("most", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (100, 3)])
@pytest.mark.parametrize("how", [{}, {"urgent": True}, {"opens": True}], ids=str)
def test_work_is_done_by_as_many_threads_as_asked_for_and_there_are(
    pool: ThreadPool, most: int, count: int, how: dict[str, bool]
) -> None:
    side_by_side(pool, most, count, **how)


def test_a_session_that_goes_back_or_opens_its_connections_waits_for_no_other(pool: ThreadPool) -> None:
    over, at_work = threading.Event(), threading.Barrier(3 + 1)

    def busy() -> None:
        at_work.wait(10)
        assert over.wait(10)

    other = threading.Thread(target=pool.run, args=(busy, 3), kwargs={"urgent": False})
    other.start()
    at_work.wait(10)
    side_by_side(pool, 3, 3, urgent=True)
    side_by_side(pool, 3, 3, opens=True)
    over.set()
    other.join(10)


def test_work_that_fails_in_another_thread_fails_here(pool: ThreadPool) -> None:
    met, me = threading.Barrier(3), threading.get_ident()

    def work() -> None:
        met.wait(10)
        if threading.get_ident() != me:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        pool.run(work, 3, urgent=False)


def test_work_that_fails_here_waits_for_the_others(pool: ThreadPool) -> None:
    met, failed, me, done = threading.Barrier(3), threading.Event(), threading.get_ident(), list[int]()

    def work() -> None:
        met.wait(10)
        if threading.get_ident() == me:
            failed.set()
            raise RuntimeError("a bug")
        assert failed.wait(10)
        done.append(1)

    with pytest.raises(RuntimeError, match="a bug"):
        pool.run(work, 3, urgent=False)
    assert done == [1, 1]


def test_every_thread_has_the_context_of_who_asked(pool: ThreadPool) -> None:
    rollout: ContextVar[str] = ContextVar("rollout", default="none")
    met, seen = threading.Barrier(3), list[str]()
    rollout.set("k7m2p4r6t8")

    def work() -> None:
        met.wait(10)
        seen.append(rollout.get())

    pool.run(work, 3, urgent=False)
    assert seen == ["k7m2p4r6t8"] * 3


def test_threads_end_with_their_pool() -> None:
    before = set(threading.enumerate())
    made = ThreadPool(2)
    for how in ({}, {"urgent": True}, {"opens": True}):
        side_by_side(made, 2, 2, **how)
    begun = set(threading.enumerate()) - before
    assert len(begun) == 3
    made.close()
    for thread in begun:
        thread.join(10)
        assert not thread.is_alive()
