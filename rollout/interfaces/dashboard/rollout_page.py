"""One rollout: where it stands, its staircase over time, its gates, its numbers and its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.gates import forecast_wording
from rollout.domain.gates.observations import index
from rollout.domain.gates.observations import share as share_of
from rollout.domain.gates.summary import ArmSummary, MetricSummary, summarise
from rollout.domain.lifecycle.commands import KEEP_BASELINE, parse_position
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout, Target, TargetState
from rollout.domain.splits import splits
from rollout.engine.gate_check import config_of
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.dashboard import charts, confirmations, formatting
from rollout.interfaces.dashboard.overview_page import needs_answer, row
from rollout.interfaces.dashboard.page_state import Line, PageState
from rollout.interfaces.dashboard.weight_history import WeightPeriod, weight_history
from rollout.interfaces.views import agent_tests, rollout

TARGETS_SHOWN = 50
LINES_SHOWN = 40
_TROUBLED = (TargetState.DRIFTED, TargetState.REJECTED, TargetState.MISSING, TargetState.TOUCHED, TargetState.FOREIGN)


def page(page_state: PageState, caller: Caller, text: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the rollout's page shows. `query`: state, number (filters of the targets), tpage, before."""
    r = page_state.service.find(caller, text)
    now = page_state.service.app.store.now()
    lines = page_state.history(r.id)
    return {
        "r": r,
        "row": row(r, len(r.targets)),
        "now": now,
        "timetable": page_state.service.direct.timetable(r),
        "unreadable": page_state.service.app.store.calls.unreadable(r.id) if r.phase.is_live else None,
        "tests": agent_tests.lines(rollout.tests(r)),
        "difference": "\n".join(next((line.differences for line in reversed(lines) if line.differences), ())),
        "plan": rollout.plan_document(r.plan),
        "steps": rollout.steps(r.plan),
        "charts": [timeline(r, lines, now, width) for width in (1100, 350)],
        "arms": arms(r, now),
        "gated": config_of(r.plan) is not None,
        "buttons": [b for b in confirmations.buttons(r) if caller.may(b.right)],
        "may_halt": caller.may(Right.HALT),
        "may_operate": caller.may(Right.OPERATE),
        "needs_answer": needs_answer(r),
        "held": formatting.held(r),
        "took": _took(r),
        "rollback_until": r.updated_at + KEEP_BASELINE,
        "targets": targets(r, query),
        "journal": journal(lines, query.get("before", "")),
        "last_seq": lines[-1].seq if lines else 0,
        "trouble": "" if r.phase.is_final else page_state.trouble(),
    }


def _took(r: Rollout) -> float | None:
    """Seconds from the order of the rollback to the read-back of its last number."""
    if r.restored_at is None or r.rollback_at is None:
        return None
    return (r.restored_at - r.rollback_at).total_seconds()


# ------------------------------------------------------------------ the staircase over time


def timeline(r: Rollout, lines: Sequence[Line], now: datetime, width: int) -> charts.Timeline | None:
    """The chart at one width: what was asked, read back and observed, and what would come next."""
    asked, read, stood, end = weight_history(r.plan, lines, now)
    if not r.phase.is_final:
        end = now
    seen = observed(r, stood, end)
    return charts.timeline(
        asked,
        read,
        seen,
        ahead(r, now),
        end,
        width=width,
        height=250 if width > 500 else 210,
        live=not r.phase.is_final,
    )


def observed(r: Rollout, stood: Sequence[WeightPeriod], now: datetime) -> list[charts.Observed]:
    """The share of calls that reached the canary (all variants together) while each position stood.

    From the cells of the newest verdict; those at other weights than the position's are other waves'.
    """
    verdicts = {} if r.verdict is None else r.verdict.arms
    found = []
    for text, retreated, begin, end, hand in stood:
        position = parse_position(text)
        weights = r.plan.weights(position.step) if hand is None else hand.weights
        canary = baseline = 0
        for i, (name, kept) in enumerate(verdicts.items()):
            share, place = share_of(weights, name), index(r.plan, position, hand)
            if retreated is not None:
                share, place = min(share, retreated / splits.TOTAL), -place
            for cell in kept.evidence.tally.cells:
                if cell.position == place and abs(cell.weight - share) < 1e-9:
                    canary += cell.started[0]
                    baseline += cell.started[1] if i == 0 else 0
        if canary + baseline:
            share = canary / (canary + baseline)
            found.append(charts.Observed(begin, min(end, now), share, canary + baseline))
    return found


def ahead(r: Rollout, now: datetime) -> list[charts.Moment]:
    """When the next steps could come at the earliest, by their holds alone; the last moment is the end.

    Nothing for a plan that retreats: its timetable says more than a staircase of holds could.
    """
    if r.phase is not Phase.PROGRESSING or r.confirmed_at is None or r.waves > 1 or r.plan.retreat is not None:
        return []
    at = max(now, r.confirmed_at + timedelta(seconds=r.plan.hold(r.position.step).seconds))
    found = []
    for step in range(r.position.step + 1, r.plan.last_step + 1):
        found.append(charts.Moment(at, sum(r.plan.weights(step).values()) / splits.TOTAL))
        at += timedelta(seconds=r.plan.hold(step).seconds)
    last = found[-1].weight if found else sum(r.weights_at(r.step).values()) / splits.TOTAL
    return [*found, charts.Moment(at, last)]


# ------------------------------------------------------------------ gates


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric in the words people use: shares of good calls, more is better."""

    of: MetricSummary
    difference: float | None
    interval: tuple[float, float]
    whisker: charts.Whisker


@dataclass(frozen=True, slots=True)
class ArmGates:
    """The gates of one arm as they are drawn: the summary, its rows on one axis, and the forecast in words."""

    of: ArmSummary
    rows: Sequence[MetricRow]
    reach: float
    forecast: str


def arms(r: Rollout, now: datetime) -> list[ArmGates]:
    """Each canary's gates: counts, interval and meters per metric, and what is still missing."""
    found = summarise(r)
    return [] if found is None else [_arm(a, now) for a in found.arms]


def _arm(a: ArmSummary, now: datetime) -> ArmGates:
    reach = charts.reach_of(a.metrics)
    expected = forecast_wording.words(a.forecast, a.calls_per_day, now) if a.decides else ""
    return ArmGates(a, [_of_good_calls(m, reach) for m in a.metrics], reach, expected)


def _of_good_calls(m: MetricSummary, reach: float) -> MetricRow:
    low, high = m.interval or (-1.0, 1.0)
    difference = None if m.difference is None else 0.0 - m.difference
    interval = (0.0 - high, 0.0 - low)
    margin = None if m.margin is None else -m.margin
    return MetricRow(m, difference, interval, charts.whisker(interval, difference, margin, reach))


# ------------------------------------------------------------------ numbers and journal


def targets(r: Rollout, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the rollout's numbers, those in trouble first."""
    state, text = query.get("state", ""), query.get("number", "").strip()
    wanted = [t for t in r.targets if (not state or str(t.state) == state) and (not text or text in t.number)]
    wanted.sort(key=lambda t: (t.state not in _TROUBLED, t.ord))
    pages = max(1, -(-len(wanted) // TARGETS_SHOWN))
    number = min(pages, max(1, int(query["tpage"]) if query.get("tpage", "").isdecimal() else 1))
    counts: dict[str, int] = {}
    for t in r.targets:
        counts[str(t.state)] = counts.get(str(t.state), 0) + 1
    return {
        "rows": [_target(r, t) for t in wanted[(number - 1) * TARGETS_SHOWN : number * TARGETS_SHOWN]],
        "total": len(r.targets),
        "counts": counts,
        "state": state,
        "number": text,
        "page": number,
        "pages": pages,
    }


def _target(r: Rollout, t: Target) -> dict[str, Any]:
    shown = rollout.target(r, t)
    live = shown["live"]
    same = live is not None and all(
        splits.same(live.get(field), entries or []) for field, entries in shown["confirmed"].items()
    )
    return {**shown, "same": same, "live_at": t.live_at}


def journal(lines: Sequence[Line], before: str) -> dict[str, Any]:
    """The newest lines, newest first; `before` a sequence number shows those older than it."""
    end = len(lines)
    before = before if before.isdecimal() else ""
    if before:
        end = next((i for i, line in enumerate(lines) if line.seq >= int(before)), end)
    part = lines[max(0, end - LINES_SHOWN) : end]
    return {
        "lines": list(reversed(part)),
        "older": part[0].seq if part and part[0].seq > lines[0].seq else None,
        "newer": end < len(lines),
        "before": before,
        "total": len(lines),
    }
