"""The database is away for a minute: whatever runs by the clock backs off, and goes on when it is back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.scheduler import Scheduler
from rollout.adapters.store.signals import Listener
from rollout.domain.errors import NotReachable
from rollout.interfaces.api.stream import Hub, Subscriber
from rollout.interfaces.api.worker_pools import WorkerPools
from rollout.interfaces.auth.roles import NOBODY
from tests.support.clock import FakeClock
from tests.support.loops import run_without_waiting
from tests.support.scene import Scene

MOST_LOOPS = 5_000  # of a minute: a loop that spins ends here


class Waits(threading.Event):
    """An event on the test's clock: waiting for it moves the time on, until the minute is over."""

    def __init__(self, clock: FakeClock, seconds: float = 60) -> None:
        super().__init__()
        self.clock, self.end, self.loops = clock, clock.boot() + seconds, 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.clock.advance(timeout)
        return self.is_set()

    def over(self) -> bool:
        self.loops += 1
        return self.clock.boot() >= self.end or self.loops > MOST_LOOPS


class Stopping(Waits):
    """Says that it is time to stop once the minute is over."""

    def is_set(self) -> bool:
        return self.over()


@pytest.fixture
def scheduler(scene: Scene) -> Any:
    """A scheduler whose waker has seen that a hold ends in two seconds."""
    scene.given_at(1)
    made = Scheduler(scene.app)
    made.advance.next_due = scene.clock.boot() + 2
    scene.app.interrupts.woken = Waits(scene.clock)
    made._stopping = Stopping(scene.clock)
    yield made
    made.advance.stop()


def away(*_args: object, **_more: object) -> Any:
    raise NotReachable("the database cannot be read: connection refused")


def broken(*_args: object, **_more: object) -> Any:
    raise ValueError("a mistake of ours")


@pytest.mark.parametrize("trouble", [away, broken], ids=["away", "a bug"])
def test_a_hold_that_ends_during_an_outage_makes_no_spin(
    scheduler: Scheduler, trouble: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler.app.store, "next_due_in", trouble)
    scheduler._wake()
    assert scheduler.counts["errors"] == 1, "the clock's own ticks ask again, one by one"


def test_the_end_of_a_hold_is_looked_at_when_it_comes_and_only_once(
    scheduler: Scheduler, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, looks = scene.clock.boot(), list[float]()
    monkeypatch.setattr(scheduler.advance, "tick", lambda **_: looks.append(scene.clock.boot() - began))
    scheduler._wake()
    assert looks == [2.0]


def test_after_a_failure_the_end_of_a_hold_waits_for_the_next_try(
    scheduler: Scheduler, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, looks = scene.clock.boot(), list[float]()
    for _ in range(3):  # the next try is four seconds from now
        scheduler._backoff.failed(began)
    monkeypatch.setattr(scheduler.advance, "tick", lambda **_: looks.append(scene.clock.boot() - began))
    scheduler._wake()
    assert looks == [4.0]


def test_a_look_that_hangs_is_not_asked_for_again_and_again(scheduler: Scheduler) -> None:
    """A tick that waits for its connection holds the lock; the waker must not run round meanwhile."""
    scheduler._tick_lock = Locked(scheduler.app.clock)
    scheduler._wake()
    assert scheduler._stopping.loops < 200


class Locked:
    """A lock that somebody else holds."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    def acquire(self, blocking: bool = True, timeout: float = 0) -> bool:
        self.clock.advance(timeout if blocking else 0)
        return False


def test_ticks_of_the_clock_back_off_and_a_command_is_heard_at_once(
    scheduler: Scheduler, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler._stopping = threading.Event()
    asked: list[float] = []

    def look() -> Any:
        asked.append(scene.clock.boot())
        away()

    monkeypatch.setattr(scene.app.store, "next_due_in", look)
    for _ in range(60):
        scheduler.tick_by_clock()
        scene.clock.advance(1)
    assert len(asked) < 20, "five seconds between two looks, after the first"
    before = len(asked)
    scheduler.tick()
    assert len(asked) == before + 1
    monkeypatch.undo()
    scheduler.tick()
    assert scheduler.last_error == ""
    assert scheduler._backoff.failures == 0


@pytest.mark.parametrize("trouble", [away, broken], ids=["away", "a bug"])
def test_every_job_of_the_clock_backs_off(scheduler: Scheduler, scene: Scene, trouble: Callable[..., Any]) -> None:
    runs: list[float] = []

    def job() -> int:
        runs.append(scene.clock.boot())
        return int(trouble())

    run = scheduler.guarded("notify", 2.0, job)
    for _ in range(150):  # five minutes
        try:
            run()
        except ValueError:
            assert trouble is broken
        scene.clock.advance(2)
    assert len(runs) < 20
    assert max(b - a for a, b in pairwise(runs)) <= 32


def test_a_job_that_is_well_again_runs_each_time(scheduler: Scheduler, scene: Scene) -> None:
    answers: list[Callable[[], int]] = [away, away, *[lambda: 1] * 20]
    runs: list[float] = []

    def job() -> int:
        runs.append(scene.clock.boot())
        return answers[len(runs) - 1]()

    run = scheduler.guarded("notify", 2.0, job)
    for _ in range(15):
        run()
        scene.clock.advance(2)
    assert [b - a for a, b in pairwise(runs[2:])] == [2] * (len(runs) - 3)


def test_the_listener_backs_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    def connect() -> Any:
        tries.append(scene.clock.boot())
        raise OSError("connection refused")

    monkeypatch.setattr(scene.app.database.engine, "raw_connection", connect)
    listener = Listener(scene.app.database, lambda _signal: None)
    listener._stopping = Stopping(scene.clock)
    listener._run()
    assert 5 < len(tries) < 20


@pytest.mark.parametrize("trouble", [away, broken], ids=["away", "a bug"])
def test_event_streams_back_off_and_live_on(
    scene: Scene, trouble: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    pools = WorkerPools()
    hub = Hub(scene.app.store, SimpleNamespace(), SimpleNamespace(), pools, 10)
    hub._subscribers.add(Subscriber("a", NOBODY, 0))

    async def look(_groups: object) -> None:
        looks.append(asyncio.get_running_loop().time())
        hub.stopping = len(looks) == 9
        trouble()

    monkeypatch.setattr(hub, "_look", look)
    run_without_waiting(hub._poll())
    pools.stop()
    assert [b - a for a, b in pairwise(looks)] == pytest.approx([0.3, 0.6, 1.2, 2.4, 4.8, 5, 5, 5])
