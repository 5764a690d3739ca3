"""The limiter: how many, how fast, who first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.domain.errors import NotReachable
from rollout.domain.request_budget import Allowance, RequestTurns, deal, throttled
from rollout.engine.ports import BudgetState
from tests.integration.retell.retell_peer import until


class Hand:
    """A clock that is moved by hand; sleeping moves it."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def boot(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def go(pace: RateLimiter, clock: Hand, *, urgent: bool = False, within: float = 10) -> float | None:
    return pace.enter(urgent=urgent, until=clock.boot() + within)


def test_without_limits_nobody_waits() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=3)
    assert [go(pace, clock) for _ in range(3)] == [None] * 3
    assert go(pace, clock, within=0) is not None
    assert go(pace, clock, urgent=True) is None
    pace.leave(200, urgent=True)
    pace.leave(200, urgent=False)
    assert go(pace, clock) is None and clock.slept == []


def test_the_rate_is_kept() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=100, rate=10)
    began = clock.at
    for _ in range(51):
        assert go(pace, clock) is None
        pace.leave(200, urgent=False)
    assert clock.at - began == pytest.approx(5.0, abs=0.11)


def test_a_wait_that_is_too_long_is_refused_at_once() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=100, rate=0.1)
    assert go(pace, clock) is None
    assert go(pace, clock, within=5) == pytest.approx(10, abs=0.1) and clock.slept == []


def test_throttling_halves_and_good_answers_grow_back() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=32)

    def one(status: int, retry_after: float | None = None) -> None:
        assert go(pace, clock, within=400) is None
        pace.leave(status, retry_after, urgent=False)

    one(429, 0)
    assert int(pace._limit) == 16
    one(429, 0)  # in the same second: the same sign
    assert int(pace._limit) == 16
    for expected in (8, 4, 2, 1, 1):
        clock.at += 2
        one(429, 0)
        assert int(pace._limit) == expected
    for _ in range(600):
        one(200)
    assert int(pace._limit) == 32


@pytest.mark.parametrize("asked, paused", [(40.0, 40.0), (9999.0, 300.0), (None, 0.5)])
def test_a_429_pauses_forward_work_alone(asked: float | None, paused: float) -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=32)
    assert go(pace, clock) is None
    pace.leave(429, asked, urgent=False)
    assert go(pace, clock, within=0.1) == pytest.approx(paused)
    assert go(pace, clock, urgent=True, within=0.1) is None
    pace.leave(200, urgent=True)
    assert go(pace, clock, within=400) is None and clock.slept == [pytest.approx(paused)]


def test_429s_without_a_time_pause_longer_each() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=8)
    pauses = []
    for _ in range(9):
        assert go(pace, clock, within=60) is None
        clock.at += 2
        pace.leave(429, None, urgent=False)
        refused = go(pace, clock, within=0)
        assert refused is not None
        pauses.append(refused)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    assert go(pace, clock, within=60) is None
    pace.leave(200, urgent=False)
    assert go(pace, clock, within=0) is None


def test_the_rate_shrinks_too() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=8, rate=8)
    assert go(pace, clock) is None
    pace.leave(429, 0, urgent=False)
    clock.at += 10
    began = clock.at
    for _ in range(5):
        assert go(pace, clock) is None
        pace.leave(500, urgent=False)
    assert clock.at - began == pytest.approx(1.0, abs=0.3)


@pytest.fixture
def threads() -> Callable[[Callable[[], None]], None]:
    def start(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    return start


def test_a_turn_goes_to_who_waits_and_the_rollback_first(threads: Callable[[Callable[[], None]], None]) -> None:
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=1, rate=20)
    came: list[str] = []

    def come(name: str, urgent: bool) -> Callable[[], None]:
        def work() -> None:
            if pace.enter(urgent=urgent, until=clock.boot() + 3) is None:
                came.append(name)
                pace.leave(200, urgent=urgent)

        return work

    assert pace.enter(urgent=False, until=clock.boot() + 1) is None
    for name in ("forward 1", "forward 2", "forward 3"):
        threads(come(name, False))
    time.sleep(0.02)
    for name in ("rollback 1", "rollback 2"):
        threads(come(name, True))
    time.sleep(0.02)
    pace.leave(200, urgent=False)
    until(lambda: len(came) == 5)
    assert [name.split()[0] for name in came] == ["rollback"] * 2 + ["forward"] * 3


def test_no_turn_is_lost_among_many(threads: Callable[[Callable[[], None]], None]) -> None:
    """Forty threads, four turns, throttling in between: everybody comes through, never more than four."""
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=4)
    lock = threading.Lock()
    inside = most = done = 0

    def work() -> None:
        nonlocal inside, most, done
        for attempt in range(5):
            assert pace.enter(urgent=False, until=clock.boot() + 10) is None
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.0005)
            with lock:
                inside -= 1
            pace.leave(429 if attempt == 2 else 200, 0.001, urgent=False)
        with lock:
            done += 1

    for _ in range(40):
        threads(work)
    until(lambda: done == 40, 8)
    assert most <= 4


class Account:
    """The limits of the account, as several processes see them; `down`: the database cannot be reached."""

    def __init__(self, clock: Hand) -> None:
        self.clock, self.allowance, self.down, self.deals = clock, Allowance(), False, 0

    def take(self, count: int, rate: float, *, urgent: bool) -> RequestTurns:
        if self.down:
            raise NotReachable("the database cannot be used")
        self.deals += 1
        self.allowance, turns = deal(self.allowance, self.clock.at, count, rate, urgent=urgent)
        return turns

    def throttled(self, pause: float) -> None:
        if self.down:
            raise NotReachable("the database cannot be used")
        self.allowance = throttled(self.allowance, self.clock.at, pause)

    def standing(self) -> BudgetState:
        return BudgetState()


def test_two_processes_keep_one_rate() -> None:
    clock = Hand()
    account = Account(clock)
    paces = [RateLimiter(clock, concurrency=100, rate=20, limits=account) for _ in range(2)]
    began = clock.at
    for i in range(100):
        assert go(paces[i % 2], clock) is None
        paces[i % 2].leave(200, urgent=False)
    assert clock.at - began == pytest.approx(5.0, abs=0.3)
    assert account.deals <= 26, "turns are dealt in bundles"


def test_a_rollback_waits_for_no_turn_of_others() -> None:
    clock = Hand()
    account = Account(clock)
    forward, other = (RateLimiter(clock, concurrency=100, rate=1, limits=account) for _ in range(2))
    for _ in range(30):
        forward.enter(urgent=False, until=clock.at + 60)
    slept = len(clock.slept)
    assert go(other, clock, urgent=True, within=0.1) is None
    assert len(clock.slept) == slept


def test_without_the_database_each_process_keeps_the_rate_itself() -> None:
    clock = Hand()
    account = Account(clock)
    account.down = True
    pace = RateLimiter(clock, concurrency=100, rate=20, limits=account)
    began = clock.at
    for _ in range(41):
        assert go(pace, clock) is None
        pace.leave(200, urgent=False)
    assert clock.at - began == pytest.approx(2.0, abs=0.2)
    assert go(pace, clock) is None
    pace.leave(429, 1.0, urgent=False)


def test_a_429_to_one_process_is_told_to_the_others() -> None:
    clock = Hand()
    account = Account(clock)
    pace = RateLimiter(clock, concurrency=8, limits=account)
    assert go(pace, clock) is None
    pace.leave(429, 7.0, urgent=False)
    assert account.allowance.paused_until == clock.at + 7
    told = RateLimiter(clock, concurrency=8, limits=account)
    told.adjust(BudgetState(services=2, left=0.5, pause=7.0))
    assert int(told._limit) == 4
    assert go(told, clock, within=1) == pytest.approx(7.0)
    assert go(told, clock, urgent=True, within=1) is None


def test_the_accounts_concurrency_is_shared_out() -> None:
    pace = RateLimiter(Hand(), concurrency=32, account=64)
    for services, expected in ((1, 32), (2, 32), (4, 16), (100, 1)):
        pace.adjust(BudgetState(services=services))
        assert int(pace._limit) == expected
