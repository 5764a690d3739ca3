"""From calls to counts: what one call says about each metric, and which calls may be counted yet.

Missing data is missing: it is never read as good or bad. The one exception is a call that started and never
ended, which counts against the arm that served it. Counts are always made from all calls again, so
results that arrive late, twice or corrected need no bookkeeping. Facts about Retell's fields: its list-calls schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rollout.domain.calls import CallRecord
from rollout.domain.gates.metrics import Known, MetricRule, limits
from rollout.domain.gates.tally import Arms, Cell

# Disconnection reasons that speak of the agent or its engine. A plan may name its own list.
HARD_REASONS = frozenset(
    {
        "error_llm_websocket_open",
        "error_llm_websocket_lost_connection",
        "error_llm_websocket_runtime",
        "error_llm_websocket_corrupt_payload",
        "error_no_audio_received",
        "error_asr",
        "error_retell",
        "error_unknown",
    }
)
# The call never reached the agent, or the account stopped it: such a call says nothing about a version.
NOT_THE_AGENT = frozenset(
    {
        "dial_busy",
        "dial_failed",
        "dial_no_answer",
        "invalid_destination",
        "telephony_provider_permission_denied",
        "telephony_provider_unavailable",
        "sip_routing_error",
        "marked_as_spam",
        "network_blocked",
        "user_declined",
        "concurrency_limit_reached",
        "no_concurrency_fallback",
        "no_valid_payment",
        "credit_exhausted",
        "budget_reached",
        "scam_detected",
        "error_user_not_joined",
        "registered_call_timeout",
    }
)


@dataclass(frozen=True, slots=True)
class CallRules:
    """The rules by which calls of one rollout (or of one variant) are read.

    canary, baseline: (agent_id, agent_version). limits: by series, the quantile of the baseline's own earlier calls.
    longest_call: a call without an end after this long is closed. longest_wait: how long after its start an
    ended call may still be waiting for its analysis.
    """

    canary: tuple[str, int]
    baseline: frozenset[tuple[str, int]]
    metrics: tuple[MetricRule, ...]
    limits: Mapping[str, float] = field(default_factory=dict)
    hard_reasons: frozenset[str] = HARD_REASONS
    longest_call: timedelta = timedelta(minutes=60)
    longest_wait: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class WeightSpan:
    """A time in which one confirmed weight was live: from its read-back until the next order.

    `weight` is the canary's share among calls of canary and baseline (see observations.share), `position` counts
    the rollout's positions in order (with a fraction: weights that a person set there; negative: while it had retreated
    from that one at closing time), `number` limits the span to one phone number.
    """

    start: datetime
    end: datetime | None
    weight: float
    position: float
    number: str | None = None


@dataclass(frozen=True, slots=True)
class CallTable:
    """Cells in order of opening, and per series the calls that are still `open`. Calls that started while a weight was
    being written, and those that other agents served, are in neither."""

    cells: tuple[Cell, ...]
    open: Mapping[str, int]


def hard_reasons(named: Collection[str] | None) -> frozenset[str]:
    """The disconnection reasons that a plan names, or the usual ones."""
    return HARD_REASONS if named is None else frozenset(named)


LEAST_FIGURES = 30


def quantile_of(figures: Iterable[float], quantile: float) -> float | None:
    """Return this quantile of the baseline's own earlier calls; None with fewer than LEAST_FIGURES of them."""
    values = sorted(figures)
    return None if len(values) < LEAST_FIGURES else values[int(quantile * (len(values) - 1))]


DETAILS_WAIT = timedelta(minutes=10)  # from the end of a call: then it is not read any more, and is unknown
LEAST_WAIT, USUAL_WAIT, MOST_WAIT = timedelta(minutes=10), timedelta(hours=2), timedelta(hours=24)
LEAST_DELAYS = 50  # analyses whose delay was seen, before the usual wait gives way to what was seen


def longest_wait(delays: Sequence[float]) -> timedelta:
    """The longest wait for the analysis of a call, from the delays seen (in seconds from the start of a call to its
    analysis): their 99.5 % quantile, at least ten minutes and at most a day; two hours while few were seen."""
    if len(delays) < LEAST_DELAYS:
        return USUAL_WAIT
    seen = sorted(delays)[math.ceil(0.995 * len(delays)) - 1]
    return min(MOST_WAIT, max(LEAST_WAIT, timedelta(seconds=seen)))


def quarter(call: CallRecord) -> str:
    """The quarter of the UTC day in which a call started, such as "06-12"."""
    hour = 0 if call.started_at is None else call.started_at.astimezone(UTC).hour // 6 * 6
    return f"{hour:02}-{hour + 6:02}"


QUARTERS = ("00-06", "06-12", "12-18", "18-24")


def ended(call: CallRecord) -> bool:
    """True once a call can no longer change its outcome by lasting longer."""
    return call.ended_at is not None or call.status in ("ended", "error", "not_connected")


def outcomes(call: CallRecord, rules: CallRules) -> dict[str, bool | None]:
    """Per series: True for bad, False for fine, None for missing (not known yet, or never)."""
    out: dict[str, bool | None] = dict.fromkeys(name for m in rules.metrics for name in m.series)
    reason = call.disconnection_reason
    if not ended(call) or _silent(call, rules):
        return out
    # Without a reason (a chat has none), and for a reason newer than this list, Retell's own status decides.
    hard = reason in rules.hard_reasons or (call.status == "error" and reason is None)
    for metric in rules.metrics:
        if not metric.external:
            known = limits(metric, rules.limits)
            for series in metric.series:
                out[series] = metric.row.outcome(call, metric, hard, known.get(series))
    return out


def _silent(call: CallRecord, rules: CallRules) -> bool:
    """True if a call says nothing about a version: it never reached the agent."""
    reason = call.disconnection_reason
    return (call.status == "not_connected" or reason in NOT_THE_AGENT) and reason not in rules.hard_reasons


def settled(call: CallRecord, rules: CallRules, now: datetime) -> dict[str, bool | None]:
    """The outcomes that are final at `now`; a series that may still get its result is left out."""
    assert call.started_at is not None
    age = now - call.started_at
    found = outcomes(call, rules)
    if not ended(call):
        if age < rules.longest_call:
            return {}
        # It started and never came back: bad for success, unknown for the rest.
        return {name: True if name == "success" else None for name in found}
    awaited = set()
    if call.status != "not_connected" and call.disconnection_reason not in NOT_THE_AGENT:
        if not call.analyzed and age < rules.longest_wait:
            awaited.add(Known.ANALYSIS)
        if call.details is None and now - (call.ended_at or call.started_at) < DETAILS_WAIT:
            awaited.add(Known.DETAILS)
    open_ = {s for m in rules.metrics if not m.external and m.row.known in awaited for s in m.series}
    return {name: v for name, v in found.items() if v is not None or name not in open_}


def tabulate(
    calls: Iterable[CallRecord],
    spans: Sequence[WeightSpan],
    now: datetime,
    rules: CallRules,
    *,
    wave: int = 1,
    stratum: Callable[[CallRecord], str] | None = None,
) -> CallTable:
    """Counts per cell.

    A series counts only calls that started before the oldest call that still has no result: good results that arrive
    later than bad ones must not look like bad ones. Each series has a limit of its own, so that slow analysis does not
    delay what is known as soon as a call ends. `stratum` names the stratum of a call (None: there is only one).
    """
    placed = _placed(calls, spans, now, rules)
    series = [name for m in rules.metrics for name in m.series]
    critical = [name for m in rules.metrics if m.critical or m.sampled for name in m.series]
    limit = {
        name: min((start for start, _, _, final, _ in placed if name not in final), default=None) for name in series
    }
    drafts: dict[tuple[float, float, str], _Draft] = {}
    still_open = dict.fromkeys(series, 0)
    for start, arm, span, final, call in sorted(placed, key=lambda p: p[0]):
        key = (span.weight, span.position, start.astimezone(UTC).date().isoformat())
        cell = drafts.get(key)
        if cell is None:
            cell = drafts[key] = _Draft(series, critical)
        part = None if stratum is None else cell.strata.setdefault(stratum(call), {"": [0, 0]})
        cell.started[arm] += 1
        if part is not None:
            part[""][arm] += 1
        held = {name for name in series if (until := limit[name]) is not None and start >= until}
        cell.closed[arm] += not held
        for name in series:
            if name in held:
                still_open[name] += 1
            elif final[name] is not None:
                cell.counts[name][2 * arm + (0 if final[name] else 1)] += 1
                if part is not None:
                    part.setdefault(name, [0, 0])[arm] += 1
            elif name in cell.lost and not _silent(call, rules):
                cell.lost[name][arm] += 1
    cells = tuple(d.cell(w, position, day, wave) for (w, position, day), d in drafts.items())
    return CallTable(cells, still_open)


def _placed(
    calls: Iterable[CallRecord], spans: Sequence[WeightSpan], now: datetime, rules: CallRules
) -> list[tuple[datetime, int, WeightSpan, dict[str, bool | None], CallRecord]]:
    """Each call of the two arms once: its start, its arm (0: the canary), its span, its results, and the call."""
    placed = []
    for call in {c.call_id: c for c in calls}.values():
        who = (call.agent_id, call.agent_version)
        span = _span(call, spans)
        if span is not None and (who == rules.canary or who in rules.baseline):
            assert call.started_at is not None
            placed.append((call.started_at, 0 if who == rules.canary else 1, span, settled(call, rules, now), call))
    return placed


class _Draft:
    """A cell that is being counted."""

    def __init__(self, series: Sequence[str], critical: Sequence[str]) -> None:
        self.started, self.closed = [0, 0], [0, 0]
        self.counts = {name: [0, 0, 0, 0] for name in series}
        self.lost = {name: [0, 0] for name in critical}
        self.strata: dict[str, dict[str, list[int]]] = {}

    def cell(self, weight: float, position: float, day: str, wave: int) -> Cell:
        return Cell(
            weight,
            position,
            day,
            _pair(self.started),
            _pair(self.closed),
            {name: (n[0], n[1], n[2], n[3]) for name, n in self.counts.items()},
            {name: _pair(n) for name, n in self.lost.items()},
            {key: {name: _pair(n) for name, n in part.items()} for key, part in self.strata.items()},
            wave,
        )


def _pair(counts: Sequence[int]) -> Arms:
    return counts[0], counts[1]


def _span(call: CallRecord, spans: Sequence[WeightSpan]) -> WeightSpan | None:
    at = call.started_at
    if at is None:
        return None
    for span in spans:
        mine = span.number is None or span.number == call.number
        if mine and span.start <= at and (span.end is None or at < span.end):
            return span
    return None
