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
from tests.support.logs import captured


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
    pace.leave(429, None, urgent=False)
    assert go(pace, clock, within=0) == 0.5, "a good answer ends the row"


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

    def state(self) -> BudgetState:
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
    with captured() as lines:
        for _ in range(41):
            assert go(pace, clock) is None
            pace.leave(200, urgent=False)
        assert clock.at - began == pytest.approx(2.0, abs=0.2)
        assert go(pace, clock) is None
        pace.leave(429, 1.0, urgent=False)
    said = [(line["event"], line["error"]) for line in lines]
    assert said[0] == ("turns are dealt by this process alone", "the database cannot be used")
    assert said[-1] == ("the others were not told of a 429", "the database cannot be used")


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


# ------------------------------------------------------------------ to the last place and the last moment


def room(pace: RateLimiter, clock: Hand, *, urgent: bool = False) -> int:
    """How many requests may be under way besides those that are."""
    count = 0
    while go(pace, clock, urgent=urgent, within=0) is None:
        count += 1
    for _ in range(count):
        pace.leave(None, urgent=urgent)
    return count


def test_rollbacks_have_as_many_places_of_their_own_and_forward_work_what_is_left() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=3)
    assert (room(pace, clock), room(pace, clock, urgent=True)) == (3, 3)
    for urgent in (False, True, True):
        assert go(pace, clock, urgent=urgent) is None
    assert (room(pace, clock), room(pace, clock, urgent=True)) == (0, 1)
    assert go(pace, clock, within=0) == 0.05, "ask again a little later"


def test_a_wait_until_the_very_end_is_waited() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=100, rate=0.5)
    assert go(pace, clock) is None
    wait = go(pace, clock, within=0)
    assert wait == pytest.approx(1.95)
    assert go(pace, clock, within=wait - 0.001) == wait
    assert go(pace, clock, within=wait) is None
    assert clock.slept == [wait]


def test_a_twentieth_of_a_second_that_nobody_used_is_caught_up() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=100, rate=64)
    for _ in range(2):
        clock.slept.clear()
        assert [go(pace, clock) for _ in range(5)] == [None] * 5
        assert clock.slept == pytest.approx([4 / 64 - 0.05])
        clock.at += 60


def gap(pace: RateLimiter, clock: Hand) -> float:
    """Seconds between two requests, once nothing is left to catch up."""
    clock.at += 60
    for _ in range(12):
        assert go(pace, clock) is None
        pace.leave(None, urgent=False)
    return clock.slept[-1]


@pytest.mark.parametrize(
    ("status", "grows"), [(200, True), (422, True), (499, True), (500, False), (503, False), (None, False)]
)
def test_only_an_answer_that_is_no_sign_of_trouble_gives_places_and_rate_back(status: int | None, grows: bool) -> None:
    clock = Hand()
    places, paced = RateLimiter(clock, concurrency=8), RateLimiter(clock, concurrency=8, rate=8)
    for pace in (places, paced):
        assert go(pace, clock) is None
        pace.leave(429, 0, urgent=False)
    assert (room(places, clock), gap(paced, clock)) == (4, pytest.approx(1 / 4))
    for pace in (places, paced):
        for _ in range(4):
            assert go(pace, clock) is None
            pace.leave(status, urgent=False)
    rate = 4.0
    for _ in range(4):
        rate += 1 / rate if grows else 0
    assert (room(places, clock), gap(paced, clock)) == (4, pytest.approx(1 / rate))
    for _ in range(2):
        assert go(places, clock) is None
        places.leave(status, urgent=False)
    assert room(places, clock) == (5 if grows else 4)


def test_places_and_rate_never_grow_beyond_the_setting_nor_shrink_to_nothing() -> None:
    clock = Hand()
    places, paced = RateLimiter(clock, concurrency=2), RateLimiter(clock, concurrency=2, rate=64)
    for pace, status, times in ((places, 429, 20), (paced, 429, 20), (places, 200, 9), (paced, 200, 3000)):
        for _ in range(times):
            clock.at += 2
            assert go(pace, clock) is None
            pace.leave(status, 0, urgent=False)
        if status == 429:
            assert room(pace, clock) == 1 if pace is places else gap(pace, clock) == pytest.approx(1.0), "1 / 64"
    assert (room(places, clock), gap(paced, clock)) == (2, pytest.approx(1 / 64))


def test_429s_of_one_second_are_one_sign_and_told_once() -> None:
    clock = Hand()
    account = Account(clock)
    told: list[float] = []
    account.throttled = told.append
    pace = RateLimiter(clock, concurrency=8, limits=account)
    for passes, places, pauses in ((0.0, 4, [0.5]), (0.999, 4, [0.5]), (0.001, 2, [0.5, 1.0])):
        clock.at += passes
        assert go(pace, clock, urgent=True) is None
        pace.leave(429, urgent=True)
        assert told == pauses
        at, clock.at = clock.at, clock.at + 30
        assert room(pace, clock) == places
        clock.at = at


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=8)
    for asked in (30.0, 2.0):
        assert go(pace, clock, urgent=True) is None
        pace.leave(429, asked, urgent=True)
    assert go(pace, clock, within=0) == 30.0
    pace.adjust(BudgetState(pause=10.0))
    assert go(pace, clock, within=0) == 30.0
    pace.adjust(BudgetState(pause=0.5))
    clock.at += 30
    assert go(pace, clock, within=0) is None
    pace.adjust(BudgetState(pause=0.5))
    assert go(pace, clock, within=0) == 0.5


@pytest.mark.parametrize(("left", "places"), [(1.0, 4), (0.5, 2), (0.01, 1)])
def test_what_429s_to_others_have_left_is_what_there_is(left: float, places: int) -> None:
    clock = Hand()
    pace = RateLimiter(clock, concurrency=4, account=8)
    pace.adjust(BudgetState(services=2, left=left))
    assert room(pace, clock) == places
    pace.adjust(BudgetState(services=1, left=1.0))
    assert room(pace, clock) == places, "it grows back by good answers alone"


class Dealer(Account):
    """Deals what the test wrote down."""

    def __init__(self, clock: Hand, *deals: RequestTurns) -> None:
        super().__init__(clock)
        self.left, self.asked = list(deals), list[tuple[int, float, bool]]()

    def take(self, count: int, rate: float, *, urgent: bool) -> RequestTurns:
        self.asked.append((count, rate, urgent))
        if not self.left:
            raise NotReachable("the database cannot be used")
        return self.left.pop(0)


def test_turns_are_taken_as_they_were_dealt() -> None:
    clock = Hand()
    dealer = Dealer(clock, RequestTurns(4, 0.5, 0.25), RequestTurns(4, 0.0, 0.25), RequestTurns(4, 2.0, 0.25))
    pace = RateLimiter(clock, concurrency=100, rate=20, limits=dealer)
    began, came = clock.at, list[float]()
    for urgent in (False, False, False, True, False, False):
        assert go(pace, clock, urgent=urgent) is None
        came.append(clock.at - began)
    assert came == [0.5, 0.75, 1.0, 1.0, 1.25, 3.25]
    assert dealer.asked == [(4, 20, False), (4, 20, True), (4, 20, False)]


def test_turns_that_this_process_deals_itself_begin_where_the_last_ones_end() -> None:
    clock = Hand()
    dealer = Dealer(clock, RequestTurns(4, 0.5, 0.25))
    pace = RateLimiter(clock, concurrency=100, rate=20, limits=dealer)
    came = []
    for _ in range(9):
        assert go(pace, clock) is None
        came.append(round(clock.at - 1000.0, 6))
    assert came == [0.5, 0.75, 1.0, 1.25, 1.5, 1.55, 1.6, 1.65, 1.7]


def test_turns_are_dealt_to_one_thread_and_the_others_wait_for_them() -> None:
    clock, dealt = Hand(), threading.Event()

    class Slow(Dealer):
        def take(self, count: int, rate: float, *, urgent: bool) -> RequestTurns:
            found = super().take(count, rate, urgent=urgent)
            assert dealt.wait(10)
            return found

    dealer = Slow(clock, *[RequestTurns(4, 0.0, 0.0)] * 3)
    pace = RateLimiter(clock, concurrency=100, rate=20, limits=dealer)
    came: list[float | None] = []
    threads = [threading.Thread(target=lambda: came.append(go(pace, clock)), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(dealer.asked) + len(pace._turn[False]._waiters) == 3)
    dealt.set()
    for thread in threads:
        thread.join(10)
    assert (came, len(dealer.asked)) == ([None] * 3, 1)


def test_without_a_rate_no_turns_are_dealt() -> None:
    clock = Hand()
    dealer = Dealer(clock)
    pace = RateLimiter(clock, concurrency=4, limits=dealer)
    assert [go(pace, clock) for _ in range(4)] == [None] * 4
    assert (dealer.asked, clock.slept) == ([], [])


# ------------------------------------------------------------------ those who wait


class Guests:
    """Threads that ask for a turn and keep it until they are let go."""

    def __init__(self, pace: RateLimiter) -> None:
        self.pace, self.clock = pace, SystemClock()
        self.inside: list[str] = []
        self.refused: list[str] = []
        self.out = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def come(self, name: str, *, urgent: bool = False, within: float = 10) -> None:
        def work() -> None:
            if self.pace.enter(urgent=urgent, until=self.clock.boot() + within) is not None:
                self.refused.append(name)
                return
            self.inside.append(name)
            assert self.out.acquire(timeout=10)
            self.pace.leave(200, urgent=urgent)

        waiting = self.waiting
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        until(lambda: self.waiting > waiting or name in (*self.inside, *self.refused))

    @property
    def waiting(self) -> int:
        return sum(self.pace._queued.values())

    def leave(self) -> None:
        for _ in self.threads:
            self.out.release()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


def test_all_for_whom_there_is_room_come_in_at_once() -> None:
    """One leaves, and its good answer makes a second place: nobody else is there to wake the second of those who wait."""
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=2)
    assert pace.enter(urgent=True, until=clock.boot() + 1) is None
    pace.leave(429, 0, urgent=True)
    assert pace.enter(urgent=False, until=clock.boot() + 1) is None
    guests = Guests(pace)
    guests.come("a")
    guests.come("b")
    assert guests.inside == []
    pace.leave(200, urgent=False)
    until(lambda: sorted(guests.inside) == ["a", "b"])
    guests.leave()


def test_who_has_waited_leaves_no_trace() -> None:
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=1)
    guests = Guests(pace)
    guests.come("a")
    guests.come("b")
    guests.come("late", within=0.01)
    until(lambda: guests.refused == ["late"])
    guests.leave()
    assert guests.inside == ["a", "b"]
    assert pace.enter(urgent=False, until=clock.boot()) is None


def test_who_comes_later_does_not_come_before_those_who_wait() -> None:
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=2)
    guests = Guests(pace)
    for name in ("a", "b", "c"):
        guests.come(name)
    assert guests.inside == ["a", "b"] and guests.waiting == 1
    pace._under_way[False] -= 1  # a place is free, and the one who waits has not seen it yet
    assert pace.enter(urgent=False, until=clock.boot()) == 0.05
    until(lambda: guests.inside == ["a", "b", "c"])
    pace._under_way[False] += 1
    guests.leave()


def test_forward_work_waits_while_a_rollback_does() -> None:
    clock = SystemClock()
    pace = RateLimiter(clock, concurrency=2)
    guests = Guests(pace)
    for name in ("back 1", "back 2", "back 3"):
        guests.come(name, urgent=True)
    assert guests.inside == ["back 1", "back 2"]
    assert pace.enter(urgent=False, until=clock.boot()) is not None
    guests.come("forward")
    guests.out.release()
    until(lambda: "back 3" in guests.inside)
    guests.out.release()
    until(lambda: "forward" in guests.inside)
    guests.leave()
    assert pace.enter(urgent=False, until=clock.boot()) is None
