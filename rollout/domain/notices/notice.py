"""A notice: what happened, why, what comes next, and the one command to intervene. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity

QUIET = frozenset(NoticeEvent) - {NoticeEvent.STEP}  # the default: everything but steps
_LOUDNESS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_MENTION = re.compile(r"@(?=everyone|here|channel|all)|<(?=[!@#])")


class Scope(StrEnum):
    """The addresses that a notice goes to."""

    ALL = "all"
    SETTINGS = "settings"
    PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice. `event` is unique: so a restart or another replica does not send it again."""

    event: str
    rollout_id: str | None
    kind: NoticeEvent
    severity: Severity
    title: str
    body: str
    scope: Scope = Scope.ALL


def wanted(notice: Notice, rule: NoticeRule | None = None) -> bool:
    """True if an address gets this notice, by its plan's rule; None: an address of the settings, all but steps."""
    if rule is None:
        return notice.kind in QUIET and notice.scope is not Scope.PLAN
    kinds = QUIET if rule.events is None else frozenset(rule.events)
    loud = _LOUDNESS[notice.severity] >= _LOUDNESS[rule.min_severity]
    return notice.kind in kinds and loud and notice.scope is not Scope.SETTINGS


def clean(text: str, most: int = 600) -> str:
    """One line of printable text that pings nobody: names and reasons come from outside.

    Control characters, line ends and marks that turn the direction of text become spaces, so that no header,
    no second line and no escape can be smuggled in.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _MENTION.sub(lambda m: m[0] + " ", line)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class NoticeText:
    """The text of a notice; `command` is the line to type to step in."""

    kind: NoticeEvent
    severity: Severity
    what: str
    why: str
    next: str
    command: str


def compose(event: str, r: Rollout, w: NoticeText, anchor: str = "", scope: Scope = Scope.ALL) -> Notice:
    """The notice of these words about one rollout."""
    name = clean(r.name, 80)
    lines = [f"{w.what[:1].upper()}{w.what[1:]}.", f"Why: {clean(w.why) or 'no reason was given'}", f"Next: {w.next}"]
    lines += [f"To intervene: {w.command}", anchor]
    body = "\n".join(line for line in lines if line)
    return Notice(event, r.id, w.kind, w.severity, clean(f"{name} ({r.id}): {w.what}", 200), body, scope)


def moment_text(at: datetime) -> str:
    """A moment as people read it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(at: datetime) -> int:
    """A moment in milliseconds, for the name of an event."""
    return int(at.timestamp() * 1000)
