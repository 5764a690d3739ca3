"""Many modelled rollouts played at once, call by call, through the gate's own `weigh` and `rule`.

The driver's order is mirrored: a fail rolls back at any look; a step is left when its hold has passed, its
least canary calls were seen, the gate says pass and the plan's hours are open. Time is virtual and chance comes
from outside. Runs move in lockstep of calls but each at its own step; finished runs drop out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rollout.domain import evidence as ev
from rollout.domain.playing_hours import Hours
from rollout.domain.profiles import GateConfig, at_step
from rollout.domain.weighing import FAIL, PASS, WAIT, rule, weigh

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class PlayStep:
    """One step: weight in basis points, hold in seconds, least canary calls, whether a person must promote
    (who is taken to do so at once), whether the hold counts open hours alone."""

    weight: int
    hold: float = 0.0
    min_calls: int = 0
    approve: bool = False
    open: bool = False


@dataclass(slots=True)
class Scene:
    """Where the runs still going stand: their ids, believed weights, steps, calls since the step began, and the
    canary's calls in the step."""

    ids: Ints
    weight: Array
    step: Ints
    since_call: Ints
    in_step: Array


class Callers(Protocol):
    """Modelled callers."""

    def draw(self, scene: Scene, first: int, calls: int) -> Array:
        """Calls number first .. first + calls - 1 of every run: shape (series + 1, runs, 4), counts as
        (canary bad, canary fine, baseline bad, baseline fine); the last row's sums per arm are all calls."""
        ...


_ALWAYS = Hours()
Policy = Callable[["Runs"], Ints]


@dataclass(frozen=True, slots=True)
class Ends:
    """Per run: how it ended (PASS promoted, FAIL rolled back, WAIT neither), after how many calls, canary calls
    and days."""

    how: Ints
    calls: Ints
    canary: Ints
    days: Array


def every_call(done: int) -> int:
    return 1


def thinning(done: int) -> int:
    """Looks at every call at first, then each time about 3 % more calls are in: 150 looks for 2,000 calls. A
    decision is then at most 3 % late; the gate itself loses nothing by looking less often."""
    return max(1, done // 30)


class Runs:
    """The state of all runs of one scenario. `ledgers` has shape (series, runs, cells, weights, 4)."""

    def __init__(
        self, config: GateConfig, steps: Sequence[PlayStep], callers: Callers, runs: int, calls_per_day: float,
        hours: Hours = _ALWAYS,
    ) -> None:  # fmt: skip
        self.config, self.steps, self.callers, self.rate = config, tuple(steps), callers, calls_per_day
        self.hours = hours
        self.opens = np.array([s.open for s in steps])
        shares = [s.weight / 10_000 for s in steps]
        self.weights = tuple(dict.fromkeys(w for w in shares if 0.0 < w < 1.0))
        self.shares = np.array(shares)
        self.column = np.array([self.weights.index(w) if w in self.weights else -1 for w in shares])
        self.series = config.series
        self.ledgers = np.zeros((len(self.series), runs, 1, len(self.weights), 4))
        self.started = np.zeros((runs, len(self.weights), 2))
        self.watched = np.zeros((len(self.series), runs, 2))
        self.cell = np.zeros(runs, dtype=np.int64)
        self.scene = Scene(np.arange(runs), np.full(runs, shares[0]), np.zeros(runs, dtype=np.int64),
                           np.zeros(runs, dtype=np.int64), np.zeros(runs))  # fmt: skip
        self.since = np.zeros((2, runs))  # days at which the step began: of all time, and of open time
        self.canary = np.zeros(runs)
        zeros = np.zeros(runs, dtype=np.int64)
        self.ends = Ends(np.full(runs, WAIT), zeros.copy(), zeros.copy(), np.zeros(runs))
        self.new = np.zeros((len(self.series) + 1, runs, 4))

    def play(
        self, most_calls: int, spacing: Callable[[int], int] = thinning, policy: Policy | None = None
    ) -> Ends:
        """Play until every run has ended or `most_calls` calls (of both arms) came in."""
        done, day, decide, turn = 0, 0, policy or gate, self.hours.turn(0.0)
        while done < most_calls and len(self.scene.ids):
            day_ends = int(np.ceil(self.rate * (day + 1)))  # calls before the next UTC day begins
            if done >= day_ends:
                day += 1
                self.cell += 1
                continue
            calls = min(spacing(done), most_calls - done, day_ends - done)
            if self.rate * turn < done + calls:
                calls = int(self.rate * turn) - done
            if calls > 0:
                self._take(self.callers.draw(self.scene, done, calls), calls)
                done += calls
                self._act(decide(self), done, done / self.rate)
            else:  # a look just before it closes, and one as it opens, with or without new calls
                self._act(
                    decide(self), done, turn if self.hours.is_open(turn) else float(np.nextafter(turn, 0))
                )
                turn = self.hours.turn(turn)
        self._finish(np.ones(len(self.scene.ids), dtype=bool), WAIT, done, done / self.rate)
        return self.ends

    def _take(self, new: Array, calls: int) -> None:
        self.new = new
        s, counted = self.scene, new[:-1]
        arms = np.stack([new[-1, :, 0] + new[-1, :, 1], new[-1, :, 2] + new[-1, :, 3]], axis=-1)
        s.since_call += calls
        s.in_step += arms[:, 0]
        self.canary += arms[:, 0]
        needed = int(self.cell.max()) + 1
        if needed > self.ledgers.shape[2]:  # later ledgers start empty
            room = np.zeros((*self.ledgers.shape[:2], needed + 7, *self.ledgers.shape[3:]))
            room[:, :, : self.ledgers.shape[2]] = self.ledgers
            self.ledgers = room
        open_rows = np.arange(needed) <= self.cell[:, None]
        for column in range(len(self.weights)):
            here = self.column[s.step] == column
            self.ledgers[:, :, :needed, column] += (
                counted[:, :, None, :] * (open_rows & here[:, None])[..., None]
            )
            self.started[here, column] += arms[here]
        full = s.weight >= 1.0
        if full.any():
            self.watched[:, full] += counted[:, full, :2]

    def _act(self, code: Ints, done: int, now: float) -> None:
        """What the gate's `code` leads to at `now`, in days since the first step, after so many calls."""
        failed = code == FAIL
        holds = np.array([s.hold for s in self.steps]) / DAY
        least = np.array([s.min_calls for s in self.steps])
        s, clock = self.scene, np.array([[now], [self.hours.stood(now)]])
        stood = np.where(self.opens[s.step], *(clock - self.since)[::-1])
        ready = (code == PASS) & (stood >= holds[s.step]) & (s.in_step >= least[s.step])
        ready &= self.hours.is_open(now)
        last = ready & (s.step == len(self.steps) - 1)
        go = ready & ~last
        s.step[go] += 1
        s.since_call[go], s.in_step[go], self.since[:, go] = 0, 0, clock
        s.weight[go] = self.shares[s.step[go]]
        self.cell[go] += 1
        if failed.any() or last.any():
            self._finish(failed, FAIL, done, now)
            self._finish(last, PASS, done, now)
            self._keep(~(failed | last))

    def _finish(self, which: NDArray[np.bool_], how: int, done: int, now: float) -> None:
        ids = self.scene.ids[which]
        self.ends.how[ids], self.ends.calls[ids], self.ends.days[ids] = how, done, now
        self.ends.canary[ids] = self.canary[which]

    def _keep(self, which: NDArray[np.bool_]) -> None:
        s = self.scene
        self.scene = Scene(
            s.ids[which], s.weight[which], s.step[which], s.since_call[which], s.in_step[which]
        )
        self.ledgers, self.watched = self.ledgers[:, which], self.watched[:, which]
        self.started, self.cell = self.started[which], self.cell[which]
        self.since, self.canary = self.since[:, which], self.canary[which]
        self.new = self.new[:, which]


def gate(runs: Runs) -> Ints:
    """The gate's decision for every run that is still going; see weighing.py."""
    config, scene = runs.config, runs.scene
    if not config.metrics:
        return np.full(len(scene.ids), PASS)
    code = np.full(len(scene.ids), WAIT)
    rows = int(runs.cell.max()) + 1
    for index, step in enumerate(runs.steps):
        here = np.flatnonzero(scene.step == index)
        if not len(here):
            continue
        w = step.weight / 10_000
        everyone = len(here) == len(scene.ids)
        ledgers = runs.ledgers[:, :, :rows] if everyone else runs.ledgers[:, here, :rows]
        margins = {m.name: at_step(m.margins, w, index + 1) for m in config.critical}
        weighed = weigh(config, dict(zip(runs.series, ledgers, strict=True)), runs.weights, margins)
        whole = ledgers[:, :, 0].sum(axis=2)
        started = runs.started[here]
        safe = np.min([*weighed.safe.values(), np.full(len(here), ev.LARGEST)], axis=0)
        code[here] = rule(
            config,
            e_gate=np.broadcast_to(weighed.e_gate, len(here)),
            bad=whole[..., 0].max(axis=0, initial=0),
            e_split=ev.split_e(started[..., 0], started[..., 1], runs.weights),
            safe=ev.LARGEST if w >= 1.0 else safe,
            enough=np.array(w >= 1.0) | (scene.in_step[here] >= at_step(config.floors, w, index + 1)),
        )
        if w >= 1.0:
            if config.critical:  # never compared, never passed
                blind = whole.sum(axis=(0, 2)) == 0
                code[here[blind & (code[here] == PASS)]] = WAIT
            alarm = _watch(runs, here, whole) >= config.watch_alarm
            code[here[alarm & (code[here] == PASS)]] = FAIL if config.watch_acts else WAIT
    return code


def _watch(runs: Runs, here: Ints, whole: Array) -> Array:
    seen = runs.watched[:, here]
    base = whole[..., 2:].sum(axis=-1)
    e = ev.one_sample_e(seen[..., 0], seen[..., 1], ev.watch_limit(whole[..., 2], whole[..., 3]))
    by_series = dict(zip(runs.series, np.where(base > 0, e, 1.0), strict=True))
    parts = [m.share * np.mean([by_series[s] for s in m.series], axis=0) for m in runs.config.compared]
    total: Array = np.sum(parts, axis=0) + runs.config.unbet
    return total
