"""Geometry of the page's charts: numbers in, coordinates out. The templates draw them as SVG.

Units are those of each chart's viewBox. No text is escaped here and nothing is marked as safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import ClassVar

from rollout.domain.gates.summary import wilson

SHORTENED = 0.45  # a time t is drawn as t to this power
AHEAD_MOST = 0.4
LEFT, RIGHT = 52, 14  # the margins of a chart over time
LETTER, GAP = 7.2, 8.0  # how wide a character of an axis is at most, and the room between two texts
TimeScale = Callable[[datetime], float]  # where a time stands, in the units of a picture
_Level = Callable[[float], float]

# ------------------------------------------------------------------ the small staircase of a list


@dataclass(frozen=True, slots=True)
class Bar:
    """One step; `state` is done, current, moving (being written) or ahead."""

    x: float
    y: float
    width: float
    height: float
    state: str


@dataclass(frozen=True, slots=True)
class Stairs:
    """The plan's steps as bars, with one sentence that says the same."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    label: str


def stairs(weights: Sequence[float], step: int, confirmed: bool, ended: str = "") -> Stairs:
    """`weights` 0..1 of every step, `step` from 1. `ended`: promoted fills all, rolled_back none."""
    width, height, gap = 96, 26, 2.0
    each = (width - gap * (len(weights) - 1)) / len(weights) if weights else 0.0
    if each < 2:  # a plan of many steps: bars without gaps rather than none at all
        gap, each = 0.0, width / len(weights)
    bars = []
    for i, weight in enumerate(weights, 1):
        tall = max(2.0, round(weight * (height - 2), 1))
        if ended == "promoted":
            state = "done"
        elif ended == "rolled_back":
            state = "ahead"
        elif i == step:
            state = "current" if confirmed else "moving"
        else:
            state = "done" if i < step else "ahead"
        bars.append(Bar(round((i - 1) * (each + gap), 2), round(height - tall, 1), round(each, 2), tall, state))
    share = f"{round(weights[step - 1] * 100, 2):g} %" if 1 <= step <= len(weights) else "none"
    label = f"step {step} of {len(weights)}, weight {share}" + ("" if confirmed else ", being written")
    return Stairs(width, height, tuple(bars), f"{label}; {ended.replace('_', ' ')}" if ended else label)


# ------------------------------------------------------------------ the staircase over time


@dataclass(frozen=True, slots=True)
class Moment:
    """From `at` on, the canary's weight (0..1) was this."""

    at: datetime
    weight: float


@dataclass(frozen=True, slots=True)
class Observed:
    """Calls that started at one position: `share` of them reached the canary."""

    begin: datetime
    end: datetime
    share: float
    calls: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis. On the time axis `at` is set, and `style` says how a time is written there."""

    place: float
    text: str
    at: datetime | None = None
    anchor: str = "middle"
    style: str = ""


@dataclass(frozen=True, slots=True)
class ObservedMark:
    """One observed share: a line over the time it speaks for, a dot, and the range it may be by chance."""

    x1: float
    x2: float
    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """A picture over time and the part of it that its axes enclose; `top` and `foot` are its margins."""

    left: ClassVar[int] = LEFT
    width: int
    height: int
    top: int
    foot: int

    @property
    def right(self) -> int:
        """The right end of the time axis."""
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        """The height of the time axis."""
        return self.height - self.foot

    def y(self, part: float) -> float:
        """The height of a value: 0 on the time axis, 1 at the top."""
        return round(self.bottom - part * (self.bottom - self.top), 1)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The staircase: `asked` and `read` are paths, `ahead` what the plan would do next, `now` a place."""

    frame: ChartFrame
    asked: str
    read: str
    area: str
    ahead: str
    now: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    observed: tuple[ObservedMark, ...]
    label: str


def timeline(  # noqa: PLR0913 - four series, and the measures of the picture by their names
    asked: Sequence[Moment],
    read: Sequence[Moment],
    observed: Sequence[Observed],
    ahead: Sequence[Moment],
    end: datetime,
    *,
    width: int,
    height: int = 220,
    live: bool = True,
) -> Timeline | None:
    """The chart until `end` (now, or the end of the rollout) and, dashed, what lies `ahead`.

    None before anything was asked. Long times are drawn shorter, so that a step of minutes stays visible beside
    a bake of days, and what lies ahead takes at most two fifths of the width; the ticks say the real times.
    """
    if not asked:
        return None
    frame = ChartFrame(width, height, 12, 28)
    x, y = time_axis((*asked, *read), ahead, end, width), frame.y
    body = steps_path(read, end, x, y)
    future = ""
    if ahead and read:
        future = steps_path([Moment(end, read[-1].weight), *ahead[:-1]], ahead[-1].at, x, y)
    turns = [min(m.at for m in (*asked, *read)), *(m.at for m in (*read, *ahead)), *([] if live else [end])]
    steps = "; ".join(f"{round(m.weight * 100, 2):g} %" for m in read) or "nothing yet"
    return Timeline(
        frame,
        steps_path(asked, end, x, y),
        body,
        f"{body} V{frame.bottom} H{x(read[0].at):.1f} Z" if read else "",
        future,
        round(x(end), 1) if live else None,
        _time_ticks(turns, x, frame),
        tuple(Tick(y(v), f"{v * 100:g} %") for v in (0.0, 0.5, 1.0)),
        tuple(_mark(o, x, y) for o in observed if o.calls),
        f"weight of the canary over time; read back: {steps}",
    )


def time_axis(moments: Sequence[Moment], ahead: Sequence[Moment], end: datetime, width: int) -> TimeScale:
    """A time's place in a picture of this width; charts of the same moments stand under each other."""
    turns = sorted({end, *(m.at for m in (*moments, *ahead))})
    places = _places(turns, end, LEFT, width - RIGHT)
    return lambda at: _between(at, turns, places)


def _places(turns: Sequence[datetime], end: datetime, left: float, right: float) -> list[float]:
    """The place of each of these times on the axis."""
    spans = [max((b - a).total_seconds(), 0.0) ** SHORTENED for a, b in pairwise(turns)]
    behind = sum(span for span, b in zip(spans, turns[1:], strict=True) if b <= end)
    ahead = sum(spans) - behind
    if behind and ahead > behind * AHEAD_MOST / (1 - AHEAD_MOST):
        squeeze = behind * AHEAD_MOST / (1 - AHEAD_MOST) / ahead
        spans = [s if b <= end else s * squeeze for s, b in zip(spans, turns[1:], strict=True)]
    total = sum(spans)
    if not total:
        return [left + (right - left) * i / max(1, len(turns) - 1) for i in range(len(turns))]
    found, at = [left], float(left)
    for span in spans:
        at += (right - left) * span / total
        found.append(at)
    return found


def _between(at: datetime, turns: Sequence[datetime], places: Sequence[float]) -> float:
    if at <= turns[0]:
        return places[0]
    for (a, b), (p, q) in zip(pairwise(turns), pairwise(places), strict=True):
        if at <= b:
            whole = (b - a).total_seconds()
            return p + (q - p) * ((at - a).total_seconds() / whole if whole else 1.0)
    return places[-1]


def steps_path(moments: Sequence[Moment], end: datetime, x: TimeScale, y: _Level) -> str:
    """A path that stays at one weight until the next moment."""
    if not moments:
        return ""
    parts = [f"M{x(moments[0].at):.1f} {y(moments[0].weight)}"]
    parts += [f"H{x(m.at):.1f} V{y(m.weight)}" for m in moments[1:]]
    return " ".join([*parts, f"H{x(max(end, moments[-1].at)):.1f}"])


def _mark(o: Observed, x: TimeScale, y: _Level) -> ObservedMark:
    low, high = wilson(o.share, o.calls)
    begin, end = round(x(o.begin), 1), round(x(o.end), 1)
    text = f"observed {o.share * 100:.1f} % of {o.calls:,} calls"
    return ObservedMark(begin, end, round((begin + end) / 2, 1), y(o.share), y(low), y(high), text)


def _time_ticks(moments: Sequence[datetime], x: TimeScale, frame: ChartFrame) -> tuple[Tick, ...]:
    """Ticks at these times, as many as fit without touching: with seconds for minutes, with the day for days."""
    found: list[Tick] = []
    length = (max(moments) - min(moments)).total_seconds()
    style = "seconds" if length < 900 else "minutes" if length < 20 * 3600 else "days"
    form = {"seconds": "%H:%M:%S", "minutes": "%H:%M", "days": "%a %H:%M"}[style]
    free = -math.inf  # where the text before ends
    for at in sorted(set(moments)):
        place, text = round(x(at), 1), at.strftime(form)
        size = LETTER * len(text)
        anchor = "start" if place - size / 2 < frame.left else "end" if place + size / 2 > frame.right else "middle"
        begin = place - {"start": 0.0, "middle": size / 2, "end": size}[anchor]
        if begin >= free:
            found.append(Tick(place, text, at, anchor, style))
            free = begin + size + GAP
    return tuple(found)
