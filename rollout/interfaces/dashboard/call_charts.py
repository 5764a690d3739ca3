"""Geometry of the charts of calls and rates, which stand under the staircase on its time axis.

Units are those of each chart's viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollout.domain.gates.summary import wilson
from rollout.interfaces.dashboard.charts import ChartFrame, Moment, Tick, TimeScale, steps_path


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

    frame: ChartFrame
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
    frame = ChartFrame(width, height, PANEL_TOP, PANEL_FOOT)
    hourly = [[n / max((c.end - c.begin).total_seconds() / 3600, 1 / 60) for n in c.started] for c in counted]
    most = _round_up(max((n for pair in hourly for n in pair), default=1.0))

    def y(value: float) -> float:
        return frame.y(value / most)

    bars = []
    for c, pair in zip(counted, hourly, strict=True):
        left, right = x(c.begin), x(c.end)
        each = max(1.0, min(24.0, (right - left) / 2 - 3))
        for i, arm in enumerate(ARMS):
            place = round((left + right) / 2 + (i - 1) * each, 1)
            text = f"{arm}: {c.started[i]:,} calls, {pair[i]:.1f} an hour"
            bars.append(CallsBar(place, y(pair[i]), round(each - 1, 1), round(frame.bottom - y(pair[i]), 1), arm, text))
    area = f"{steps_path(read, end, x, frame.y)} V{frame.bottom} H{x(read[0].at):.1f} Z"
    ticks = tuple(Tick(y(v), f"{v:g}") for v in (0.0, most / 2, most))
    return Panel(frame, ticks, _told("calls an hour", bars), area=area, bars=tuple(bars))


def rates_panel(counted: Sequence[Counted], floor: float, x: TimeScale, width: int, height: int) -> Panel:
    """The share of good calls of both versions in each period; the axis goes from `floor` to 1."""
    frame = ChartFrame(width, height, PANEL_TOP, PANEL_FOOT)

    def y(value: float) -> float:
        return frame.y((max(value, floor) - floor) / (1 - floor))

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
    return Panel(frame, ticks, _told("share of good calls", marks), marks=tuple(marks), lines=lines)


def rate_floor(of: Sequence[Sequence[Counted]]) -> float:
    """The beginning of every rate's axis: below the lowest interval, in steps of twenty points."""
    shares = [wilson(c.good[i] / c.judged[i], c.judged[i])[0] for one in of for c in one for i in (0, 1) if c.judged[i]]
    return max(0.0, math.floor(min(shares, default=0.0) * 5) / 5)


def _told(what: str, of: Sequence[CallsBar | RateMark]) -> str:
    """A panel in words: its newest period."""
    return f"{what} over time; newest {'; '.join(m.text for m in of[-2:])}" if of else f"{what} over time; none yet"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40 ...: halves of it are round, too."""
    unit = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((unit * step for step in (1, 2, 4, 10) if unit * step >= value), unit * 10)
