"""From calls to counts: what one call says about each metric, and which calls may be counted yet.

Missing data is missing: it is never read as good or bad. The one exception is a call that started and never
ended, which counts against the arm that served it. Counts are always made anew from all calls, so results
that arrive late, twice or corrected need no bookkeeping. Facts about Retell's fields: its list-calls schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rollout.domain.profiles import Metric
from rollout.domain.records import CallRecord

Counts = tuple[int, int, int, int]  # canary bad, canary fine, baseline bad, baseline fine

# Disconnection reasons that speak of the agent or its engine. A plan may name its own list.
HARD_REASONS = frozenset({
    "error_llm_websocket_open", "error_llm_websocket_lost_connection", "error_llm_websocket_runtime",
    "error_llm_websocket_corrupt_payload", "error_no_audio_received", "error_asr", "error_retell",
    "error_unknown",
})  # fmt: skip
# The call never reached the agent, or the account stopped it: such a call says nothing about a version.
NOT_THE_AGENT = frozenset({
    "dial_busy", "dial_failed", "dial_no_answer", "invalid_destination",
    "telephony_provider_permission_denied", "telephony_provider_unavailable", "sip_routing_error",
    "marked_as_spam", "network_blocked", "user_declined",
    "concurrency_limit_reached", "no_concurrency_fallback", "no_valid_payment", "credit_exhausted",
    "budget_reached", "scam_detected", "error_user_not_joined", "registered_call_timeout",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallRules:
    """How calls of one rollout (or of one variant) are read.

    canary, baseline: (agent_id, agent_version). slow_ms: thresholds (p50, p90) from `latency_thresholds`.
    longest_call: a call without an end after this long is closed. longest_wait: how long after its start an
    ended call may still be waiting for its analysis.
    """

    canary: tuple[str, int]
    baseline: frozenset[tuple[str, int]]
    metrics: tuple[Metric, ...]
    slow_ms: tuple[float, float] | None = None
    hard_reasons: frozenset[str] = HARD_REASONS
    longest_call: timedelta = timedelta(minutes=60)
    longest_wait: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which one confirmed weight was in force: from its read-back until the next order.

    `weight` is the canary's share among calls of canary and baseline (see `variant_share`), `position` counts
    the rollout's positions in order (negative: while it had retreated from that one at closing time), `number`
    limits the span to one phone number.
    """

    start: datetime
    end: datetime | None
    weight: float
    position: int
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of one position on one UTC day at one weight.

    started: (canary, baseline) calls that started, judged or not; closed: those that no metric waits for any
    more; counts: per series the four numbers.
    """

    weight: float
    position: int
    day: str
    started: tuple[int, int]
    closed: tuple[int, int]
    counts: Mapping[str, Counts]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells in order of opening, and what was not counted: `open` per series, calls started while a weight
    was being written (`between`), and calls that other agents served (`others`)."""

    cells: tuple[Cell, ...]
    open: Mapping[str, int]
    between: int
    others: int


def variant_share(weight: float, baseline_weight: float) -> float:
    """The share of one variant among the calls of that variant and the baseline, 0..1."""
    return weight / (weight + baseline_weight)


def latency_thresholds(latencies_ms: Iterable[float], least: int = 30) -> tuple[float, float] | None:
    """(p50, p90) of the baseline's own earlier calls in ms; None with fewer than `least` of them."""
    values = sorted(latencies_ms)
    if len(values) < least:
        return None
    return values[(len(values) - 1) // 2], values[int(0.9 * (len(values) - 1))]


def ended(call: CallRecord) -> bool:
    return call.ended_at is not None or call.status in ("ended", "error", "not_connected")


def outcomes(call: CallRecord, rules: CallRules) -> dict[str, bool | None]:
    """Per series: True for bad, False for fine, None for missing (not known yet, or never)."""
    out: dict[str, bool | None] = dict.fromkeys(name for m in rules.metrics for name in m.series)
    reason = call.disconnection_reason
    silent = call.status == "not_connected" or reason in NOT_THE_AGENT
    if not ended(call) or (silent and reason not in rules.hard_reasons):
        return out
    # Without a reason (a chat has none), and for a reason newer than this list, Retell's own status decides.
    hard = reason in rules.hard_reasons or (call.status == "error" and reason is None)
    for metric in rules.metrics:
        if metric.custom is not None:
            value = call.custom.get(metric.custom)
            out[metric.name] = None if value is None else value is metric.bad
        elif metric.name == "success":
            # A call that broke down and was never judged is a failed call, not an unknown one.
            out["success"] = (True if hard else None) if call.successful is None else not call.successful
        elif metric.name == "hard_error":
            out["hard_error"] = hard
        elif metric.name == "negative":
            mood = (call.sentiment or "unknown").lower()
            out["negative"] = None if mood == "unknown" else mood == "negative"
        elif metric.name == "voicemail":
            out["voicemail"] = call.in_voicemail
        elif metric.name == "slow" and rules.slow_ms and call.e2e_p50_ms is not None:
            out["slow:p50"] = call.e2e_p50_ms > rules.slow_ms[0]
            out["slow:p90"] = call.e2e_p50_ms > rules.slow_ms[1]
    return out


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
    waiting = not call.analyzed and call.status != "not_connected" and age < rules.longest_wait
    waiting = waiting and call.disconnection_reason not in NOT_THE_AGENT
    analysed = {m.name for m in rules.metrics if m.custom or m.name in ("success", "negative", "voicemail")}
    return {name: v for name, v in found.items() if v is not None or not (waiting and name in analysed)}


def tabulate(calls: Iterable[CallRecord], spans: Sequence[Span], now: datetime, rules: CallRules) -> Table:
    """Counts per cell. A series counts calls that started before the oldest call still without its result:
    good news that takes longer to arrive than bad news must not look like bad news. Each series has its own
    such limit, so that slow analysis does not hold back what the end of a call already tells."""
    placed: list[tuple[datetime, int, Span, dict[str, bool | None]]] = []
    between = others = 0
    for call in {c.call_id: c for c in calls}.values():
        who = (call.agent_id, call.agent_version)
        span = _span(call, spans)
        if span is None:
            between += 1
        elif who != rules.canary and who not in rules.baseline:
            others += 1
        else:
            assert call.started_at is not None
            arm = 0 if who == rules.canary else 1
            placed.append((call.started_at, arm, span, settled(call, rules, now)))
    series = [name for m in rules.metrics for name in m.series]
    limit = {
        name: min((start for start, _, _, final in placed if name not in final), default=None)
        for name in series
    }
    drafts: dict[tuple[float, int, str], dict[str, Any]] = {}
    still_open = dict.fromkeys(series, 0)
    for start, arm, span, final in sorted(placed, key=lambda p: p[0]):
        key = (span.weight, span.position, start.astimezone(UTC).date().isoformat())
        cell = drafts.setdefault(
            key, {"started": [0, 0], "closed": [0, 0], "counts": {name: [0, 0, 0, 0] for name in series}}
        )
        cell["started"][arm] += 1
        held = [name for name in series if (until := limit[name]) is not None and start >= until]
        cell["closed"][arm] += not held
        for name in series:
            if name in held:
                still_open[name] += 1
            elif final[name] is not None:
                cell["counts"][name][2 * arm + (0 if final[name] else 1)] += 1
    cells = tuple(
        Cell(
            w,
            position,
            day,
            tuple(c["started"]),
            tuple(c["closed"]),
            {n: tuple(v) for n, v in c["counts"].items()},
        )
        for (w, position, day), c in drafts.items()
    )
    return Table(cells, still_open, between, others)


def _span(call: CallRecord, spans: Sequence[Span]) -> Span | None:
    at = call.started_at
    if at is None:
        return None
    for span in spans:
        mine = span.number is None or span.number == call.number
        if mine and span.start <= at and (span.end is None or at < span.end):
            return span
    return None
