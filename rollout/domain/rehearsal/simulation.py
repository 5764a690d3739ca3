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

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.profiles import GateConfig, at_step, before_full
from rollout.domain.gates.weighing import FAIL, PASS, WAIT, rule, weigh
from rollout.domain.rehearsal.hours import Hours

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class PlayStep:
    """One step: weight in basis points, hold in seconds, least canary calls, whether a person must promote
    (who is taken to do so at once), whether the hold counts open hours alone, and the wave it belongs to."""

    weight: int
    hold: float = 0.0
    min_calls: int = 0
    approve: bool = False
    open: bool = False
    wave: int = 1


@dataclass(slots=True)
class Scene:
    """The state of the runs still going: their ids, believed weights, steps, calls since the step began, and the
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
        (canary bad, canary fine, baseline bad, baseline fine); the last row's sums per arm are all calls, and what a
        series has less of them was never judged. With a leading axis: the same for each stratum of the calls."""
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


def thinning(done: int) -> int:
    """A look at every call at first, then each time about 3 % more calls are in: 150 looks for 2,000 calls. A
    decision is then at most 3 % late; the gate itself loses nothing by looking less often."""
    return max(1, done // 30)


class Runs:
    """The state of all runs of one scenario.

    `ledgers` has shape (series + 1, runs, cells, weights, 4), the last row for all calls; row m of the cells holds
    those of cell m and later. `watched` (series, runs, cells, 2) is the same of calls at weight 1, counted from the
    cell in which that began. `strata` (strata, series + 1, runs, cells, weights, 2) holds the calls of each arm.
    """

    def __init__(
        self,
        config: GateConfig,
        steps: Sequence[PlayStep],
        callers: Callers,
        runs: int,
        calls_per_day: float,
        hours: Hours = _ALWAYS,
    ) -> None:
        self.config, self.steps, self.callers, self.rate = config, tuple(steps), callers, calls_per_day
        self.hours = hours
        self.opens = np.array([s.open for s in steps])
        shares = [s.weight / 10_000 for s in steps]
        self.weights = tuple(dict.fromkeys(w for w in shares if 0.0 < w < 1.0))
        self.shares = np.array(shares)
        self.column = np.array([self.weights.index(w) if w in self.weights else -1 for w in shares])
        self.narrow = np.array([before_full(shares, i + 1) for i in range(len(shares))])
        self.waves = np.array([s.wave for s in steps])
        self.series = config.series
        self.ledgers = np.zeros((len(self.series) + 1, runs, 1, len(self.weights), 4))
        self.strata = np.zeros((0, len(self.series) + 1, runs, 1, len(self.weights), 2))
        self.by_strata = np.zeros(runs, dtype=bool)
        self.watched = np.zeros((len(self.series), runs, 1, 2))
        self.cell = np.zeros(runs, dtype=np.int64)
        self.full_from = np.zeros(runs, dtype=np.int64)  # the cell in which weight 1 was reached
        self.wave_from = np.zeros(runs, dtype=np.int64)  # the cell in which the wave began
        self.scene = Scene(
            np.arange(runs),
            np.full(runs, shares[0]),
            np.zeros(runs, dtype=np.int64),
            np.zeros(runs, dtype=np.int64),
            np.zeros(runs),
        )
        self.since = np.zeros((2, runs))  # days at which the step began: of all time, and of open time
        self.canary = np.zeros(runs)
        zeros = np.zeros(runs, dtype=np.int64)
        self.ends = Ends(np.full(runs, WAIT), zeros.copy(), zeros.copy(), np.zeros(runs))
        self.new = self.drawn = np.zeros((len(self.series) + 1, runs, 4))

    def play(self, most_calls: int, spacing: Callable[[int], int] = thinning, policy: Policy | None = None) -> Ends:
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
                self._act(decide(self), done, turn if self.hours.is_open(turn) else float(np.nextafter(turn, 0)))
                turn = self.hours.turn(turn)
        self._finish(np.ones(len(self.scene.ids), dtype=bool), WAIT, done, done / self.rate)
        return self.ends

    def _take(self, drawn: Array, calls: int) -> None:
        new = drawn if drawn.ndim == 3 else drawn.sum(axis=0)
        self.new, self.drawn = new, drawn
        s = self.scene
        s.since_call += calls
        arms = new[-1, :, 0] + new[-1, :, 1]
        s.in_step += arms
        self.canary += arms
        needed = int(self.cell.max()) + 1
        if needed > self.ledgers.shape[2]:  # later ledgers start empty
            self.ledgers, self.watched = (_longer(self.ledgers, 2, needed + 7), _longer(self.watched, 2, needed + 7))
            self.strata = _longer(self.strata, 3, needed + 7)
        if drawn.ndim == 4 and not len(self.strata):
            self.strata = np.zeros((len(drawn), *self.ledgers.shape[:-1], 2))
        rows = np.arange(needed)
        open_rows = rows <= self.cell[:, None]
        for column in range(len(self.weights)):
            here = self.column[s.step] == column
            counted = (open_rows & here[:, None])[..., None]
            self.ledgers[:, :, :needed, column] += new[:, :, None, :] * counted
            if drawn.ndim == 4:
                both = np.stack([drawn[..., 0] + drawn[..., 1], drawn[..., 2] + drawn[..., 3]], axis=-1)
                self.strata[:, :, :, :needed, column] += both[:, :, :, None, :] * counted
        full = s.weight >= 1.0
        if full.any():
            days = (rows <= (self.cell - self.full_from)[:, None]) & full[:, None]
            self.watched[:, :, :needed] += new[:-1, :, None, :2] * days[..., None]

    def _act(self, code: Ints, done: int, now: float) -> None:
        """Act on the gate's `code` at `now`, in days since the first step, after so many calls."""
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
        begun = go & (self.waves[s.step] != self.waves[np.maximum(s.step - 1, 0)])
        full = go & (s.weight < 1.0) & (self.shares[s.step] >= 1.0)
        s.weight[go] = self.shares[s.step[go]]
        self.cell[go] += 1
        self.wave_from[begun] = self.cell[begun]
        self.full_from[full] = self.cell[full]
        self.watched[:, full] = 0.0
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
        self.scene = Scene(s.ids[which], s.weight[which], s.step[which], s.since_call[which], s.in_step[which])
        self.ledgers, self.watched = self.ledgers[:, which], self.watched[:, which]
        self.strata, self.by_strata = self.strata[:, :, which], self.by_strata[which]
        self.cell, self.full_from, self.wave_from = (self.cell[which], self.full_from[which], self.wave_from[which])
        self.since, self.canary = self.since[:, which], self.canary[which]
        self.new = self.new[:, which]


def _longer(array: Array, axis: int, length: int) -> Array:
    room = np.zeros((*array.shape[:axis], length, *array.shape[axis + 1 :]))
    room[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
    return room


def gate(runs: Runs) -> Ints:
    """The gate's decision for every run that is still going; see weighing.py."""
    config, scene = runs.config, runs.scene
    if not config.metrics:
        return np.full(len(scene.ids), PASS)
    code = np.full(len(scene.ids), WAIT)
    for index, step in enumerate(runs.steps):
        here = np.flatnonzero(scene.step == index)
        if not len(here):
            continue
        code[here] = _at_step(runs, here, index)
        if step.weight >= 10_000:
            whole = runs.ledgers[:-1, here, 0].sum(axis=2)
            if config.critical:  # never compared, never passed
                blind = whole.sum(axis=(0, 2)) == 0
                code[here[blind & (code[here] == PASS)]] = WAIT
            alarm = _watch(runs, here, whole) >= config.watch_alarm
            last = index == len(runs.steps) - 1
            acts = config.watch_acts and (config.edition == 1 or last)
            code[here[alarm & (code[here] == PASS)]] = FAIL if acts else WAIT
    return code


def _at_step(runs: Runs, here: Ints, index: int) -> Ints:
    """The decision for the runs that stand at this step (from 0)."""
    config, second = runs.config, runs.config.edition >= 2
    w, rows = runs.steps[index].weight / 10_000, int(runs.cell.max()) + 1
    ledgers = runs.ledgers[:, here, :rows]
    narrow = second and bool(runs.narrow[index])
    margins = {m.name: at_step(m.margins, w, index + 1, narrow=narrow) for m in config.critical}
    by_series = dict(zip(runs.series, ledgers[:-1], strict=True))
    started = ledgers[-1, :, 0]
    e_split = ev.split_e(started[..., :2].sum(-1), started[..., 2:].sum(-1), runs.weights)
    costs = None
    if not second:
        for ledger in (by_series[s][:, 0] for m in config.critical for s in m.series):
            e_split = np.maximum(e_split, ev.split_e(ledger[..., :2].sum(-1), ledger[..., 2:].sum(-1), runs.weights))
    if second and len(runs.strata):
        parts = runs.strata[:, -1, here, 0]
        e_strata = np.mean(ev.split_e(parts[..., 0], parts[..., 1], runs.weights), axis=0)
        e_split = np.maximum(e_split, e_strata)
        runs.by_strata[here] |= e_strata >= config.strata_from
        costs = _costs(runs, here, rows, by_series)
    own = own_costs = None
    if second and runs.waves[index] != runs.waves[0]:
        first = runs.wave_from[here]
        own = {s: ledger[np.arange(len(here)), first] for s, ledger in by_series.items()}
        if costs is not None:
            own_costs = {s: cost[np.arange(len(here)), first] for s, cost in costs.items()}
    weighed = weigh(config, by_series, runs.weights, margins, costs=costs, own=own, own_costs=own_costs)
    safe = np.min([*weighed.safe.values(), np.full(len(here), ev.LARGEST)], axis=0)
    return rule(
        config,
        e_gate=np.broadcast_to(weighed.e_gate, len(here)),
        bad=ledgers[:-1, :, 0].sum(axis=2)[..., 0].max(axis=0, initial=0),
        e_split=e_split,
        safe=ev.LARGEST if w >= 1.0 else safe,
        enough=np.array(w >= 1.0) | (runs.scene.in_step[here] >= at_step(config.floors, w, index + 1)),
        e_labels=_labels(config, by_series, ledgers[-1], runs.weights) if second else 1.0,
    )


def _costs(runs: Runs, here: Ints, rows: int, by_series: dict[str, Array]) -> dict[str, Array]:
    """The cost of the split in each ledger: by stratum where a run has come to that, else all together."""
    paid = runs.by_strata[here]
    found = {}
    for k, (s, ledger) in enumerate(by_series.items()):
        cost = ev.split_cost(ledger, runs.weights)
        if paid.any():
            parts = runs.strata[:, k, here[paid], :rows]
            cost[paid] = ev.strata_cost(parts, runs.weights)
        found[s] = cost
    return found


def _labels(config: GateConfig, by_series: dict[str, Array], calls: Array, weights: tuple[float, ...]) -> Array | float:
    """Evidence that the results of a critical metric go missing on one side."""
    worst: Array | float = 1.0
    arms = np.stack([calls[..., :2].sum(-1), calls[..., 2:].sum(-1)], axis=-1)
    for s in (s for m in config.critical for s in m.series):
        judged = np.stack([by_series[s][..., :2].sum(-1), by_series[s][..., 2:].sum(-1)], axis=-1)
        lost = arms - judged
        if not lost[:, 0].any():
            continue
        counts = np.stack([lost[..., 0], judged[..., 0], lost[..., 1], judged[..., 1]], axis=-1)
        e = np.where(lost[:, 0].any(axis=(1, 2)), ev.labels_e(counts, weights), 1.0)
        worst = np.maximum(worst, e)
    return worst


def _watch(runs: Runs, here: Ints, whole: Array) -> Array:
    days = 1 if runs.config.edition == 1 else int((runs.cell - runs.full_from)[here].max()) + 1
    seen = runs.watched[:, here, :days]
    base = whole[..., 2:].sum(axis=-1)
    limit = ev.watch_limit(whole[..., 2], whole[..., 3])
    if runs.config.edition == 1:
        e = ev.one_sample_e(seen[..., 0, 0], seen[..., 0, 1], limit)
    else:
        e = ev.watch_e(seen[..., 0], seen[..., 1], limit)
    by_series = dict(zip(runs.series, np.where(base > 0, e, 1.0), strict=True))
    parts = [m.share * np.mean([by_series[s] for s in m.series], axis=0) for m in runs.config.compared]
    total: Array = np.sum(parts, axis=0) + runs.config.unbet
    return total
