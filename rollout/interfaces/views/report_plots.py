"""Geometry of the report's two plots: rates over time and evidence over calls. Numbers in, coordinates out.

Units are those of each plot's viewBox. Nothing is escaped or drawn here; `templates/report_body.html` does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollout.interfaces.views.report import BASELINE, EvidenceCurve, Report
from rollout.interfaces.views.value_text import metric, share

WIDE, NARROW = 720, 350
HEIGHT = 290
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 24, 52  # room for the labels of the axes
LETTER = 6.8  # how wide a character of an axis is at most
TONES = 5  # the style sheet knows so many versions apart; the next one begins again
LOWEST = -2  # the power of ten of an e-value below which less says nothing more
_SPANS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400)
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)  # ticks of days and weeks are counted from here


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A place on an axis and what stands there."""

    place: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class PlotLine:
    """One curve: `path`, and `band` around it where it has an interval; `tone` names its look in the style sheet."""

    name: str
    tone: str
    path: str
    band: str = ""


@dataclass(frozen=True, slots=True)
class PlotMark:
    """A dashed line with words: an e-value that decides (`place` is a height), or a moment (`place` from the left)."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot at one width, with titles of its axes and one sentence that says the same."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_title: str
    y_title: str
    x_ticks: tuple[AxisTick, ...]
    y_ticks: tuple[AxisTick, ...]
    lines: tuple[PlotLine, ...]
    limits: tuple[PlotMark, ...]
    moments: tuple[PlotMark, ...]
    label: str


def rates(report: Report, width: int) -> Plot | None:
    """The share of good calls of each version so far, with its 95 % interval, over time. None for less than two looks."""
    curves = {name: curve for name, curve in report.rates.items() if len(curve) > 1}
    if not curves:
        return None
    times = [p.at for curve in curves.values() for p in curve]
    first, last = min(times), max(times)
    low, high = _reach([p.rate.good_interval or (0.0, 1.0) for c in curves.values() for p in c[len(c) // 3 :]])
    right, bottom = width - RIGHT, HEIGHT - BOTTOM
    length = (last - first).total_seconds() or 1.0

    def x(at: datetime) -> float:
        return round(LEFT + (right - LEFT) * (at - first).total_seconds() / length, 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - TOP) * (min(high, max(low, value)) - low) / (high - low), 1)

    tones = {
        v.name: BASELINE if v.name == BASELINE else f"v{(i - 1) % TONES + 1}" for i, v in enumerate(report.versions)
    }
    lines = []
    for name, curve in curves.items():
        found = [(x(p.at), p.rate.good or 0.0, p.rate.good_interval or (0.0, 1.0)) for p in curve]
        upper = [f"{at} {y(interval[1])}" for at, _, interval in found]
        lower = [f"{at} {y(interval[0])}" for at, _, interval in reversed(found)]
        path = _path((at, y(rate)) for at, rate, _ in found)
        lines.append(PlotLine(name, tones.get(name, "v1"), path, f"M{' L'.join(upper + lower)} Z"))
    said = "; ".join(f"{name} {share(curve[-1].rate.good)}" for name, curve in curves.items())
    unit = _unit(high - low)
    marks = [low + unit * i for i in range(round((high - low) / unit) + 1)]
    return Plot(
        width,
        HEIGHT,
        LEFT,
        right,
        TOP,
        bottom,
        "Time (UTC)",
        f"Good calls so far in {metric(report.metric)} (%)",
        _time_ticks(first, last, x, right),
        tuple(AxisTick(y(v), f"{v * 100:g}") for v in marks),
        tuple(lines),
        (),
        _steps(report, first, last, x, float(right)),
        f"Share of good calls over time; at the end {said}",
    )


def evidence(curve: EvidenceCurve, width: int) -> Plot | None:
    """Evidence of harm and proof over the calls of both sides, on a logarithmic scale. None for less than two looks
    or no calls."""
    points = curve.points
    most = max((p.calls for p in points), default=0)
    if len(points) < 2 or not most:
        return None
    right, bottom = width - RIGHT, HEIGHT - BOTTOM
    values = [p.harm for p in points] + [p.proof for p in points if p.proof is not None]
    low = max(LOWEST, math.floor(_log(min(values))))
    high = math.ceil(_log(max(curve.rolls_back_at, curve.proven_at))) + 1  # more evidence than that changes nothing
    beyond = _log(max(values)) > high

    def x(calls: float) -> float:
        return round(LEFT + (right - LEFT) * calls / most, 1)

    def y(e: float) -> float:
        return round(bottom - (bottom - TOP) * (min(high, max(low, _log(e))) - low) / (high - low), 1)

    lines = [PlotLine("evidence of harm", "harm", _path((x(p.calls), y(p.harm)) for p in points))]
    proofs = [(x(p.calls), y(p.proof)) for p in points if p.proof is not None]
    if proofs:
        lines.append(PlotLine("proof that it is not worse", "proof", _path(proofs)))
    limits = [PlotMark(y(curve.rolls_back_at), f"harm decides at {curve.rolls_back_at:g}")]
    if proofs and curve.proven_at == curve.rolls_back_at:
        limits = [PlotMark(y(curve.proven_at), f"{curve.proven_at:g} decides, either way")]
    elif proofs:
        limits.append(PlotMark(y(curve.proven_at), f"proof decides at {curve.proven_at:g}"))
    last = points[-1]
    proof = "" if last.proof is None else f", proof that it is not worse {last.proof:.2g}"
    return Plot(
        width,
        HEIGHT,
        LEFT,
        right,
        TOP,
        bottom,
        "Calls compared, of both versions",
        "Evidence (e-value, logarithmic)",
        _count_ticks(most, x),
        tuple(
            AxisTick(y(10.0**k), f"{10.0**k:,.10g}" + (" +" if beyond and k == high else ""))
            for k in range(low, high + 1)
        ),
        tuple(lines),
        tuple(limits),
        (),
        f"{curve.version}: after {last.calls:,} calls, evidence of harm {last.harm:.2g}{proof}",
    )


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in points)


def _log(e: float) -> float:
    return math.log10(min(1e9, max(1e-9, e)))


def _unit(reach: float) -> float:
    """The distance of the marks of a rate's axis."""
    return 0.2 if reach > 0.501 else 0.1 if reach > 0.201 else 0.05


def _reach(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """An axis that holds these intervals, from mark to mark, at least 20 points wide. The first looks, whose intervals
    are as wide as the axis could be, do not set it."""
    low, high = min(i[0] for i in intervals), max(i[1] for i in intervals)
    unit = _unit(max(0.2, high - low))
    low, high = math.floor(low / unit + 1e-9) * unit, math.ceil(high / unit - 1e-9) * unit
    while high - low < 0.2 - 1e-9:
        low, high = max(0.0, low - unit), min(1.0, high + unit)
    return max(0.0, low), min(1.0, high)


def _steps(
    report: Report, first: datetime, last: datetime, x: Callable[[datetime], float], right: float
) -> tuple[PlotMark, ...]:
    """The moments at which another weight became live, as many as fit beside each other."""
    found: list[PlotMark] = []
    free = right  # the later one stays where two are too near
    for change in reversed(report.weights):
        place, text = x(max(change.at, first)), share(change.weight)
        if change.at <= last and place + LETTER * (len(text) + 1) <= free:
            found.append(PlotMark(place, text))
            free = place
    return tuple(reversed(found))


def _count_ticks(most: int, x: Callable[[float], float]) -> tuple[AxisTick, ...]:
    base = 10.0 ** math.floor(math.log10(most))
    unit = next((base * part for part in (0.1, 0.2, 0.5, 1, 2, 5) if most / (base * part) <= 4), base * 5)
    unit = max(1.0, unit)
    return tuple(AxisTick(x(unit * i), f"{unit * i:,.0f}") for i in range(int(most / unit) + 1))


def _time_ticks(first: datetime, last: datetime, x: Callable[[datetime], float], right: float) -> tuple[AxisTick, ...]:
    """Round times in UTC, as many as fit: hours where days do not tell them apart."""
    length = (last - first).total_seconds()
    fits = max(2.0, (right - LEFT) / (LETTER * 14))
    unit = next((s for s in _SPANS if length / s <= fits), _SPANS[-1] * math.ceil(length / _SPANS[-1] / fits))
    at = _MONDAY + timedelta(seconds=math.ceil((first - _MONDAY).total_seconds() / unit) * unit)
    found = []
    while at <= last:
        text = f"{at.day} {at:%b}" if unit >= 86400 else f"{at.day} {at:%b %H:%M}"
        found.append(AxisTick(x(at), text, "end" if x(at) + LETTER * len(text) / 2 > right + RIGHT else "middle"))
        at += timedelta(seconds=unit)
    return tuple(found) or (AxisTick(x(first), f"{first.day} {first:%b %H:%M}"),)
