"""Fourteen metrics in one plan: how often a harmless canary is rolled back, and one that is worse in a single metric.

The callers are those of a rehearsal: each outcome is drawn at its own rate, a hard error is also a failed call, and a
call above the p90 of latency is also above the p50.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from rollout.domain.gates.profiles import from_plan
from rollout.domain.rehearsal.rehearsal import OTHER_RATE, USUAL_RATES, ModelCallers
from rollout.domain.rehearsal.simulation import Ends, PlayStep, Runs

NAMED = (
    {"name": "lookup", "tool_failed": "look_up"},
    {"name": "mood", "custom": "mood", "bad_values": ["angry"]},
    {"name": "rating", "custom": "rating", "bad_below": 3},
)
FOURTEEN = from_plan({"metrics": [*({"name": n.partition(":")[0]} for n in USUAL_RATES if n != "slow:p90"), *NAMED]})
RATES: Mapping[str, float] = {**dict.fromkeys(FOURTEEN.series, OTHER_RATE), **USUAL_RATES, "lookup": 0.03}
STEPS = (PlayStep(1000), PlayStep(5000))
WORSE: tuple[tuple[str, Mapping[str, float]], ...] = (
    ("equal in all fourteen", {}),
    ("early hang-ups 5 -> 25 %", {"early_hangup": 0.25}),
    ("calls above the usual cost 10 -> 50 %", {"cost": 0.50}),
    ("a tool fails in 3 -> 20 % of calls", {"lookup": 0.20}),
    ("a custom value in 10 -> 40 % of calls", {"mood": 0.40}),
    ("success 20 points worse", {"success": 0.35}),
)


def fourteen(
    runs: int, seed: int, calls: int, per_day: float, spacing: Callable[[int], int], say: Callable[[str], None]
) -> list[tuple[str, Ends]]:
    """The ends of the rollouts of each canary: at weight 0.1 and 0.5, at most so many calls. Of the equal one four times
    as many are played, for the share that is rolled back is small."""
    assert len(FOURTEEN.metrics) == 14
    config = replace(FOURTEEN, history={s: RATES[s] for s in FOURTEEN.series})
    found = []
    for i, (name, worse) in enumerate(WORSE):
        parts = []
        for part in range(1 if worse else 4):
            rng = np.random.default_rng(seed + 700 + i + 100 * part)
            callers = ModelCallers(FOURTEEN.series, RATES, {**RATES, **worse}, rng)
            parts.append(Runs(config, STEPS, callers, runs, per_day).play(calls, spacing))
        found.append((name, _joined(parts)))
        say(name)
    return found


def _joined(parts: Sequence[Ends]) -> Ends:
    return Ends(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Ends)))
