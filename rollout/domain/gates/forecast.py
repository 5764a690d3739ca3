"""The calls and days that a verdict still needs.

The formula is a random walk's: evidence grows by r nats a call in the mean, so half of all rollouts cross the
line after (ln(1/level) + a - ln E) / r calls. How far above the line, a, was fitted to simulated rollouts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.forecast_wording import Forecast

_HARM = 1.5  # nats above the line for half of all rollouts, harm; for proofs of "not worse" see to_prove


def calls_needed(
    weight: float, margin: float, b: float, c: float, level: float, ln_e: float = 0.0, above: float = _HARM
) -> Forecast | None:
    """Calls until E reaches 1/level when the bad rates are b (baseline) and c (canary).

    None when it will never happen at these rates (no difference to find). `above` is a in the module's text.
    """
    rate = ev.information(weight, margin, b, c)
    if rate <= 1e-12:
        return None
    return Forecast(max(0.0, (math.log(1 / level) - ln_e + above) / rate))


def to_prove(
    weight: float, margin: float, rate: float, level: float, ln_e: float = 0.0, what: str = ""
) -> Forecast | None:
    """Calls until an equal canary with this bad rate is proven not to be worse by the margin.

    A proof of "not worse" lives on few canary calls at a small weight, so its first lucky crossing comes the
    sooner the smaller the weight: 1.5 nats would be 35 to 50 % too late at weight 0.1.
    """
    found = calls_needed(weight, margin, rate, rate, level, ln_e, 0.3 + 1.2 * weight)
    return None if found is None else replace(found, what=what)


def smoothed(bad: float, fine: float) -> float:
    """A rate that is never 0 or 1: half a bad and half a fine call more than were seen."""
    return (bad + 0.5) / (bad + fine + 1.0)


def to_promote(
    weight: float, margin: float, counts: Sequence[float], level: float, ln_e: float, what: str
) -> Forecast | None:
    """Forecast of the proof that the canary is not worse by the margin, at the pooled rate seen so far."""
    if not any(counts):
        return None
    fc, sc, fb, sb = counts
    return to_prove(weight, margin, smoothed(fc + fb, sc + sb), level, ln_e, what)
