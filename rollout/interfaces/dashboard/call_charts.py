"""Geometry of the charts of calls and rates, which stand under the staircase on its time axis, and of the bars between
harmful and safe. Units are those of each chart's viewBox."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollout.domain.gates.summary import wilson
from rollout.interfaces.dashboard.charts import LEFT, RIGHT, Moment, Tick, TimeScale, steps_path


@dataclass(frozen=True, slots=True)
class Counted:
    """The calls of one position on one day, (canary, baseline): all that started, and of one outcome good and judged."""

    begin: datetime
    end: datetime
    started: tuple[int, int]
    good: tuple[int, int]
    judged: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CallsBar:
    """The calls per hour of one arm in one period; `arm` is canary or baseline."""

    x: float
    y: float
    width: float
    height: float
    arm: str
    text: str


@dataclass(frozen=True, slots=True)
class RateMark:
    """The rate of good calls of one arm in one period, with its 95 % interval."""

    x: float
    y: float
    low: float
    high: float
    arm: str
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart under the staircase, on its time axis: bars or marks, and one line for each arm through its marks."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    y_ticks: tuple[Tick, ...]
    label: str
    area: str = ""
    bars: tuple[CallsBar, ...] = ()
    marks: tuple[RateMark, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()


ARMS = ("canary", "baseline")
PANEL_TOP, PANEL_FOOT = 10, 8


def calls_panel(
    counted: Sequence[Counted], read: Sequence[Moment], end: datetime, x: TimeScale, width: int, height: int
) -> Panel:
    """Calls per hour of both versions in each period, the weight that was read back behind them."""
    bottom = height - PANEL_FOOT
    hourly = [[n / max((c.end - c.begin).total_seconds() / 3600, 1 / 60) for n in c.started] for c in counted]
    most = _round_up(max((n for pair in hourly for n in pair), default=1.0))

    def y(value: float) -> float:
        return round(bottom - value / most * (bottom - PANEL_TOP), 1)

    bars = []
    for c, pair in zip(counted, hourly, strict=True):
        left, right = x(c.begin), x(c.end)
        each = max(1.0, min(24.0, (right - left) / 2 - 3))
        for i, arm in enumerate(ARMS):
            place = round((left + right) / 2 + (i - 1) * each, 1)
            text = f"{arm}: {c.started[i]:,} calls, {pair[i]:.1f} an hour"
            bars.append(CallsBar(place, y(pair[i]), round(each - 1, 1), round(bottom - y(pair[i]), 1), arm, text))
    area = f"{steps_path(read, end, x, lambda w: y(w * most))} V{bottom} H{x(read[0].at):.1f} Z"
    ticks = tuple(Tick(y(v), f"{v:g}") for v in (0.0, most / 2, most))
    return Panel(
        width, height, LEFT, width - RIGHT, bottom, ticks, _told("calls an hour", bars), area=area, bars=tuple(bars)
    )


def rates_panel(counted: Sequence[Counted], floor: float, x: TimeScale, width: int, height: int) -> Panel:
    """The share of good calls of both versions in each period; the axis goes from `floor` to 1."""
    bottom = height - PANEL_FOOT

    def y(value: float) -> float:
        return round(bottom - (max(value, floor) - floor) / (1 - floor) * (bottom - PANEL_TOP), 1)

    marks: list[RateMark] = []
    for c in counted:
        middle = (x(c.begin) + x(c.end)) / 2
        for i, arm in enumerate(ARMS):
            if c.judged[i]:
                share = c.good[i] / c.judged[i]
                low, high = wilson(share, c.judged[i])
                text = f"{arm}: {c.good[i]:,} of {c.judged[i]:,} calls good, {100 * share:.1f} %"
                marks.append(RateMark(round(middle + (i * 8 - 4), 1), y(share), y(low), y(high), arm, text))
    lines = tuple((arm, " ".join(f"{m.x},{m.y}" for m in marks if m.arm == arm)) for arm in ARMS)
    ticks = tuple(Tick(y(v), f"{100 * v:g} %") for v in (floor, (1 + floor) / 2, 1.0))
    return Panel(
        width,
        height,
        LEFT,
        width - RIGHT,
        bottom,
        ticks,
        _told("share of good calls", marks),
        marks=tuple(marks),
        lines=lines,
    )


def rate_floor(of: Sequence[Sequence[Counted]]) -> float:
    """Where the axis of every rate begins: below the lowest interval, in steps of twenty points."""
    shares = [wilson(c.good[i] / c.judged[i], c.judged[i])[0] for one in of for c in one for i in (0, 1) if c.judged[i]]
    return max(0.0, math.floor(min(shares, default=0.0) * 5) / 5)


def _told(what: str, of: Sequence[CallsBar | RateMark]) -> str:
    """What a panel shows, in words: its newest period."""
    return f"{what} over time; newest {'; '.join(m.text for m in of[-2:])}" if of else f"{what} over time; none yet"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40 ...: halves of it are round, too."""
    unit = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((unit * step for step in (1, 2, 4, 10) if unit * step >= value), unit * 10)


# ------------------------------------------------------------------ between harmful and safe


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


def balance(harm: float, proof: float | None, width: int = 240) -> Balance:
    """`harm` and `proof`: how far the evidence has come towards either line, 0..1."""
    middle = width / 2
    reach = middle * 0.88
    net = -harm if harm > (proof or 0.0) else proof or 0.0
    tone = "harmful" if harm >= 1 else "safe" if proof is not None and proof >= 1 else "unknown"
    return Balance(
        width,
        middle,
        round(middle + net * reach, 1),
        round(middle - reach, 1),
        None if proof is None else round(middle + reach, 1),
        tone,
    )
