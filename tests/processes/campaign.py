"""Kills and pauses: many lives of the service over a stream of rollouts, then rest, then judgement.

Used by the tests in small and by `python -m tests.processes` in full.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollout.domain.errors import RolloutError
from tests.processes.failpoints import POINTS
from tests.processes.judge import FINAL, judge
from tests.processes.stage import HORIZON, LEASE, TESTER, Stage

HOLD = 0.5
MOST_LIVE = 8
_UNDOING = ("undo", "read_back", "restored")
# What may go wrong at Retell's side beside the kills; all within the bounds that the horizon is made of.
_WEATHER: tuple[dict[str, object], ...] = (
    {"kind": "drop_after", "method": "PATCH"},
    {"kind": "drop_before", "method": "PATCH"},
    {"kind": "latency", "method": "PATCH", "seconds": 0.4},
    {"kind": "apply_late", "method": "PATCH", "seconds": 0.7, "variant": "close"},
    {"kind": "apply_late", "method": "PATCH", "seconds": 0.7, "variant": "timeout"},
    {"kind": "status", "method": "PATCH", "status": 500, "apply": True},
    {"kind": "status", "status": 429, "retry_after": 1, "times": 3},
    {"kind": "lie", "method": "PATCH"},
    {"kind": "truncate", "method": "PATCH"},
)


@dataclass
class Tally:
    """What a campaign did and what it found."""

    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    paused_seconds: float = 0.0
    rest_seconds: list[float] = field(default_factory=list)
    poisoned: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds another batch to this one."""
        self.kills += other.kills
        self.pauses += other.pauses
        self.ends += other.ends
        self.paused_seconds += other.paused_seconds
        self.rest_seconds += other.rest_seconds
        self.poisoned += other.poisoned
        self.faults += other.faults


class Stream:
    """Rollouts that keep coming, some of them rolled back on the way."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.rng = stage, rng
        self.ids: list[str] = []

    def live(self) -> list[str]:
        return [r.id for r in self.stage.app.store.summaries(live=True, limit=200) if r.id in self.ids]

    def refill(self, most: int = MOST_LIVE) -> None:
        """One more, unless enough are under way."""
        try:
            if len(self.live()) < most:
                self.ids.append(self.stage.start(self.rng.choice((1, 2, 3)), hold=f"{HOLD:g}s"))
        except RolloutError:
            pass  # the weather, or a process that stands still inside a transaction on SQLite's file

    def roll_back_one(self) -> bool:
        """Orders the rollback of one that has written something."""
        try:
            for id_ in self.rng.sample(live := self.live(), len(live)):
                rollout = self.stage.load(id_)
                if rollout.phase in ("progressing", "held") and rollout.written:
                    self.stage.app.commands.rollback(id_, TESTER)
                    return True
        except RolloutError:
            pass  # SQLite's file is locked by a process that stands still
        return False

    def rest(self, tally: Tally, replicas: int = 1) -> None:
        """Heals everything, lets a service finish, and judges."""
        stage = self.stage
        stage.sandbox.clear_faults()
        began = time.monotonic()
        services = [stage.serve() for _ in range(replicas)]
        waiting = set(self.ids)
        # Lease and horizon of what was cut off, three holds, and room for a busy machine.
        limit = began + LEASE + HORIZON + 3 * HOLD + 20
        while waiting and time.monotonic() < limit:
            for id_ in list(waiting):
                rollout = stage.app.store.load(id_)[0]
                if rollout.phase in FINAL:
                    waiting.discard(id_)
                elif rollout.phase == "held" and rollout.reason == "poison":
                    # Killed five times in a row while it was being driven: a person has to answer.
                    tally.poisoned += 1
                    stage.answer_poison(id_)
            time.sleep(0.05)
        tally.rest_seconds.append(time.monotonic() - began)
        for service in services:
            if service.stop() != 0:
                tally.faults.append(f"the service did not end well: {service.said()[-500:]}")
        tally.ends.update(str(stage.load(id_).phase) for id_ in self.ids)
        tally.faults += judge(stage, self.ids, hold=HOLD)


def choose(rng: random.Random, count: int) -> list[str | None]:
    """So many points, each as often as any other, with one random moment for every nine of them."""
    found: list[str | None] = []
    while len(found) < count:
        lap: list[str | None] = [*POINTS, *[None] * (len(POINTS) // 9)]
        rng.shuffle(lap)
        found += lap
    return found[:count]


def kills(stage: Stage, rng: random.Random, points: Sequence[str | None], weather: float = 0.4) -> Tally:
    """One life of the service for each point (None: at a random moment), then rest and judgement."""
    tally, stream = Tally(), Stream(stage, rng)
    for _ in range(3):
        stream.refill()
    for point in points:
        stream.refill()
        if rng.random() < weather:
            stage.sandbox.fault(**rng.choice(_WEATHER))
        ordered = point is not None and any(word in point for word in _UNDOING) and stream.roll_back_one()
        name = "" if point is None else f"{point}:{1 if ordered else rng.choice((1, 1, 2))}"
        service = stage.serve(name)
        limit = rng.uniform(0.1, 1.5) if point is None else 2.0
        if service.wait(limit) is None:
            service.kill()
            tally.kills["a random moment"] += 1
        elif service.reached is None:
            tally.faults.append(f"the service ended by itself ({service.status}): {service.said()[-800:]}")
        else:
            tally.kills[service.reached] += 1
        if rng.random() < 0.1:
            stream.roll_back_one()
    stream.rest(tally)
    return tally


def pauses(
    stage: Stage,
    rng: random.Random,
    points: Sequence[str | None],
    seconds: tuple[float, float],
    width: int,
    most: float = 3600.0,
) -> Tally:
    """Replicas that stand still for a while, `width` at a time, beside one that does not; on PostgreSQL.

    On SQLite the width is 1 and nobody runs beside: rollouts wait, commands are given. None begins after `most`
    seconds.
    """
    tally, stream = Tally(), Stream(stage, rng)
    queue, lock = list(points), threading.Lock()
    limit = time.monotonic() + most
    beside = None if stage.app.database.is_sqlite else stage.serve()
    for _ in range(width + 2):
        stream.refill()
    ended = threading.Event()
    workers = [
        threading.Thread(target=_pauser, args=(stage, random.Random(rng.random()), queue, lock, seconds, tally))
        for _ in range(width)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if time.monotonic() > limit:
            with lock:
                queue.clear()
        stream.refill(width + 4)
        if rng.random() < 0.25:
            stream.roll_back_one()
        ended.wait(0.3)
    if beside is not None and beside.stop() != 0:
        tally.faults.append(f"the replica beside did not end well: {beside.said()[-500:]}")
    stream.rest(tally)
    return tally


def _pauser(
    stage: Stage,
    rng: random.Random,
    queue: list[str | None],
    lock: threading.Lock,
    seconds: tuple[float, float],
    tally: Tally,
) -> None:
    while True:
        with lock:
            if not queue:
                return
            point = queue.pop()
        service = stage.serve("" if point is None else f"{point}:1", stop=True)
        until = time.monotonic() + (rng.uniform(0.2, 1.0) if point is None else 3.0)
        while time.monotonic() < until and not service.is_stopped() and service.poll() is None:
            time.sleep(0.01)
        where = service.reached or "a random moment"
        if not service.is_stopped():
            service.send(signal.SIGSTOP)
        length = rng.uniform(*seconds)
        time.sleep(length)
        service.send(signal.SIGCONT)
        service.wait(0.3)
        service.send(signal.SIGTERM)
        until = time.monotonic() + 15
        while service.wait(0.05) is None and time.monotonic() < until:
            service.send(signal.SIGCONT)  # the point may be reached only now
        code = service.poll()
        with lock:
            tally.pauses[where] += 1
            tally.paused_seconds += length
            if code != 0 and not (code == -signal.SIGTERM and '"serving"' not in service.said()):
                tally.faults.append(f"paused at {where} and then ended with {code}: {service.said()[-800:]}")
