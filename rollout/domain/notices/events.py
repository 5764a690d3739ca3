"""Notices from events: which journal entries become notices, how loud, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from rollout.domain.anchors import Anchor
from rollout.domain.calendar.durations import render
from rollout.domain.lifecycle.entries import CommandGiven, ObservedNumbers, ServiceEvent, parse
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.notices.notice import Notice, NoticeText, clean, compose, moment_text
from rollout.domain.plan.notices import NoticeEvent, Severity
from rollout.domain.splits.splits import weights_text
from rollout.domain.writes.protocol import Finding

_ALARMING = frozenset({HeldReason.ROLLBACK_IMPOSSIBLE, HeldReason.POISON, HeldReason.IDENTITY, HeldReason.REJECTED})


class RecordedEvent(Protocol):
    """A journal entry as the store gives it."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def hash(self) -> str: ...


def of_entry(r: Rollout, e: RecordedEvent, shared: Sequence[Anchor] = ()) -> Notice | None:
    """The notice of one journal entry; None for an entry without one. `r` may be without its targets.

    `shared`: the heads that all rollouts share; the notice of an end carries them beside the rollout's own.
    """
    make = _MAKERS.get(e.kind)
    words = None if make is None else make(r, e)
    if words is None:
        return None
    anchor = f"Journal of {r.id}: entry {e.seq}, {moment_text(e.at)}, hash {e.hash}"
    if e.kind in ENDS:
        anchor += "\nKeep for `rollout verify --anchor FILE`: " + " ".join(
            map(str, (Anchor(r.id, e.seq, e.hash), *shared))
        )
    return compose(f"{r.id}:{e.seq}", r, words, anchor)


def _begun(r: Rollout, e: RecordedEvent) -> NoticeText:
    steps = ", ".join(
        f"{weights_text(r.plan.weights(i))} for {render(r.plan.hold(i).duration)}"
        for i in range(1, r.plan.last_step + 1)
    )
    return NoticeText(
        NoticeEvent.STARTED,
        Severity.INFO,
        "started",
        f"requested by {clean(r.created_by, 80)}; {e.reason}",
        clean(steps, 300),
        f"rollout rollback {r.id}",
    )


def _confirmed(r: Rollout, e: RecordedEvent) -> NoticeText:
    said = ServiceEvent.from_json(e.data)
    position, by_hand = said.position, said.by_hand
    hold = "it holds" if position is None else f"it holds for {render(r.plan.hold(position.step).duration)}"
    what = f"step {position} is live"
    if by_hand is not None:
        what = f"the weights that a person set at {position} are live"
        if by_hand.ships is not None:
            what = f"{by_hand.ships} gets every call"
    return NoticeText(NoticeEvent.STEP, Severity.INFO, what, e.reason, hold, f"rollout rollback {r.id}")


def _completed(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.PROMOTED,
        Severity.INFO,
        "promoted" if r.shipped is None else f"promoted: {r.shipped} is shipped",
        e.reason,
        "its numbers are watched for a week; you can roll it back as long as its baseline is kept",
        f"rollout rollback {r.id}",
    )


def _rolling_back(r: Rollout, e: RecordedEvent) -> NoticeText | None:
    said = parse(e.kind, e.data)
    if isinstance(said, CommandGiven) and said.phase is Phase.ROLLING_BACK:
        return None  # ordered once more while it is under way
    by_person = e.kind == "rollback"
    why = f"{e.reason or 'no reason was given'} (ordered by {clean(e.actor, 80)})" if by_person else e.reason
    return NoticeText(
        NoticeEvent.ROLLED_BACK,
        Severity.WARNING if by_person else Severity.CRITICAL,
        "rolling back",
        why,
        "the baseline of every number is written back now; you get a notice once it is read back",
        f"rollout show {r.id}",
    )


def _held(r: Rollout, e: RecordedEvent) -> NoticeText:
    reason = ServiceEvent.from_json(e.data).reason or ""
    impossible = reason == HeldReason.ROLLBACK_IMPOSSIBLE
    known = f" ({reason})" if reason in set(HeldReason) else ""
    return NoticeText(
        NoticeEvent.NEEDS_PERSON,
        Severity.CRITICAL if reason in _ALARMING else Severity.WARNING,
        f"held{known}: it needs your decision",
        e.reason,
        "nothing is written until you adopt (accept the live split), restore (write the rollout's split again), roll back "
        "or stop",
        f"rollout {'stop' if impossible else 'rollback'} {r.id}",
    )


def _failure_paused(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.NEEDS_PERSON,
        Severity.CRITICAL,
        f"step {ServiceEvent.from_json(e.data).position} failed and is paused: it needs your decision",
        e.reason,
        "the split stays as it is until you roll back, or resume and override the gates",
        f"rollout rollback {r.id}",
    )


def _shipped(r: Rollout, e: RecordedEvent) -> NoticeText | None:
    said = parse(e.kind, e.data)
    if not isinstance(said, ServiceEvent) or said.by_hand is None:
        return None  # a person who ships knows it
    bake = render(r.plan.hold(r.plan.last_step).duration)
    return NoticeText(
        NoticeEvent.PROMOTED,
        Severity.INFO,
        f"the A/B test is decided: {said.by_hand.ships} is shipped",
        e.reason,
        f"{said.by_hand.ships} gets every call; it bakes for {bake}, watched by its gates, and is promoted",
        f"rollout rollback {r.id}",
    )


def _kept(r: Rollout, e: RecordedEvent) -> NoticeText:
    after = "" if r.plan.decide is None else f" after another {render(r.plan.decide.after)}"
    return NoticeText(
        NoticeEvent.STEP,
        Severity.INFO,
        "the A/B test continues: nothing is shipped",
        e.reason,
        f"the split stays as it is, and the plan decides again{after}",
        f"rollout report {r.id}",
    )


def _paused(r: Rollout, e: RecordedEvent) -> NoticeText | None:
    said = parse(e.kind, e.data)
    if not isinstance(said, CommandGiven) or said.alert is None:
        return None  # a person who pauses knows it; an alert that does so needs one
    return NoticeText(
        NoticeEvent.NEEDS_PERSON,
        Severity.WARNING,
        "paused by an alert: it needs your decision",
        e.reason,
        "the split stays as it is until you resume, roll back or stop",
        f"rollout rollback {r.id}",
    )


def _stopped(r: Rollout, e: RecordedEvent) -> NoticeText:
    why = f"{e.reason or 'no reason was given'} (by {clean(e.actor, 80)})"
    return NoticeText(
        NoticeEvent.STOPPED,
        Severity.INFO,
        "stopped",
        why,
        "the split stays as it is; you can still roll it back",
        f"rollout rollback {r.id}",
    )


def _observed(r: Rollout, e: RecordedEvent) -> NoticeText | None:
    findings = ObservedNumbers.from_json(e.data).findings
    edited = [number for number, finding in findings.items() if finding == Finding.DRIFT]
    if not edited or not r.phase.is_final:
        return None  # a live rollout is held for this, and the hold has its own notice
    names = ", ".join(edited[:3]) + (f" and {len(edited) - 3} more" if len(edited) > 3 else "")
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "somebody changed the split after the rollout ended",
        f"{names} shows a split that this rollout did not write",
        "the service leaves it as it is",
        f"rollout show {r.id}",
    )


_Maker = Callable[[Rollout, RecordedEvent], NoticeText | None]


def _always(kind: NoticeEvent, severity: Severity, what: str, next_: str, verb: str) -> _Maker:
    """A notice with the same words for every entry of a kind; `verb` is the command to intervene."""
    return lambda r, e: NoticeText(kind, severity, what, e.reason, next_, f"rollout {verb} {r.id}")


_MAKERS: dict[str, _Maker] = {
    "read_back": _always(
        NoticeEvent.ROLLED_BACK,
        Severity.WARNING,
        "rolled back: the baseline serves the callers again",
        "its numbers are watched until no earlier write can take effect any more, and for a week after that",
        "show",
    ),
    "restored_outside": _always(
        NoticeEvent.ROLLED_BACK, Severity.WARNING, "rolled back outside the service", "nothing more is written", "show"
    ),
    "reopened": _always(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "a late write undid part of the rollback",
        "the baseline is written again now; you get a notice once it is read back",
        "show",
    ),
    "contested": _always(
        NoticeEvent.TROUBLE,
        Severity.CRITICAL,
        "another program or person overwrites the rollback",
        "the baseline is written again at growing intervals; until you stop the other side, callers may get either split",
        "show",
    ),
    "refused": _always(
        NoticeEvent.STOPPED,
        Severity.WARNING,
        "not started",
        "nothing was written; fix the problem above and start the plan again",
        "show",
    ),
    "decision_paused": _always(
        NoticeEvent.NEEDS_PERSON,
        Severity.WARNING,
        "the A/B test is over and nothing is shipped: it needs your decision",
        "the split stays as it is until you ship a version, roll back or stop, or resume to test for as long again",
        "report",
    ),
    "watched": _always(
        NoticeEvent.TROUBLE,
        Severity.CRITICAL,
        "its calls got worse after it was promoted",
        "the service does not act by itself, as no calls are left to compare with; one command writes the baseline back",
        "rollback",
    ),
    "backup_models": _always(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "a backup model answers one version's calls more often",
        "the service does not act by itself; pause the rollout until Retell's models answer again, or keep this in mind "
        "when you read its gates",
        "pause",
    ),
    "begun": _begun,
    "confirmed": _confirmed,
    "completed": _completed,
    "failed": _rolling_back,
    "rollback": _rolling_back,
    "held": _held,
    "failure_paused": _failure_paused,
    "shipped": _shipped,
    "decision_kept": _kept,
    "pause": _paused,
    "stop": _stopped,
    "observed": _observed,
}
TOLD_KINDS = frozenset(_MAKERS)
ENDS = frozenset({"completed", "read_back", "restored_outside", "refused", "stop"})
