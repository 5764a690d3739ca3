"""Geometry of a metric's evidence: the interval of its difference, and the bar between harmful and safe.

Units are those of each picture's viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.domain.gates.summary import MetricSummary


@dataclass(frozen=True, slots=True)
class Whisker:
    """An interval of a difference around 0: places on an axis from 0 to `width`."""

    width: int
    zero: float
    low: float
    high: float
    point: float | None
    margin: float | None


def whisker(
    interval: Sequence[float], difference: float | None, margin: float | None, reach: float, width: int = 140
) -> Whisker:
    """`reach` is the difference at either end of the axis; what lies beyond is cut off there."""

    def place(value: float) -> float:
        return round(width / 2 * (1 + max(-1.0, min(1.0, value / reach))), 1)

    low, high = interval
    return Whisker(
        width,
        width / 2,
        place(low),
        place(high),
        None if difference is None else place(difference),
        None if margin is None else place(margin),
    )


def reach_of(metrics: Sequence[MetricSummary]) -> float:
    """One axis for all metrics: wide enough for every margin and most intervals, in steps of 5 points."""
    widest = 0.1
    for m in metrics:
        if m.interval is not None and m.difference is not None:
            widest = max(widest, *map(abs, m.interval))
        widest = max(widest, 1.25 * (m.margin or 0.0))
    return min(1.0, math.ceil(widest * 20) / 20)


@dataclass(frozen=True, slots=True)
class Balance:
    """A metric between harmful (0), unknown (middle) and safe (`width`): a bar from the middle to `place`. At `harmful`
    it rolls back; at `enough` it is safe enough to pass, None for a metric that is only watched."""

    width: int
    middle: float
    place: float
    harmful: float
    enough: float | None
    tone: str


BALANCE_WIDTH = 240


def balance(harm: float, proof: float | None) -> Balance:
    """`harm` and `proof`: how far the evidence has come towards either line, 0..1."""
    middle = BALANCE_WIDTH / 2
    reach = middle * 0.88
    net = -harm if harm > (proof or 0.0) else proof or 0.0
    tone = "harmful" if harm >= 1 else "safe" if proof is not None and proof >= 1 else "unknown"
    return Balance(
        BALANCE_WIDTH,
        middle,
        round(middle + net * reach, 1),
        round(middle - reach, 1),
        None if proof is None else round(middle + reach, 1),
        tone,
    )
