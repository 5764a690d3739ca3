"""The scheduler of a simulated history: tasks (greenlets) of processes, one clock, one source of chance.

A task gives way at every effect (`step`), and only there. When it goes on, what happens to it meanwhile
(a pause, a crash of its process) and in which order tasks go on is drawn from the history's seed.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import greenlet

from .weather import Weather

EPOCH = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Crashed(BaseException):
    """The process of this task is dead: nothing of it runs any more, not even `except Exception`."""


class Restless(Exception):
    """The history took more events than any sound one needs."""


@dataclass(eq=False)
class Process:
    """One operating-system process; `skew` is what its own clocks differ by, in seconds."""

    name: str
    skew: float = 0.0
    boot: float = 0.0
    alive: bool = True
    suspended_until: float = 0.0
    can_crash: bool = True


@dataclass(eq=False)
class Task:
    """One thread of a process. `stage` is the last effect, `claim` what it drives under."""

    name: str
    process: Process
    run: greenlet.greenlet
    stage: str = "begin"
    claim: Any = None
    wake: int = 0
    done: bool = False
    wanted: list[float] = field(default_factory=list)


class World:
    """Time, chance, tasks and the log of one history."""

    def __init__(self, seed: int, weather: Weather, most_events: int = 60_000) -> None:
        self.seed = seed
        self.rng = Random(f"world {seed}")
        self.weather = weather
        self.now = 0.0
        self.calm = False  # after healing: no new faults
        self.in_transaction = False
        self.faults: Counter[str] = Counter()
        self.log: list[tuple[float, str, str]] = []
        self.broken: list[str] = []  # invariants found broken while it ran
        self.current: Task | None = None
        self.tasks: dict[Task, None] = {}
        self.crashed: Callable[[Process], None] = lambda _process: None
        self.committed: Callable[[], None] = lambda: None
        self.unconfirmed: Callable[[], None] = lambda: None
        self._main = greenlet.getcurrent()
        self._queue: list[tuple[float, int, Task | None, Callable[[], None] | None, int]] = []
        self._order = 0
        self._most_events = most_events
        self.events = 0

    # -------------------------------------------------------------- time

    def moment(self, at: float | None = None) -> datetime:
        """A simulated second as wall time, without skew."""
        return EPOCH + timedelta(seconds=self.now if at is None else at)

    @staticmethod
    def seconds(moment: datetime) -> float:
        return (moment - EPOCH).total_seconds()

    def note(self, what: str) -> None:
        """One line of the history's log."""
        self.log.append((self.now, self.current.name if self.current else "-", what))

    def hit(self, fault: str) -> None:
        """Counts a fault of this class, and logs it."""
        self.faults[fault] += 1
        self.note(f"! {fault}")

    def digest(self) -> str:
        return hashlib.sha256(repr(self.log).encode()).hexdigest()

    # -------------------------------------------------------------- tasks

    def spawn(self, process: Process, name: str, work: Callable[[], None], delay: float = 0.0) -> Task:
        def run() -> None:
            try:
                if process.alive:
                    work()
            except Crashed:
                pass
            finally:
                task.done = True
                self.tasks.pop(task, None)

        task = Task(name, process, greenlet.greenlet(run, self._main))
        self.tasks[task] = None
        self._push(delay, task)
        return task

    def at(self, delay: float, do: Callable[[], None]) -> None:
        """Runs `do` after so many seconds, outside every task."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, None, do, 0))

    def _push(self, delay: float, task: Task) -> None:
        self._order += 1
        task.wake += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, task, None, task.wake))

    def wake(self, task: Task, delay: float) -> None:
        """Lets a sleeping task go on after so many seconds instead of later."""
        if not task.done:
            self._push(delay, task)

    def sleep(self, seconds: float) -> None:
        """The current task gives way for so many seconds; Crashed when its process died meanwhile."""
        task = self.current
        assert task is not None and not self.in_transaction
        self._push(max(0.0, seconds), task)
        self._main.switch()
        if not task.process.alive:
            raise Crashed

    def step(self, stage: str, least: float = 0.0) -> None:
        """One effect of the current task: time passes, others run, and the process may pause or die."""
        task = self.current
        if task is None or self.in_transaction:
            return
        task.stage = stage
        if not task.process.alive:
            raise Crashed
        delay, fault = self.weather.delay(self.rng, self.calm)
        if fault:
            self.hit(fault)
        self.sleep(least + delay)
        if task.process.can_crash and not self.calm:
            poison = self.weather.poison if task.claim is not None else 0.0
            if self.weather.crashes(self.rng, stage) or (poison and self.rng.random() < poison):
                self.crash(task.process)
                raise Crashed

    def crash(self, process: Process) -> None:
        """The process dies here and now; `crashed` says what that was in the middle of."""
        process.alive = False
        self.crashed(process)

    # -------------------------------------------------------------- the loop

    def run(self, until: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Plays events up to `until` seconds, or until `enough` (asked after each event) says so."""
        while self._queue and self._queue[0][0] <= until:
            at, _, task, do, wake = heapq.heappop(self._queue)
            if task is None:
                self.now = max(self.now, at)
                assert do is not None
                do()
            elif task.wake != wake or task.done:
                continue
            elif task.process.alive and task.process.suspended_until > at:
                self._push(task.process.suspended_until - self.now, task)
                continue
            else:
                self.now = max(self.now, at)
                self.current = task
                task.run.switch()
                self.current = None
            self.events += 1
            if self.events > self._most_events:
                raise Restless(f"more than {self._most_events} events, at {self.now:.1f} s")
            if enough():
                return
        self.now = max(self.now, until)

    def close(self) -> None:
        """Ends every task that is left."""
        for task in list(self.tasks):
            task.process.alive = False
            if not task.done and task.run:
                task.run.throw(Crashed)
        self.tasks.clear()


class SimClock:
    """rollout.engine.ports.Clock of one simulated process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def now(self) -> datetime:
        self._world.step("clock")
        return self._world.moment() + timedelta(seconds=self._process.skew)

    def boot(self) -> float:
        self._world.step("clock")
        return self._world.now + self._process.boot

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)
