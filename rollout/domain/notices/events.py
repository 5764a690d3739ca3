"""Notices from events: which journal entries and states become notices, how loud, and in which words.

Pure. A notice says what happened, why, what comes next, and the one command to intervene.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from rollout.domain.anchors import Anchor
from rollout.domain.calendar.durations import render
from rollout.domain.lifecycle.entries import CommandGiven, ObservedNumbers, ServiceEvent, parse
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.protocol import Finding

QUIET = frozenset(NoticeEvent) - {NoticeEvent.STEP}  # what is told where nothing else is asked for
_LOUDNESS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_ALARMING = frozenset({HeldReason.ROLLBACK_IMPOSSIBLE, HeldReason.POISON, HeldReason.IDENTITY, HeldReason.REJECTED})
_MENTION = re.compile(r"@(?=everyone|here|channel|all)|<(?=[!@#])")


class Scope(StrEnum):
    """To whose addresses a notice goes."""

    ALL = "all"
    SETTINGS = "settings"
    PLAN = "plan"


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


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice. `event` is unique: whoever finds it again, after a restart or on another replica, knows it."""

    event: str
    rollout_id: str | None
    kind: NoticeEvent
    severity: Severity
    title: str
    body: str
    scope: Scope = Scope.ALL


def wanted(told: Notice, notice: NoticeRule | None = None) -> bool:
    """True if an address is told this; `notice` None: an address of the settings, which is told all but steps."""
    if notice is None:
        return told.kind in QUIET and told.scope is not Scope.PLAN
    kinds = QUIET if notice.events is None else frozenset(notice.events)
    loud = _LOUDNESS[told.severity] >= _LOUDNESS[notice.min_severity]
    return told.kind in kinds and loud and told.scope is not Scope.SETTINGS


def clean(text: str, most: int = 600) -> str:
    """One line of printable text that pings nobody: names and reasons come from outside.

    Control characters, line ends and marks that turn the direction of text become spaces, so that no header,
    no second line and no escape can be smuggled in.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _MENTION.sub(lambda m: m[0] + " ", line)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


# ------------------------------------------------------------------ from the journal


@dataclass(frozen=True, slots=True)
class NoticeText:
    """The text of a notice; `command` is the line to type to step in."""

    kind: NoticeEvent
    severity: Severity
    what: str
    why: str
    next: str
    command: str


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


def compose(event: str, r: Rollout, w: NoticeText, anchor: str = "", scope: Scope = Scope.ALL) -> Notice:
    """The notice of these words about one rollout."""
    name = clean(r.name, 80)
    lines = [f"{w.what[:1].upper()}{w.what[1:]}.", f"Why: {clean(w.why) or 'no reason was given'}", f"Next: {w.next}"]
    lines += [f"To intervene: {w.command}", anchor]
    body = "\n".join(line for line in lines if line)
    return Notice(event, r.id, w.kind, w.severity, clean(f"{name} ({r.id}): {w.what}", 200), body, scope)


def _begun(r: Rollout, e: RecordedEvent) -> NoticeText:
    steps = ", ".join(
        f"{weights(r.plan, i)} for {render(r.plan.hold(i).duration)}" for i in range(1, r.plan.last_step + 1)
    )
    return NoticeText(
        NoticeEvent.STARTED,
        Severity.INFO,
        "started",
        f"requested by {clean(r.created_by, 80)}; {e.reason}",
        f"{clean(steps, 300)}",
        f"rollout rollback {r.id}",
    )


def _confirmed(r: Rollout, e: RecordedEvent) -> NoticeText:
    said = parse(e.kind, e.data)
    position, by_hand = (said.position, said.by_hand) if isinstance(said, ServiceEvent) else (None, None)
    step = 0 if position is None else position.step
    hold = f"it holds for {render(r.plan.hold(step).duration)}" if 1 <= step <= r.plan.last_step else ""
    what = f"step {position} is in force"
    if by_hand is not None:
        what = f"the weights that a person set at {position} are in force"
        if by_hand.ships is not None:
            what = f"{by_hand.ships} gets every call"
    return NoticeText(NoticeEvent.STEP, Severity.INFO, what, e.reason, hold or "it holds", f"rollout rollback {r.id}")


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


def _read_back(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.ROLLED_BACK,
        Severity.WARNING,
        "rolled back: the baseline serves the callers again",
        e.reason,
        "its numbers are watched until no earlier write can take effect any more, and for a week after that",
        f"rollout show {r.id}",
    )


def _restored_outside(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.ROLLED_BACK,
        Severity.WARNING,
        "rolled back outside the service",
        e.reason,
        "nothing more is written",
        f"rollout show {r.id}",
    )


def _reopened(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "a late write undid part of the rollback",
        e.reason,
        "the baseline is written again now; you get a notice once it is read back",
        f"rollout show {r.id}",
    )


def _contested(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.CRITICAL,
        "another program or person overwrites the rollback",
        e.reason,
        "the baseline is written again at growing intervals; until you stop the other side, callers may get either split",
        f"rollout show {r.id}",
    )


def _held(r: Rollout, e: RecordedEvent) -> NoticeText:
    said = parse(e.kind, e.data)
    reason = (said.reason if isinstance(said, ServiceEvent) else None) or ""
    impossible = reason == HeldReason.ROLLBACK_IMPOSSIBLE
    known = f" ({reason})" if reason in set(HeldReason) else ""
    return NoticeText(
        NoticeEvent.NEEDS_PERSON,
        Severity.CRITICAL if reason in _ALARMING else Severity.WARNING,
        f"held{known}: it needs your decision",
        e.reason,
        "nothing is written until you adopt (take the live split), restore (write ours again), roll back or stop",
        f"rollout {'stop' if impossible else 'rollback'} {r.id}",
    )


def _failure_paused(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.NEEDS_PERSON,
        Severity.CRITICAL,
        f"step {_position(e)} failed and is paused: it needs your decision",
        e.reason,
        "the split stays as it is until you roll back, or resume and override the gates",
        f"rollout rollback {r.id}",
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


def _refused(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.STOPPED,
        Severity.WARNING,
        "not started",
        e.reason,
        "nothing was written; fix the problem above and start the plan again",
        f"rollout show {r.id}",
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
    said = parse(e.kind, e.data)
    findings = said.findings if isinstance(said, ObservedNumbers) else {}
    edited = [number for number, finding in findings.items() if finding == Finding.DRIFT]
    if not edited or not r.phase.is_final:
        return None  # while it is live it is held for this, and that is told
    names = ", ".join(edited[:3]) + (f" and {len(edited) - 3} more" if len(edited) > 3 else "")
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "somebody changed the split after the rollout ended",
        f"{names} shows a split that is not ours",
        "the service leaves it as it is",
        f"rollout show {r.id}",
    )


def _watched(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.CRITICAL,
        "its calls got worse after it was promoted",
        e.reason,
        "the service does not act by itself, as no calls are left to compare with; one command writes the baseline back",
        f"rollout rollback {r.id}",
    )


def _backup_models(r: Rollout, e: RecordedEvent) -> NoticeText:
    return NoticeText(
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        "a backup model answers one version's calls more often",
        e.reason,
        "the service does not act by itself; pause the rollout until Retell's models answer again, or keep this in mind "
        "when you read its gates",
        f"rollout pause {r.id}",
    )


_MAKERS: dict[str, Callable[[Rollout, RecordedEvent], NoticeText | None]] = {
    "begun": _begun,
    "confirmed": _confirmed,
    "completed": _completed,
    "failed": _rolling_back,
    "rollback": _rolling_back,
    "read_back": _read_back,
    "restored_outside": _restored_outside,
    "reopened": _reopened,
    "contested": _contested,
    "held": _held,
    "failure_paused": _failure_paused,
    "pause": _paused,
    "refused": _refused,
    "stop": _stopped,
    "observed": _observed,
    "watched": _watched,
    "backup_models": _backup_models,
}
TOLD_KINDS = frozenset(_MAKERS)
ENDS = frozenset({"completed", "read_back", "restored_outside", "refused", "stop"})


# ------------------------------------------------------------------ words


def weights(plan: Plan, step: int) -> str:
    """The shares of a step: `10 % canary`, `20 % b, 20 % c`."""
    shares = plan.weights(step)
    if len(shares) == 1:
        return f"{next(iter(shares.values())) / 100:g} % canary"
    return ", ".join(f"{points / 100:g} % {name}" for name, points in shares.items())


def _position(e: RecordedEvent) -> Position | None:
    said = parse(e.kind, e.data)
    return said.position if isinstance(said, ServiceEvent) else None


def moment_text(at: datetime) -> str:
    """A moment as people read it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(at: datetime) -> int:
    """A moment in milliseconds, for the name of an event."""
    return int(at.timestamp() * 1000)
