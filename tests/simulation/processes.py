"""Replicas and command lines as simulated processes: the real App, Advance and Drift, without threads.

A replica sleeps until something is due; when it is killed it comes back later under a new owner's name.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from jobs.advance import MOST_CRASHES, Advance
from jobs.drift import Drift
from rollout import app as composition
from rollout.app import App
from rollout.domain.errors import ClaimLost, RolloutError
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout

from .database import File, SimDatabase
from .plans import ScriptedCalendar, ScriptedGates
from .remote import Message, Remote
from .session import SimRetell
from .world import Process, SimClock, Task, World


class Pool:
    """Stands in for a thread pool: each submitted call is a task of the process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def submit(self, work: Callable[[Claim], None], held: Claim) -> Future[None]:
        future: Future[None] = Future()

        def run() -> None:
            work(held)
            future.set_result(None)

        self._world.spawn(self._process, f"{self._process.name}/{held.epoch}", run)
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing to wait for: tasks end with their process."""


class Node:
    """One process with everything wired: a replica of the service, or a command line."""

    def __init__(self, sim: Simulation, name: str, *, can_crash: bool = True) -> None:
        world = sim.world
        self.sim, self.world = sim, world
        self.process = Process(
            name, skew=world.rng.uniform(-300, 300), boot=world.rng.uniform(0, 1e6), can_crash=can_crash
        )
        self.clock = SimClock(world, self.process)
        self.database = SimDatabase(sim.file, world, self.clock)
        retell = SimRetell(world, sim.remote, self.clock)
        self.app: App = composition.build(
            sim.settings,
            clock=self.clock,
            database=self.database,
            numbers=retell,
            agents=retell,
            gates=sim.gates,
            calendar=sim.calendar,
            ids=sim.new_id,
            write_ids=sim.new_id,
            owner=name,
        )
        self._observe()

    def _observe(self) -> None:
        """Notes claims and crashes of the driver, from outside."""
        claim, drive, world = self.app.store.claim, self.app.driver.drive, self.world

        def noted_claim(*args: Any, **kwargs: Any) -> list[Claim]:
            held = claim(*args, **kwargs)
            for one in held:
                self.sim.claimed(one, self.process)
            return held

        def noted_drive(held: Claim, until: Callable[[Rollout], bool] = lambda _r: False) -> Rollout:
            assert world.current is not None
            world.current.claim = held
            try:
                rollout = drive(held, until)
            except ClaimLost:
                world.faults["claim lost"] += 1
                world.note(f"{held.rollout_id} epoch {held.epoch}: claim lost")
                raise
            except RolloutError as error:
                world.note(f"{held.rollout_id}: {error.message}")
                raise
            except Exception as error:
                world.broken.append(f"a driver crashed: {type(error).__name__}: {error}")
                raise
            world.note(
                f"{held.rollout_id} epoch {held.epoch}: {rollout.phase} {rollout.position}: {rollout.why}; "
                f"due {'-' if rollout.due_at is None else round(world.seconds(rollout.due_at), 3)}"
            )
            return rollout

        vars(self.app.store)["claim"] = noted_claim
        vars(self.app.driver)["drive"] = noted_drive


class Replica(Node):
    """A process of the service: ticks, scans for drift, and drives."""

    def __init__(self, sim: Simulation, name: str) -> None:
        super().__init__(sim, name)
        self.advance = Advance(self.app)
        self.drift = Drift(self.app)
        for pool in ("_pool", "_urgent"):
            getattr(self.advance, pool).shutdown()
            setattr(self.advance, pool, Pool(self.world, self.process))
        self.next_scan = self.world.now + self.world.rng.uniform(5, 200)
        self.task: Task = self.world.spawn(self.process, name, self._loop, self.world.rng.random())
        self.wakes_at = 0.0

    def _loop(self) -> None:
        world = self.world
        while True:
            try:
                if world.now >= self.next_scan:
                    self.drift.tick()
                    self.next_scan = world.now + world.rng.uniform(60, 400)
                if self.sim.eligible_at() <= world.now:
                    self.advance.tick()
            except RolloutError as error:
                world.note(f"tick failed: {error.message}")
                self.next_scan = max(self.next_scan, world.now + 5)
            pause = self.sim.eligible_at() - world.now
            pause = min(max(pause, 0.0) + world.rng.random(), self.next_scan - world.now)
            self.wakes_at = world.now + max(0.0, pause)
            world.sleep(pause)


class Simulation:
    """What the processes and people of one history share."""

    def __init__(
        self, world: World, remote: Remote, file: File, gates: ScriptedGates, calendar: ScriptedCalendar
    ) -> None:
        self.world, self.remote, self.file = world, remote, file
        self.gates, self.calendar = gates, calendar
        self.settings = world.weather.bounds.settings(file.url)
        self.replicas: list[Replica] = []
        self.claims: dict[tuple[str, int], float] = {}
        self.restored: dict[str, tuple[float, frozenset[str]]] = {}
        self._ids = 0
        self._names = 0
        world.crashed = self._crashed
        world.committed = self.poke
        world.unconfirmed = self._unconfirmed

    def new_id(self) -> str:
        self._ids += 1
        return f"i{self._ids}"

    def name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def start_replica(self) -> None:
        self.replicas.append(Replica(self, self.name("replica")))

    def claimed(self, held: Claim, process: Process) -> None:
        self.claims[held.rollout_id, held.epoch] = self.world.now
        if held.crashes:
            self.world.hit("claim: after a lease ran out")
        if held.crashes >= MOST_CRASHES:
            self.world.hit("claim: of a rollout that crashed five times (C9)")
        self.world.note(f"{process.name} claims {held.rollout_id} at epoch {held.epoch}")

    def eligible_at(self) -> float:
        """When the next rollout can be claimed, in seconds; asked from outside of the simulation."""
        row = self.file.one("SELECT min(max(due_at, coalesce(lease_until, ''))) FROM rollouts WHERE due_at IS NOT NULL")
        return float("inf") if row is None or row[0] is None else self.seconds(row[0])

    def seconds(self, text: str) -> float:
        """A moment as SQLite keeps it, in seconds of the world; a little later rather than earlier."""
        return self.world.seconds(datetime.fromisoformat(text).replace(tzinfo=UTC))

    def poke(self) -> None:
        """A transaction was committed: replicas that sleep too long are woken."""
        at = self.eligible_at()
        for replica in self.replicas:
            due = max(at, self.world.now) + self.world.rng.random()
            if replica.process.alive and due < replica.wakes_at and replica.task is not self.world.current:
                replica.wakes_at = due
                self.world.wake(replica.task, due - self.world.now)

    def _unconfirmed(self) -> None:
        """Names what the commit was that the current task does not know of."""
        task = self.world.current
        if task is not None and task.claim is not None:
            intents = self._intents(task.claim)
            if any(not sent for _, sent in intents):
                self.world.hit("database: an intent's commit is not confirmed (C2)")
            elif any(outcome is not None for outcome, _ in intents):
                self.world.hit("database: an outcome's commit is not confirmed (C7)")

    def _intents(self, held: Claim) -> list[tuple[Any, list[Message]]]:
        """(outcome, messages) of each intent under this claim."""
        rows = self.file.all(
            "SELECT id, outcome FROM writes WHERE rollout_id = ? AND epoch = ?", held.rollout_id, held.epoch
        )
        return [
            (outcome, [m for m in self.remote.messages if m.intent is not None and m.intent["id"] == id_])
            for id_, outcome in rows
        ]

    def _where(self, process: Process) -> str:
        """What this process is in the middle of, in the words of the list of crash points."""
        claims = [t.claim for t in self.world.tasks if t.process is process and t.claim is not None]
        if not claims:
            return "driving nothing"
        if claims[-1].crashes:
            self.world.hit("crash: of a process that took over after another (C8)")
        intents = self._intents(claims[-1])
        if not intents:
            return "before any intent (C1)"
        if any(not sent for _, sent in intents):
            return "after the intent, before the request (C3)"
        if all(outcome is not None for outcome, _ in intents):
            return "after the outcome was recorded"
        last = [sent[-1] for _, sent in intents if sent]
        if any(m.answer_at is None and m.applied_at is None for m in last):
            return "request sent, not applied yet (C4)"
        taken = self.world.current is not None and self.world.current.stage != "sent"
        if any(m.answer_at is None for m in last) or not taken:
            return "applied, no answer yet (C5)"
        return "answered, outcome not recorded (C6)"

    def _crashed(self, process: Process) -> None:
        self.world.hit(f"crash: {self._where(process)}")
        for replica in list(self.replicas):
            if replica.process is process:
                self.replicas.remove(replica)
                away = self.world.rng.choice((0.5, 5.0, 60.0, 400.0))
                self.world.at(away, self.start_replica)
