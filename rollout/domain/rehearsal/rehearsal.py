"""The ends of a plan: promoted, rolled back or undecided, for canaries as good and worse, before a call is made.

The plan's steps are played by simulation.py, through the gate's own code, against modelled callers. The answer
also says what the plan cannot detect or decide; proposals.py says what could.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rollout.domain.gates.forecast_wording import round_calls
from rollout.domain.gates.metrics import BUILT_IN, KINDS
from rollout.domain.gates.profiles import GateConfig, at_step, before_full
from rollout.domain.gates.weighing import FAIL, PASS, WAIT
from rollout.domain.rehearsal.hours import Hours
from rollout.domain.rehearsal.proposals import calls_of, expected_calls
from rollout.domain.rehearsal.simulation import DAY, PlayStep, Runs, Scene

Array = NDArray[np.float64]
# Bad rates of a plain voice agent, for whom no history is known.
USUAL_RATES: Mapping[str, float] = {
    **{name: row.usual for name, row in KINDS.items() if name in BUILT_IN and not row.quantiles},
    **{series: round(1 - quantile, 4) for series, quantile in KINDS["slow"].quantiles.items()},
}
OTHER_RATE = KINDS["custom"].usual
_AT_ONCE = (
    "All calls go to the canary at once, so the gate never has a baseline to compare with and cannot "
    "pass; give the plan a first step below weight 1, or write profile: none."
)
_POINTS = (0, 5, 10, 20, 40)
DEADLINE = 60 * DAY
_MOST_CALLS = 20_000  # of one modelled rollout


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of canary, and what became of its rollouts: shares of all runs, medians of those that ended so
    (None when none did). canary_to_roll_back counts canary calls until the rollback."""

    name: str
    promoted: float
    rolled_back: float
    undecided: float
    calls_to_promote: float | None
    days_to_promote: float | None
    calls_to_roll_back: float | None
    days_to_roll_back: float | None
    canary_to_roll_back: float | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The scenarios, what people should know of the plan, and all of it in one line."""

    scenarios: tuple[Scenario, ...]
    notes: tuple[str, ...]
    line: str
    runs: int
    calls_per_day: float
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCallers:
    """Callers that draw bad and fine calls at fixed rates, counts per block of calls. A hard error is also a
    failed call, and a call above the p90 threshold is also above the p50; the rest are independent."""

    series: tuple[str, ...]
    baseline: Mapping[str, float]
    canary: Mapping[str, float]
    rng: np.random.Generator

    def draw(self, scene: Scene, first: int, calls: int) -> Array:
        canary = self.rng.binomial(calls, scene.weight)
        arms = ((canary, self.canary), (calls - canary, self.baseline))
        return np.concatenate([draw_calls(self.series, n, rates, self.rng) for n, rates in arms], axis=-1)


def draw_calls(
    series: Sequence[str], n: NDArray[np.int64], rates: Mapping[str, float], rng: np.random.Generator
) -> Array:
    """The outcomes of `n` calls of one version in each run: shape (series + 1, runs, 2), bad and fine; the last row's sums
    are all calls."""
    bad: dict[str, NDArray[np.int64]] = {}
    for inner, outer in (("hard_error", "success"), ("slow:p90", "slow:p50")):
        p, q = rates[inner], max(rates[inner], rates[outer])
        bad[inner] = rng.binomial(n, p)
        bad[outer] = bad[inner] + rng.binomial(n - bad[inner], 0.0 if p >= 1 else (q - p) / (1 - p))
    rows = [bad[s] if s in bad else rng.binomial(n, rates[s]) for s in series]
    rows.append(np.zeros_like(n))
    both = np.stack(rows).astype(np.float64)
    return np.stack([both, n - both], axis=-1)


def base_rates(config: GateConfig, rates: Mapping[str, float] | None = None) -> dict[str, float]:
    """The baseline's bad rate by series: the usual ones, but for those that are known."""
    return {**dict.fromkeys((*config.series, *USUAL_RATES), OTHER_RATE), **USUAL_RATES, **(rates or {})}


def play_plan(  # noqa: PLR0913 - what is assumed of callers, each given by its name
    config: GateConfig,
    steps: Sequence[PlayStep],
    calls_per_day: float,
    *,
    rates: Mapping[str, float] | None = None,
    canary: Mapping[str, float] | None = None,
    runs: int = 1000,
    seed: int = 1,
    deadline: float = DEADLINE,
    hours: Hours | None = None,
) -> Rehearsal:
    """Play a plan. `rates` are bad rates by series ("success" is the rate of calls that are *not* successful),
    `canary` those of one more scenario of the caller's own; `deadline` in seconds ends a run undecided;
    `hours` are those in which steps may advance (None: always).

    One wave is played; a person asked to promote is taken to answer at once, and the baseline's own rates are taken
    to be known from before.
    """
    base = base_rates(config, rates)
    config = replace(config, history={s: base[s] for s in config.series})
    kinds = {"equal" if p == 0 else f"{p} points worse": {**base, **_worse(config, base, p / 100)} for p in _POINTS}
    kinds["dead"] = {**base, **dict.fromkeys(("success", "hard_error", *_first(config)), 1.0)}
    if canary:
        kinds["as given"] = {**base, **canary}
    most = int(min(_MOST_CALLS, max(1.0, calls_per_day * deadline / DAY)))
    rng = np.random.default_rng(seed)
    scenarios = []
    for name, kind in kinds.items():
        callers = ModelCallers(config.series, base, kind, rng)
        ends = Runs(config, steps, callers, runs, calls_per_day, hours or Hours()).play(most)
        back, done = ends.how == FAIL, ends.how == PASS
        scenarios.append(
            Scenario(
                name,
                float(done.mean()),
                float(back.mean()),
                float((ends.how == WAIT).mean()),
                _median(ends.calls[done]),
                _median(ends.days[done]),
                _median(ends.calls[back]),
                _median(ends.days[back]),
                _median(ends.canary[back]),
            )
        )
    notes = _notes(config, steps, calls_per_day, base, deadline, scenarios)
    return Rehearsal(tuple(scenarios), notes, _line(scenarios, calls_per_day), runs, calls_per_day, base)


def _first(config: GateConfig) -> tuple[str, ...]:
    """The series that get worse in a worse canary: success, or without it the first metric of the gate."""
    names = [m.series[0] for m in config.compared]
    return ("success",) if "success" in names or not names else (names[0],)


def _worse(config: GateConfig, base: Mapping[str, float], points: float) -> dict[str, float]:
    return {name: min(1.0, base[name] + points) for name in _first(config)}


def _median(values: NDArray[np.int64] | Array) -> float | None:
    return float(np.median(values)) if len(values) else None


def _notes(
    config: GateConfig,
    steps: Sequence[PlayStep],
    per_day: float,
    base: Mapping[str, float],
    deadline: float,
    scenarios: Sequence[Scenario],
) -> tuple[str, ...]:
    notes = []
    if not config.metrics:
        return ("This plan has no gates: every step follows when its hold is over, whatever happens to the calls.",)
    if config.critical and all(s.weight >= 10_000 for s in steps):
        return (_AT_ONCE,)
    shares = [s.weight / 10_000 for s in steps]
    for i, (step, w) in enumerate(zip(steps, shares, strict=True)):
        calls, what = expected_calls(config, step, i, base, narrow=before_full(shares, i + 1))
        seen = step.hold / DAY * per_day * w
        if calls and step.hold / DAY * per_day < calls:
            waits = (
                f"its {max(step.min_calls, at_step(config.floors, w, i + 1))} canary calls"
                if what == "calls"
                else f"the proof of {what}"
            )
            notes.append(
                f"Step {i + 1}: a hold of {_span(step.hold)} at {per_day:g} calls a day sees {_count(seen)} canary "
                f"call{'' if _count(seen) == 'one' else 's'}; expect the step to wait for {waits}, "
                f"about {round_calls(calls):,} calls or {_span(calls / per_day * DAY)}."
            )
        if step.approve:
            notes.append(f"Step {i + 1} needs a person's approval; these times assume that it comes at once.")
    equal = scenarios[0]
    if equal.promoted < 0.5 and any(s.weight < 10_000 for s in steps):
        calls = calls_of(config, steps, per_day, base)
        notes.append(
            f"This plan cannot decide at {per_day:g} calls a day: within {_span(deadline)} only {equal.promoted:.0%} of "
            f"the rollouts of an equally good canary are promoted. It needs about {round_calls(calls):,} calls, "
            f"{_span(calls / per_day * DAY)} at this traffic."
        )
    weak = next((s for s in scenarios[1:5] if s.rolled_back < 0.8), None)
    sure = next((s for s in scenarios[1:5] if s.rolled_back >= 0.8), None)
    if weak and sure:
        notes.append(
            f"A canary {weak.name} is rolled back in {weak.rolled_back:.0%} of the rollouts and promoted in "
            f"{weak.promoted:.0%}; one {sure.name} is rolled back in {sure.rolled_back:.0%}."
        )
    return tuple(notes)


def _line(scenarios: Sequence[Scenario], per_day: float) -> str:
    by_name = {s.name: s for s in scenarios}
    equal, ten, dead = by_name["equal"], by_name["10 points worse"], by_name["dead"]
    good = (
        f"an equal canary is promoted in {equal.promoted:.0%} of rollouts after {_span(equal.days_to_promote * DAY)}"
        if equal.days_to_promote is not None
        else "an equal canary is never promoted before the deadline"
    )
    gone = (
        f"one that fails every call is rolled back after {dead.canary_to_roll_back:.0f} of its calls"
        if dead.canary_to_roll_back is not None
        else "one that fails every call is not detected"
    )
    return f"At {per_day:g} calls a day {good}, one 10 points worse is rolled back in {ten.rolled_back:.0%}, {gone}."


def _span(seconds: float) -> str:
    for unit, size in (("day", DAY), ("hour", 3600.0), ("min", 60.0)):
        if seconds >= 0.95 * size:
            n = round(seconds / size, 1 if seconds < 9.5 * size else 0)
            return f"{n:g} {unit}{'s' if n != 1 and unit != 'min' else ''}"
    return f"{seconds:.0f} s"


def _count(n: float) -> str:
    words = ("no", "one", "two", "three", "four", "five")
    return words[round(n)] if round(n) < len(words) else f"about {round_calls(n):,}"
