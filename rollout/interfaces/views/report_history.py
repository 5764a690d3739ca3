"""A rollout's journal as the report tells it: the events a manager reads, how it ended, and what followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollout.domain.gates.summary import ArmCalls, GateSummary
from rollout.domain.gates.tally import totals
from rollout.domain.lifecycle.entries import ServiceEvent, parse
from rollout.domain.lifecycle.machine import CommandKind, Event, Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.splits import splits
from rollout.interfaces.views.journal import wording
from rollout.interfaces.views.report_advice import results
from rollout.interfaces.views.value_text import actor_name, counted, metric, moment, number_count, rate, share, span

if TYPE_CHECKING:
    from rollout.adapters.store.journal import RecordedEntry

_BACK = (Event.READ_BACK, Event.RESTORED, Event.RESTORED_OUTSIDE)
# The entries that the report shows, and the name of each; the others are details and stay in the journal.
_TOLD: Mapping[str, str] = {
    "created": "Started",
    Event.TESTS_PASSED: "Tests of the agent passed",
    Event.CONFIRMED: "Confirmed",
    CommandKind.PROMOTE: "Promoted by hand",
    CommandKind.SET: "Weights set by hand",
    Event.SHIPPED: "Shipped",
    Event.DECISION_KEPT: "Not decided",
    Event.DECISION_PAUSED: "Not decided, paused",
    CommandKind.PAUSE: "Paused",
    CommandKind.RESUME: "Resumed",
    Event.HELD: "Held",
    CommandKind.ADOPT: "Live split adopted",
    CommandKind.RESTORE: "Rollout's split restored",
    Event.FAILED: "Failed, rollback ordered",
    Event.FAILURE_PAUSED: "Failed, paused",
    Event.REFUSED: "Refused",
    CommandKind.ROLLBACK: "Rollback ordered",
    CommandKind.STOP: "Stopped",
    Event.COMPLETED: "Promoted",
    Event.READ_BACK: "Baseline read back",
    Event.RESTORED: "Rolled back",
    Event.RESTORED_OUTSIDE: "Baseline restored by somebody else",
    Event.REOPENED: "Rollback resumed",
    "contested": "Overwritten by another program or person",
    "watched": "Alarm after the promotion",
    "superseded": "Followed by a later rollout",
}
# The entries by which a phase is reached: the newest of them is the end.
_ENDS: Mapping[Phase, tuple[str, ...]] = {
    Phase.PROMOTED: (Event.COMPLETED,),
    Phase.ROLLING_BACK: (CommandKind.ROLLBACK, Event.FAILED),
    Phase.ROLLED_BACK: (CommandKind.ROLLBACK, Event.FAILED, Event.RESTORED_OUTSIDE),
    Phase.STOPPED: (CommandKind.STOP, Event.REFUSED),
}
_STATES: Mapping[TargetState, str] = {
    TargetState.RESTORED: "back at the baseline",
    TargetState.UNTOUCHED: "never changed",
    TargetState.FOREIGN: "edited by somebody else since, and left alone",
    TargetState.MISSING: "unknown to Retell",
    TargetState.SUPERSEDED: "in a later rollout now",
    TargetState.REJECTED: "refused by Retell",
}


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """One event. weight: the share of new calls (0..1) of the versions being tried that it made live, if it did."""

    at: datetime
    actor: str
    kind: str
    what: str
    weight: float | None


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a rollout, in sentences: what was done, what the calls had shown by then, and what followed."""

    at: datetime
    what: str
    results: str
    followed: tuple[str, ...]


def events(r: Rollout, journal: Sequence[RecordedEntry]) -> tuple[ReportedEvent, ...]:
    """The journal's entries that the report shows, oldest first."""
    found = []
    for entry in journal:
        if (title := _TOLD.get(entry.kind)) is None:
            continue
        data = entry.data
        text = wording(entry.kind, entry.reason, data)
        what = f"{title}: {text}" if text else title
        found.append(ReportedEvent(entry.at, actor_name(entry.actor), entry.kind, what, _weight(r, entry.kind, data)))
    return tuple(found)


def _weight(r: Rollout, kind: str, data: Mapping[str, Any]) -> float | None:
    if kind in _BACK:
        return 0.0
    event = parse(kind, data) if kind == Event.CONFIRMED else None
    if not isinstance(event, ServiceEvent) or event.position is None:
        return None
    weights = r.plan.weights(event.position.step) if event.by_hand is None else event.by_hand.weights
    return sum(weights.values()) / splits.TOTAL


def ending(r: Rollout, happened: Sequence[ReportedEvent], found: GateSummary | None, now: datetime) -> Ending | None:
    """None while the rollout may still continue."""
    if r.phase not in _ENDS:
        return None
    last = next((e for e in reversed(happened) if e.kind in _ENDS[r.phase]), None)
    at = r.updated_at if last is None else last.at
    by = "" if last is None or last.actor == "service" else f" by {last.actor}"
    why = f": {r.reason.rstrip('.')}" if r.reason else ""
    match r.phase:
        case Phase.PROMOTED:
            what = f"Promoted{by}: {_split(r)} on {number_count(len(r.targets))}.{_shipped(happened)}"
            followed = _after_promotion(r, now)
        case Phase.STOPPED:
            left = f" The split was left as it was: {_split(r)}." if r.written else " Nothing had been changed."
            what, followed = f"Stopped{by}{why}.{left}", _watch(r, now)
        case _:
            verb = "Being rolled back" if r.phase is Phase.ROLLING_BACK else "Rolled back"
            what, followed = f"{verb}{by}{why}.", _after_rollback(r, now)
    later = [f"{e.what.rstrip('.')}." for e in happened if e.at > at and e.kind not in _BACK]
    return Ending(at, what, results(found), (*followed, *later))


def _shipped(happened: Sequence[ReportedEvent]) -> str:
    """The person who gave a version every call, and the reason; empty where the plan's last step did."""
    last = next((e for e in reversed(happened) if e.kind == Event.SHIPPED), None)
    if last is None:
        return ""
    by = "" if last.actor == "service" else f" by {last.actor}"
    return f" Shipped{by}: {last.what.removeprefix(_TOLD[Event.SHIPPED] + ': ').removesuffix('.')}."


def _split(r: Rollout) -> str:
    """The confirmed shares of new calls, such as "b 30 %, c 30 %, baseline 40 %"."""
    weights = {name: points for name, points in r.weights.items() if points}
    rest = splits.TOTAL - sum(weights.values())
    parts = [f"{name} takes {share(points / splits.TOTAL)}" for name, points in weights.items()]
    parts += [f"the baseline {share(rest / splits.TOTAL)}"] if rest else []
    return ", ".join(parts) + " of new calls"


def _after_promotion(r: Rollout, now: datetime) -> tuple[str, ...]:
    return (*_at_full_weight(r), *_watch(r, now))


def _at_full_weight(r: Rollout) -> tuple[str, ...]:
    """The calls of each version while it had all of them: there is nothing beside it to compare with."""
    told = []
    for name, verdict in ({} if r.verdict is None else r.verdict.arms).items():
        cells = [c for c in verdict.evidence.tally.cells if c.weight >= 1.0]
        for first in verdict.evidence.config.compared[:1]:
            bad, fine, _, _ = totals(cells, first.series[0])
            if (calls := ArmCalls(bad, bad + fine)).calls:
                shown = f"{counted(calls)} good in {metric(first.series[0])}, {rate(calls.good)}"
                told.append(f"{name} with all calls: {shown} ({span(calls.good_interval)}).")
    return tuple(told)


def _after_rollback(r: Rollout, now: datetime) -> tuple[str, ...]:
    states = Counter(t.state for t in r.targets)
    told = "; ".join(f"{number_count(n)} {_STATES.get(state, 'still to be read back')}" for state, n in states.items())
    took = "" if r.rollback_seconds is None else f", read back {r.rollback_seconds:.1f} s after the order"
    return (f"{told}{took}." if told else "No number had been changed.", *_watch(r, now))


def _watch(r: Rollout, now: datetime) -> tuple[str, ...]:
    """The watch after the end, and its own end."""
    if r.watch_until is None:
        return ()
    what = "Its numbers and calls" if r.phase is Phase.PROMOTED else "Its numbers"
    return (f"{what} {'are' if now < r.watch_until else 'were'} watched until {moment(r.watch_until)}.",)
