"""A plan's decision on its A/B test played against modelled callers: how often each variant would be shipped.

The last step alone is played, by the gate's own `weigh` and `rule`: every variant beside the baseline at each look, and
at the moment of the decision variant against variant. Chance comes from outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.profiles import GateConfig, at_step
from rollout.domain.gates.shipping import LAST, comparison_gate
from rollout.domain.gates.weighing import FAIL, PASS, rule, weigh
from rollout.domain.plan.decide import Ship
from rollout.domain.plan.plan import Plan
from rollout.domain.rehearsal.rehearsal import base_rates, draw_calls
from rollout.domain.rehearsal.simulation import DAY

Array = NDArray[np.float64]
BASELINE = "baseline"
_MOST_CELLS = 30  # a long test has cells of several days
_DIFFERENCES = (0, 5, 10, -5, -10)  # points by which the first variant is better


@dataclass(frozen=True, slots=True)
class ABTest:
    """The last step of a plan that decides. shares: basis points by variant, what is left is the baseline's; calls: of
    all versions until the decision; days: how long these take."""

    shares: Mapping[str, int]
    calls: int
    days: float


@dataclass(frozen=True, slots=True)
class Decided:
    """The ends of one kind of test, as parts of all runs. shipped: by variant; nothing: neither; failed: the gates of a
    variant failed before, and the plan does its `on_failure`."""

    name: str
    shipped: Mapping[str, float]
    nothing: float
    failed: float


def ab_test(plan: Plan, calls_per_day: float) -> ABTest | None:
    """The test of a plan that ships its best variant: until its moment, and until the smallest variant has its calls."""
    if plan.decide is None or plan.decide.ship is not Ship.BEST:
        return None
    shares = plan.weights(plan.last_step)
    least = math.ceil(plan.decide.min_calls / (min(shares.values()) / 10_000))
    calls = max(round(plan.decide.after.total_seconds() / DAY * calls_per_day), least, 1)
    return ABTest(shares, calls, calls / calls_per_day)


def rehearse_decision(config: GateConfig, test: ABTest, *, runs: int) -> tuple[Decided, ...]:
    """The ends where the first variant is as good as the others and the baseline, and 5 and 10 points better and worse.

    The baseline has the usual bad rates; the same calls are drawn each time.
    """
    base = base_rates(config)
    first, rng, found = config.compared[0].series, np.random.default_rng(1), []
    for points in _DIFFERENCES:
        other = {**base, **{s: min(1.0, max(0.0, base[s] - points / 100)) for s in first}}
        tried = {name: other if i == 0 else base for i, name in enumerate(test.shares)}
        name = "equal" if not points else f"{abs(points)} points {'better' if points > 0 else 'worse'}"
        found.append(play_decision(config, test, {BASELINE: base, **tried}, name=name, runs=runs, rng=rng))
    return tuple(found)


def play_decision(
    config: GateConfig,
    test: ABTest,
    rates: Mapping[str, Mapping[str, float]],
    *,
    name: str,
    runs: int,
    rng: np.random.Generator,
) -> Decided:
    """Tests of versions with these bad rates (by version, then by series), the baseline's known from before."""
    config = replace(config, history={s: rates[BASELINE][s] for s in config.series})
    calls = PlayedCalls(config, test, rates, runs, rng)
    failed = np.zeros(runs, dtype=bool)
    while calls.done < test.calls:
        calls.take(min(max(5, calls.done // 20), test.calls - calls.done))
        for arm in test.shares:
            failed |= calls.harmed(config, arm)
    against, shipped = comparison_gate(config), {}
    for arm in test.shares:
        best = ~failed & calls.proven(config, arm, BASELINE)
        for other in test.shares:
            if other != arm:
                best &= calls.proven(against, arm, other)
        shipped[arm] = float(best.mean())
    lost = float(failed.mean())
    return Decided(name, shipped, 1.0 - lost - sum(shipped.values()), lost)


class PlayedCalls:
    """The calls of all runs.

    done: how many in each; points: basis points by version. `counts` has by version the shape (series + 1, runs, cells,
    bad or fine); the last row is all calls.
    """

    def __init__(
        self,
        config: GateConfig,
        test: ABTest,
        rates: Mapping[str, Mapping[str, float]],
        runs: int,
        rng: np.random.Generator,
    ) -> None:
        self.series, self.test, self.rates, self.runs, self.rng = config.series, test, rates, runs, rng
        self.done, self.cells = 0, min(_MOST_CELLS, math.ceil(test.days))
        rest = 10_000 - sum(test.shares.values())
        self.points = {BASELINE: rest, **test.shares}
        self.counts = {name: np.zeros((len(self.series) + 1, runs, self.cells, 2)) for name in self.points}

    def take(self, calls: int) -> None:
        """So many calls more, each of a version by the weights."""
        cell = min(self.cells - 1, self.done * self.cells // self.test.calls)
        drawn = self.rng.multinomial(calls, [p / 10_000 for p in self.points.values()], size=self.runs)
        for (name, counts), n in zip(self.counts.items(), drawn.T, strict=True):
            counts[:, :, cell] += draw_calls(self.series, n, self.rates[name], self.rng)
        self.done += calls

    def harmed(self, config: GateConfig, arm: str) -> NDArray[np.bool_]:
        """The runs in which the gates of a variant fail now."""
        of, weight = self._ledgers(arm, BASELINE)
        uncritical = replace(config, metrics=tuple(replace(m, margins=()) for m in config.metrics))
        e_gate = weigh(uncritical, {s: of[s] for s in config.series}, (weight,), {}).e_gate
        bad = np.max([of[s][:, 0, 0, 0] for s in config.series], axis=0)
        found = rule(config, e_gate=e_gate, bad=bad, e_split=1.0, safe=0.0, enough=np.zeros(self.runs, dtype=bool))
        return np.asarray(found == FAIL)

    def proven(self, config: GateConfig, arm: str, other: str) -> NDArray[np.bool_]:
        """The runs in which one version passes beside another, by the margins and the floor that hold before weight 1."""
        of, weight = self._ledgers(arm, other)
        started = of[""][:, 0]
        margins = {m.name: at_step(m.margins, weight, LAST, narrow=True) for m in config.critical}
        weighed = weigh(config, {s: of[s] for s in config.series}, (weight,), margins)
        counted = [of[s][:, 0, 0, :2].sum(-1) for m in config.critical for s in m.series]
        found = rule(
            config,
            e_gate=weighed.e_gate,
            bad=np.max([of[s][:, 0, 0, 0] for s in config.series], axis=0),
            e_split=ev.split_e(started[..., :2].sum(-1), started[..., 2:].sum(-1), (weight,)),
            safe=np.min([*weighed.safe.values()], axis=0),
            enough=np.min(counted, axis=0) >= at_step(config.floors, weight, LAST),
        )
        return np.asarray(found == PASS)

    def _ledgers(self, arm: str, other: str) -> tuple[dict[str, Array], float]:
        """By series ("" is all calls) the ledgers of one version beside another, and its weight there."""
        weight = self.points[arm] / (self.points[arm] + self.points[other])
        reached = min(self.cells, self.done * self.cells // self.test.calls + 1)
        cells = np.concatenate([self.counts[arm], self.counts[other]], axis=-1)[:, :, :reached]
        ledgers = np.cumsum(cells[:, :, ::-1], axis=2)[:, :, ::-1, None]  # row m: cell m and later
        return dict(zip((*self.series, ""), ledgers, strict=True)), weight
