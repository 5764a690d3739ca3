"""One rollout: what moves and why not yet, its gates, its history in charts, its worst calls, numbers and journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from rollout.domain.calendar import wording
from rollout.domain.calls import CallRecord
from rollout.domain.errors import InputError
from rollout.domain.gates import forecast_wording
from rollout.domain.gates.counting import hard_reasons
from rollout.domain.gates.summary import ArmSummary, MetricSummary, summarise
from rollout.domain.lifecycle.state import Rollout, Target, TargetState
from rollout.domain.splits import splits
from rollout.engine.gate_check import config_of
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.dashboard import buttons, charts, evidence_charts, formatting, history_charts, rollout_sentences
from rollout.interfaces.dashboard.overview_page import needs_answer, row
from rollout.interfaces.dashboard.page_state import HistoryLine, PageState
from rollout.interfaces.dashboard.paging import page_of
from rollout.interfaces.dashboard.weight_history import weight_history
from rollout.interfaces.views import agent_tests, gates, rollout, value_text

TARGETS_SHOWN = 50
LINES_SHOWN = 40
WORST_SHOWN = 8
WRITES = frozenset({"intended", "settled"})  # kinds of entries that tell of single writes
RETELL_CALL = "https://dashboard.retellai.com/call-history?history="  # as its own list of calls links to one
_TROUBLED = (TargetState.DRIFTED, TargetState.REJECTED, TargetState.MISSING, TargetState.TOUCHED, TargetState.FOREIGN)


def page(page_state: PageState, caller: Caller, text: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the rollout's page shows. `query`: state, number (filters of the targets), tpage, before."""
    r = page_state.service.find(caller, text)
    now = page_state.service.app.store.now()
    lines, found = page_state.history(r.id), summarise(r)
    return {
        "r": r,
        "row": row(r, len(r.targets)),
        "now": now,
        "move": rollout_sentences.version_change(r),
        "place": rollout_sentences.step_text(r),
        "asked": rollout_sentences.canary_share(r),
        "seen": _seen_now(r, lines, now),
        "lead": rollout_sentences.wait_sentence(r, found, now),
        "ahead": ahead(page_state, r),
        "against": [] if found is None else gates.against_lines(found),
        "unreadable": page_state.service.app.store.calls.unreadable(r.id) if r.phase.is_live else None,
        "tests": agent_tests.lines(rollout.tests(r)),
        "difference": "\n".join(next((line.differences for line in reversed(lines) if line.differences), ())),
        "plan": rollout.plan_document(r.plan),
        "steps": rollout.steps(r.plan),
        "histories": [history_charts.history(r, lines, now, width) for width in (1100, 350)],
        "worst": worst(page_state, r),
        "arms": arms(r, now),
        "gated": config_of(r.plan) is not None,
        "buttons": [b for b in buttons.buttons(r) if caller.may(b.right)],
        "may_halt": caller.may(Right.HALT),
        "may_operate": caller.may(Right.OPERATE),
        "needs_answer": needs_answer(r),
        "held": formatting.held(r),
        "took": r.rollback_seconds,
        "rollback_until": r.updated_at + page_state.service.app.commands.baseline_kept,
        "targets": targets(r, query),
        "journal": journal(lines, query.get("before", "")),
        "last_seq": lines[-1].seq if lines else 0,
        "trouble": "" if r.phase.is_final else page_state.trouble(),
    }


def ahead(page_state: PageState, r: Rollout) -> str | Sequence[tuple[str, datetime]]:
    """The steps to come, each with its earliest moment; the timetable in words where a calendar has its own zone."""
    backend = page_state.service.backend
    try:
        rows = backend.timetable_rows(r)
    except InputError as error:
        return error.message
    found = [(wording.event_text(row), row.at) for row in rows if row.zone == "UTC" and row.at is not None]
    return found if len(found) == len(rows) else backend.timetable(r) or ""


def _seen_now(r: Rollout, lines: Sequence[HistoryLine], now: datetime) -> charts.Observed | None:
    """The share of calls that reached the canary since the current weight was read back."""
    if r.phase.is_final:
        return None
    stood = weight_history(r.plan, lines, now).periods
    current = [period for period in stood[-1:] if period.end == now]
    return next(iter(history_charts.observed(r, current, now)), None)


# ------------------------------------------------------------------ gates


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric in the words people use: shares of good calls, more is better."""

    of: MetricSummary
    name: str
    bar: evidence_charts.Balance | None  # None: there is nothing to compare
    stands: str
    difference: float | None
    interval: tuple[float, float]
    whisker: evidence_charts.Whisker


@dataclass(frozen=True, slots=True)
class ArmGates:
    """The gates of one arm as they are drawn: the summary, its rows on one axis, and the forecast in words."""

    of: ArmSummary
    rows: Sequence[MetricRow]
    reach: float
    forecast: str


def arms(r: Rollout, now: datetime) -> list[ArmGates]:
    """Each judged canary's gates: counts, interval and meters per metric, and what is still missing."""
    found = summarise(r)
    return [] if found is None else [_arm(a, now) for a in found.judged]


def _arm(a: ArmSummary, now: datetime) -> ArmGates:
    reach = evidence_charts.reach_of(a.metrics)
    expected = forecast_wording.words(a.forecast, a.calls_per_day, now) if a.decides else ""
    return ArmGates(a, [_of_good_calls(m, reach) for m in a.metrics], reach, expected)


def _of_good_calls(m: MetricSummary, reach: float) -> MetricRow:
    low, high = m.interval or (-1.0, 1.0)
    difference = None if m.difference is None else 0.0 - m.difference
    interval = (0.0 - high, 0.0 - low)
    margin = None if m.margin is None else -m.margin
    bar = None
    if m.difference is not None:
        bar = evidence_charts.balance(m.harm.part, None if m.proof is None else m.proof.part)
    whisker = evidence_charts.whisker(interval, difference, margin, reach)
    return MetricRow(m, value_text.metric(m.outcome), bar, _stands(m), difference, interval, whisker)


def _stands(m: MetricSummary) -> str:
    """A metric's place between harmful and safe, in words."""
    if m.difference is None:
        return "no calls to compare"
    proof = 0.0 if m.proof is None else m.proof.part
    if m.harm.part >= 1:
        return "harmful"
    if proof >= 1:
        return "safe"
    if m.harm.part > proof:
        return f"unknown, {formatting.whole_percent(m.harm.part)} of the way to harmful"
    return (
        "unknown, only watched" if m.proof is None else f"unknown, {formatting.whole_percent(proof)} of the way to safe"
    )


# ------------------------------------------------------------------ the worst calls


@dataclass(frozen=True, slots=True)
class WorstCall:
    """A call of the canary that went wrong, why it counts, and where Retell shows it."""

    of: CallRecord
    arm: str
    why: str
    seconds: float | None
    href: str


def worst(page_state: PageState, r: Rollout) -> list[WorstCall]:
    """The worst calls of the canary and its variants since the start, the worst first."""
    if r.started_at is None:
        return []
    arms_ = {ref.pair: name for name, ref in r.plan.arms.items()}
    hard = hard_reasons(r.plan.gates.hard_error_reasons)
    calls = page_state.service.app.store.calls.worst(
        [t.number for t in r.targets], list(arms_), r.started_at, hard, WORST_SHOWN
    )
    return [_worst(c, arms_[c.agent_id, c.agent_version], hard) for c in calls]


def _worst(c: CallRecord, arm: str, hard: Collection[str]) -> WorstCall:
    found = []
    if c.disconnection_reason in hard:
        found.append(f"ended with {c.disconnection_reason}")
    if c.successful is False:
        found.append("not successful")
    if c.sentiment == "Negative":
        found.append("caller was unhappy")
    length = None if c.started_at is None or c.ended_at is None else (c.ended_at - c.started_at).total_seconds()
    return WorstCall(c, arm, ", ".join(found), length, f"{RETELL_CALL}{quote(c.call_id, safe='')}")


# ------------------------------------------------------------------ numbers and journal


@dataclass(frozen=True, slots=True)
class TargetsPage:
    """A page of the rollout's numbers: those of one state ("": any) whose number contains a text.

    total: all numbers of the rollout; counts: how many of them are in each state.
    """

    rows: Sequence[TargetRow]
    total: int
    counts: Mapping[str, int]
    state: str
    number: str
    page: int
    pages: int


def targets(r: Rollout, query: Mapping[str, str]) -> TargetsPage:
    """A page of the rollout's numbers, those in trouble first."""
    state, text = query.get("state", ""), query.get("number", "").strip()
    wanted = [t for t in r.targets if (not state or str(t.state) == state) and (not text or text in t.number)]
    wanted.sort(key=lambda t: (t.state not in _TROUBLED, t.ord))
    part, number, pages = page_of(wanted, TARGETS_SHOWN, query.get("tpage", ""))
    counts: dict[str, int] = {}
    for t in r.targets:
        counts[str(t.state)] = counts.get(str(t.state), 0) + 1
    return TargetsPage([_target(t) for t in part], len(r.targets), counts, state, text, number, pages)


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A number of the rollout with its lists in words; `live` None: not read yet, `same`: it shows what we confirmed."""

    number: str
    wave: int
    state: TargetState
    live: str | None
    live_at: datetime | None
    same: bool
    confirmed: str
    baseline: str


def _target(t: Target) -> TargetRow:
    live = t.live or {}
    return TargetRow(
        number=t.number,
        wave=t.wave,
        state=t.state,
        live=None if t.live is None and t.live_at is None else formatting.lists_text(live),
        live_at=t.live_at,
        same=all(splits.same(live.get(field), entries or []) for field, entries in t.split.items()),
        confirmed=formatting.lists_text(t.split),
        baseline=formatting.lists_text(t.baseline),
    )


@dataclass(frozen=True, slots=True)
class FoldedJournal:
    """A page of journal lines, newest first, those about single writes folded.

    older: the sequence number to continue before, None: there are no older lines. newer: there are newer ones. before:
    as it was asked.
    """

    folds: Sequence[Fold]
    older: int | None
    newer: bool
    before: str
    total: int


def journal(lines: Sequence[HistoryLine], before: str) -> FoldedJournal:
    """A page of journal lines, newest first, with lines about single writes folded.

    `before`: only lines older than this sequence number.
    """
    end = len(lines)
    before = before[:16] if before.isdecimal() else ""
    if before:
        end = next((i for i, line in enumerate(lines) if line.seq >= int(before)), end)
    part = lines[max(0, end - LINES_SHOWN) : end]
    older = part[0].seq if part and part[0].seq > lines[0].seq else None
    return FoldedJournal(folded(list(reversed(part))), older, end < len(lines), before, len(lines))


@dataclass(frozen=True, slots=True)
class Fold:
    """Neighbouring journal lines; `writes`: they are about single writes, and stay folded until the reader opens them."""

    writes: bool
    lines: Sequence[HistoryLine]


def folded(lines: Sequence[HistoryLine]) -> list[Fold]:
    """The lines in their order, those about writes put together."""
    return [Fold(writes, list(part)) for writes, part in groupby(lines, key=lambda line: line.kind in WRITES)]
