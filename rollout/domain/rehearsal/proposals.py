"""For a plan that cannot decide at its traffic: the smallest change that can, with the figures of both.

A proof of "not worse by eight points" lives on canary calls, of which a small weight has few. What helps most is a
step at weight 0.5 before everybody gets the canary; then wider margins; then a larger first weight; then time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.domain.gates import forecast
from rollout.domain.gates.forecast_wording import Forecast
from rollout.domain.gates.profiles import GateConfig, at_step, before_full, from_plan, profile_of
from rollout.domain.rehearsal.simulation import DAY, PlayStep

PATIENCE = 30 * DAY  # how long people wait for a decision if the plan has no deadline
_MARGIN_FOR_CHANCE = 0.8  # of that time, for the median rollout: half of them take longer
_MOST_DAYS = 365  # of a deadline that is proposed
_NEVER = 1e12  # calls for a margin so small that no number of calls proves it
HALF = 5000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan's ladder and one that decides sooner; calls until half of the rollouts of an equal canary are promoted.

    half_step: a step at weight 0.5 was put in before weight 1; first: the first weight in basis points, if raised;
    profile: the other profile, if any. deadline: in seconds, if even this ladder needs more time than there is.
    """

    steps: tuple[PlayStep, ...]
    config: GateConfig
    calls_now: float
    calls_then: float
    half_step: int | None = None
    first: int | None = None
    profile: str | None = None
    deadline: float | None = None

    @property
    def words(self) -> str:
        """The changes, for people."""
        parts = []
        if self.half_step is not None:
            parts.append("a step at weight 0.5 before weight 1")
        if self.first is not None:
            parts.append(f"a first weight of {self.first / 10_000:g}")
        if self.profile is not None:
            parts.append(f"profile: {self.profile}")
        if self.deadline is not None:
            parts.append(f"a deadline of {round(self.deadline / DAY)} days")
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def propose(
    config: GateConfig,
    steps: Sequence[PlayStep],
    calls_per_day: float,
    base: Mapping[str, float],
    patience: float = PATIENCE,
) -> Proposal | None:
    """The smallest change with which the plan decides within `patience` seconds; None where it does so as it is, or
    where no step compares anything, and where no change decides within a year. `base`: the baseline's bad rates by
    series. calls_per_day: above 0."""
    if not config.critical or all(s.weight >= 10_000 for s in steps):
        return None
    budget = _MARGIN_FOR_CHANCE * calls_per_day * patience / DAY
    now = calls_of(config, steps, calls_per_day, base)
    if now <= budget:
        return None
    tried = _candidates(config, tuple(steps), now) or [Proposal(tuple(steps), config, now, now)]
    tried = [replace(p, calls_then=calls_of(p.config, p.steps, calls_per_day, base)) for p in tried]
    fits = next((p for p in tried if p.calls_then <= budget), None)
    if fits is not None:
        return fits
    best = min(tried, key=lambda p: p.calls_then)
    days = best.calls_then / calls_per_day / _MARGIN_FOR_CHANCE
    return None if days > _MOST_DAYS else replace(best, deadline=math.ceil(days) * DAY)


def _candidates(config: GateConfig, steps: tuple[PlayStep, ...], now: float) -> list[Proposal]:
    ladders: list[tuple[int | None, tuple[PlayStep, ...]]] = [(None, steps)]
    full = next((i for i, s in enumerate(steps) if s.weight >= 10_000), 0)
    if full and steps[full - 1].weight < HALF:
        step = replace(steps[full - 1], weight=HALF, min_calls=0, approve=False)
        ladders.insert(0, (full, (*steps[:full], step, *steps[full:])))
    gates = [config] if config.profile == "low-traffic" else [config, as_profile(config, "low-traffic")]
    found = []
    for first in (None, *(w for w in (2000, 3000, HALF) if w > steps[0].weight)):
        for half, ladder in ladders if first != HALF else [(None, steps)]:
            for gate in gates:
                if (half, first, gate) == (None, None, config):
                    continue  # the plan as it is
                tried = ladder if first is None else _raised(ladder, first)
                profile = None if gate is config else gate.profile
                found.append(Proposal(tried, gate, now, now, half, first, profile))
    return found


def _raised(steps: tuple[PlayStep, ...], first: int) -> tuple[PlayStep, ...]:
    """The ladder with this first weight: its step stands for every smaller one before it."""
    small = next((i for i, s in enumerate(steps) if s.weight > first), len(steps))
    return tuple(replace(s, weight=max(s.weight, first)) for s in steps[small - 1 :])


def as_profile(config: GateConfig, name: str) -> GateConfig:
    """The gate with the margins, levels and floors of another profile."""
    profile, plain = profile_of(name), from_plan({"profile": name})
    metrics = tuple(
        replace(m, margins=profile.margins[m.name]) if m.critical and m.name in profile.margins else m
        for m in config.metrics
    )
    return replace(plain, metrics=metrics, watch_acts=config.watch_acts, history=config.history)


def calls_of(config: GateConfig, steps: Sequence[PlayStep], calls_per_day: float, base: Mapping[str, float]) -> float:
    """Calls until half of the rollouts of an equal canary have finished all steps, holds included."""
    total = 0.0
    for i, step in enumerate(steps):
        narrow = before_full([s.weight / 10_000 for s in steps], i + 1)
        calls, _ = expected_calls(config, step, i, base, narrow=narrow)
        total += max(step.hold / DAY * calls_per_day, calls)
    return total


def expected_calls(
    config: GateConfig, step: PlayStep, index: int, base: Mapping[str, float], *, narrow: bool = False
) -> tuple[float, str]:
    """Calls after which half of the rollouts of an equal canary leave a step if it stood alone, and what they
    wait for. `narrow`: it stands before weight 1."""
    w = step.weight / 10_000
    if not 0.0 < w < 1.0:
        return 0.0, "nothing"
    floor = max(step.min_calls, at_step(config.floors, w, index + 1))
    parts = [Forecast(floor / w, "calls")]
    for m in config.critical:
        for s in m.series:
            rate = min(max(base[s], 0.001), 0.999)
            margin = at_step(m.margins, w, index + 1, narrow=narrow)
            found = forecast.to_prove(w, margin, rate, config.beta, what=m.name)
            parts.append(found or Forecast(_NEVER, m.name))
    longest = max(parts, key=lambda p: p.half)
    return longest.half, longest.what
