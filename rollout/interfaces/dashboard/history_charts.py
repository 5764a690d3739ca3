"""The charts over time: weights asked, read back and observed; calls of each version; rates of each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollout.domain.gates.observations import position_index, share
from rollout.domain.gates.tally import Cell
from rollout.domain.gates.verdict import Verdict
from rollout.domain.lifecycle.commands import parse_position
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.splits import splits
from rollout.interfaces.dashboard import call_charts, charts
from rollout.interfaces.dashboard.page_state import HistoryLine
from rollout.interfaces.dashboard.weight_history import WeightPeriod, weight_history
from rollout.interfaces.views.value_text import metric

MOST_RATES = 3


@dataclass(frozen=True, slots=True)
class RateChart:
    """The rates of one outcome of one arm."""

    name: str
    panel: call_charts.Panel


@dataclass(frozen=True, slots=True)
class HistoryCharts:
    """Every chart at one width; the newest verdict has what the calls and rates are drawn from."""

    weights: charts.Timeline
    calls: call_charts.Panel | None
    rates: tuple[RateChart, ...]


def history(r: Rollout, lines: Sequence[HistoryLine], now: datetime, width: int) -> HistoryCharts | None:
    """The charts of a rollout; None before anything was asked."""
    weights = weight_history(r.plan, lines, now)
    end = weights.end if r.phase.is_final else now
    coming = ahead(r, now)
    high = width > 500
    made = charts.timeline(
        weights.asked,
        weights.read_back,
        observed(r, weights.periods, end),
        coming,
        end,
        width=width,
        height=230 if high else 200,
        live=not r.phase.is_final,
    )
    if made is None:
        return None
    counted = [
        (name, series, counts)
        for name, verdict in ({} if r.verdict is None else r.verdict.arms).items()
        for series in _drawn(verdict)
        if (counts := _counted(r, name, verdict, series, weights.periods, end))
    ]
    if not counted:
        return HistoryCharts(made, None, ())
    x = charts.time_axis((*weights.asked, *weights.read_back), coming, end, width)
    floor = call_charts.rate_floor([counts for _, _, counts in counted])
    several = len({name for name, _, _ in counted}) > 1
    rates = tuple(
        RateChart(
            f"{name}: {metric(series)}" if several else metric(series),
            call_charts.rates_panel(counts, floor, x, width, 130 if high else 110),
        )
        for name, series, counts in counted
        if any(any(c.judged) for c in counts)
    )
    calls = call_charts.calls_panel(_together(counted), weights.read_back, end, x, width, 130 if high else 110)
    return HistoryCharts(made, calls, rates)


def _drawn(verdict: Verdict) -> list[str]:
    """The outcomes whose rates decide about promotion."""
    config = verdict.evidence.config
    return [s for m in config.critical for s in m.series][:MOST_RATES]


def _counted(
    r: Rollout, arm: str, verdict: Verdict, series: str, stood: Sequence[WeightPeriod], end: datetime
) -> list[call_charts.Counted]:
    found = []
    for period in stood:
        days: dict[str, list[Cell]] = {}
        for cell in _cells(r, arm, verdict, period):
            days.setdefault(cell.day, []).append(cell)
        for day, cells in days.items():
            midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
            begin = max(period.begin, midnight)
            until = min(period.end, end, midnight + timedelta(days=1))
            bad, fine, base_bad, base_fine = (sum(c.counts[series][i] for c in cells) for i in range(4))
            started = sum(c.started[0] for c in cells), sum(c.started[1] for c in cells)
            if begin < until:
                judged = bad + fine, base_bad + base_fine
                found.append(call_charts.Counted(begin, until, started, (fine, base_fine), judged))
    return found


def _cells(r: Rollout, arm: str, verdict: Verdict, period: WeightPeriod) -> list[Cell]:
    """The cells of one position; those at other weights than its own are other waves'."""
    position = parse_position(period.position)
    weights = r.plan.weights(position.step) if period.by_hand is None else period.by_hand.weights
    place, wanted = position_index(r.plan, position, period.by_hand), share(weights, arm)
    if period.retreated is not None:
        place, wanted = -place, min(wanted, period.retreated / splits.TOTAL)
    return [c for c in verdict.evidence.tally.cells if c.position == place and abs(c.weight - wanted) < 1e-9]


def _together(counted: Sequence[tuple[str, str, list[call_charts.Counted]]]) -> list[call_charts.Counted]:
    """The calls of all arms by period: the canary's of every arm, and the baseline's once."""
    first = {name: counts for name, _, counts in reversed(counted)}
    found: dict[tuple[datetime, datetime], list[int]] = {}
    for counts in first.values():
        for c in counts:
            sums = found.setdefault((c.begin, c.end), [0, c.started[1]])
            sums[0] += c.started[0]
    return [call_charts.Counted(*at, (n[0], n[1]), (0, 0), (0, 0)) for at, n in sorted(found.items())]


def observed(r: Rollout, stood: Sequence[WeightPeriod], now: datetime) -> list[charts.Observed]:
    """The share of calls that reached the canary (all variants together) at each position."""
    verdicts = {} if r.verdict is None else r.verdict.arms
    found = []
    for period in stood:
        canary = baseline = 0
        for i, (name, kept) in enumerate(verdicts.items()):
            for cell in _cells(r, name, kept, period):
                canary += cell.started[0]
                baseline += cell.started[1] if i == 0 else 0
        if canary + baseline:
            part = canary / (canary + baseline)
            found.append(charts.Observed(period.begin, min(period.end, now), part, canary + baseline))
    return found


def ahead(r: Rollout, now: datetime) -> list[charts.Moment]:
    """The earliest moments of the next steps, by their holds alone; the last moment is the end.

    Nothing for a plan that retreats: its timetable says more than a staircase of holds could.
    """
    if r.phase is not Phase.PROGRESSING or r.confirmed_at is None or r.waves > 1 or r.plan.retreat is not None:
        return []
    at = max(now, r.decides_at or r.confirmed_at + _lasts(r, r.position.step))
    found = []
    for step in range(r.position.step + 1, r.plan.last_step + 1):
        found.append(charts.Moment(at, sum(r.plan.weights(step).values()) / splits.TOTAL))
        at += _lasts(r, step)
    last = found[-1].weight if found else sum(r.weights_at(r.step).values()) / splits.TOTAL
    return [*found, charts.Moment(at, last)]


def _lasts(r: Rollout, step: int) -> timedelta:
    """The shortest duration of a step: its hold, or in the last step of an A/B test until the plan decides it."""
    hold, decide = r.plan.hold(step).duration, r.plan.decide
    if decide is None or step != r.plan.last_step or r.shipped is not None:
        return hold
    return max(hold, decide.after)
