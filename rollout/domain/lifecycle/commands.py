"""The commands that people give: each command as a pure decision about the rollout it finds.

None means that the rollout already is as asked. Refused and StaleExpectation change nothing. A command raises the
rollout's epoch when it is recorded, so the driver of that moment loses its claim.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.errors import InputError, Refused, StaleExpectation
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.columns import RolloutColumns, TargetColumns, confirmed_at_step, emptied
from rollout.domain.lifecycle.entries import CommandGiven, PromoteGiven
from rollout.domain.lifecycle.machine import KEEP_BASELINE, CommandKind, Event, HeldReason, PausedBy, Phase, after
from rollout.domain.lifecycle.records import CommandEffect, JournalEntry, Request
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState
from rollout.domain.one_line import one_line
from rollout.domain.versions import tags
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.protocol import others_of, shows, wanted_lists

MOST_REASON = 1000  # characters
RESTORABLE = frozenset({TargetState.DRIFTED, TargetState.TOUCHED, TargetState.REJECTED})
_POSITION = re.compile(r"(?:(?P<wave>[1-9][0-9]{0,3})\.)?(?P<step>[1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class By:
    """The actor, reason and request id of a command; InputError for what would forge lines where it is shown.

    alert: the name of the alert that asks, where no person does.
    """

    actor: str
    reason: str = ""
    request_id: str | None = None
    alert: str | None = None

    def __post_init__(self) -> None:
        one_line("actor", self.actor, 200)
        one_line("reason", self.reason, MOST_REASON)
        if self.request_id is not None and not (1 <= len(self.request_id) <= 120 and self.request_id.isprintable()):
            raise InputError("request_id: write 1 to 120 printable characters", field="request_id")

    def each(self, id_: str) -> By:
        """The same for one of several rollouts: each command is a request of its own."""
        if self.request_id is None:
            return self
        digest = hashlib.sha256(f"{self.request_id}\n{id_}".encode()).hexdigest()
        return replace(self, request_id=f"all-{digest[:40]}")

    def entry(self, kind: CommandKind, data: Mapping[str, Any]) -> JournalEntry:
        """The journal entry of the command."""
        return JournalEntry(str(kind), self.actor, self.reason, data)

    def request(self, command: str, *asked: Any) -> Request | None:
        """The command's identity; None without a request id."""
        if self.request_id is None:
            return None
        text = json.dumps([command, *asked], sort_keys=True, default=str)
        return Request(self.actor, self.request_id, command, hashlib.sha256(text.encode()).hexdigest())


def promote(r: Rollout, now: datetime, by: By, expect: Position | None, *, full: bool) -> CommandEffect:
    """Go to the next step now, or with `full` to the last; in the last step, end its bake."""
    phase = after(r.phase, Event.PROMOTE_ASKED)
    expect_at(r, expect)
    goal = r.last_position if full else r.next_position
    values: RolloutColumns = {"phase": phase}
    if r.plan.retreat is not None:
        values["raised_at"] = now  # no retreat undoes a person's promotion before the next opening
        if r.retreated is not None:
            values |= {"retreated": None, "turning_since": now}
    if r.confirmed_at is None and r.retreated is not None and (not full or goal == r.position):
        # The calendar closed before its step was confirmed: promoting writes that step now.
        goal = r.position
        what = f"step {r.position} is written now"
    elif r.confirmed_at is None and not full:
        raise Refused(f"step {r.position} is still being written: wait until it is confirmed", **state_of(r))
    elif goal is None or goal == r.position:
        if r.promote_asked or r.confirmed_at is None:
            raise Refused(f"step {r.position} is the last one, and its bake is already being ended", **state_of(r))
        values["promote_asked"] = True
        what = f"the bake of step {r.position} is ended"
    else:
        values |= {"wave": goal.wave, "step": goal.step, "confirmed_at": None}
        values |= emptied(r, "stood", "back_at", "hand_split")
        what = f"from {r.position} to {goal}"
    data = PromoteGiven(r.position, goal or r.position, full).to_json()
    return CommandEffect(Change(rollout=values), by.entry(CommandKind.PROMOTE, data), f"promoted by a person: {what}")


def pause(r: Rollout, now: datetime, by: By, expect: Position | None) -> CommandEffect | None:
    """Hold at the current position. The gates still judge calls."""
    if r.phase is Phase.PAUSED and expect is None:
        return None
    phase = after(r.phase, Event.PAUSE_ASKED)
    expect_at(r, expect)
    values: RolloutColumns = {
        "phase": phase,
        "reason": by.reason or None,
        "resume_phase": r.phase,
        "paused_by": PausedBy.PERSON if by.alert is None else PausedBy.ALERT,
    }
    return CommandEffect(Change(rollout=values), by.entry(CommandKind.PAUSE, _asked(r, by)), f"paused by {_who(by)}")


def resume(r: Rollout, now: datetime, by: By, expect: Position | None) -> CommandEffect:
    """Continue after a pause. After a failed gate this overrides that failure."""
    unstarted = r.phase is Phase.PAUSED and r.started_at is None
    phase = after(r.phase, Event.RESUME_PENDING_ASKED if unstarted else Event.RESUME_ASKED)
    expect_at(r, expect)
    not_stopping(r)
    values: RolloutColumns = {"phase": phase, "reason": None, "paused_by": None}
    if r.verdict is not None and r.verdict.outcome is GateOutcome.FAIL:
        values["waived"] = True
    if r.phase is Phase.PAUSED and r.paused_by is PausedBy.DECISION:
        values["back_at"] = now  # the test continues, and is decided again after as long
    return CommandEffect(Change(rollout=values), by.entry(CommandKind.RESUME, state_of(r)), "resumed by a person")


def stop(r: Rollout, now: datetime, by: By, expect: Position | None) -> CommandEffect | None:
    """End it and leave the split as it is."""
    if r.phase is Phase.STOPPED:
        return None
    phase = after(r.phase, Event.STOP_ASKED)
    expect_at(r, expect)
    why = by.reason or "stopped by a person"
    values: RolloutColumns = {"phase": phase, "reason": why, "stop_asked": phase.is_live}
    if phase.is_live and not r.open_writes(now):
        # Nothing is in flight: it ends at once, and not at the next tick.
        values |= {"phase": after(phase, Event.ENDED), "stop_asked": False}
    return CommandEffect(Change(rollout=values), by.entry(CommandKind.STOP, state_of(r)), why)


def adopt(r: Rollout, now: datetime, by: By, expect: Position | None, live: Mapping[str, Reading]) -> CommandEffect:
    """Accept the live split of every number, and continue."""
    phase = after(r.phase, Event.ADOPT_PAUSED_ASKED if _was_paused(r) else Event.ADOPT_ASKED)
    expect_at(r, expect)
    not_stopping(r)
    targets: dict[str, TargetColumns] = {}
    for target in r.targets:
        reading = live[target.number]
        lists = {field: reading.lists.get(field) for field in target.baseline}
        empty = [field for field, entries in lists.items() if not entries]
        if empty:
            raise Refused(f"{target.number} has no {empty[0]} now: restore, roll back or stop instead", **state_of(r))
        if r.shipped is not None and target.written and not shows(lists, wanted_lists(r, target)):
            told = f"{r.shipped} is being shipped, and {target.number} does not serve it"
            raise Refused(f"{told}: restore, roll back or stop instead", **state_of(r))
        targets[target.number] = {
            "split": lists,
            "modified": reading.modified,
            "others": others_of(reading, lists),
            "live": lists,
            "live_at": now,
            **(_adopted(r, target) if target.written else confirmed_at_step(r, target.step)),
            "state": TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED,
        }
    values: RolloutColumns = {"phase": phase, "reason": None}
    if r.reason == HeldReason.SPLIT:
        values["split_waived"] = True
    if r.reason == HeldReason.LABELS:
        values["labels_waived"] = True
    if r.reason == HeldReason.DEADLINE:
        values["deadline_at"] = None
    if r.tags:
        values["tags"] = tags.adopted(r.tags)
    data = {**state_of(r), "lists": {n: t["split"] for n, t in targets.items()}}
    return CommandEffect(
        Change(rollout=values, targets=targets),
        by.entry(CommandKind.ADOPT, data),
        "the live split was adopted by a person",
    )


def restore(r: Rollout, now: datetime, by: By, expect: Position | None, live: Mapping[str, Reading]) -> CommandEffect:
    """Write the rollout's split over what the numbers show now, and continue."""
    if moved := tags.moved(r.tags):
        raise Refused(f"the tag {moved[0]} can only be moved back in Retell: adopt, rollback or stop", **state_of(r))
    paused = _was_paused(r)
    phase = after(r.phase, Event.RESTORE_PAUSED_ASKED if paused else Event.RESTORE_ASKED)
    expect_at(r, expect)
    not_stopping(r)
    targets: dict[str, TargetColumns] = {}
    for target in r.targets:
        reading = live[target.number]
        made_anew = r.reason == HeldReason.IDENTITY and reading.modified < target.modified
        if not made_anew and target.state not in RESTORABLE:
            continue
        lists = {field: reading.lists.get(field) for field in target.baseline}
        # The pre-read must find what is live now; step -1 says that our split must be written again.
        targets[target.number] = {
            "split": lists,
            "modified": reading.modified,
            "others": others_of(reading, lists),
            "step": -1,
            "state": TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED,
        }
    values: RolloutColumns = {"phase": phase, "reason": None, "confirmed_at": None}
    if r.retreated is not None:
        values["turning_since"] = now  # the retreat weight has to be read back again
    return CommandEffect(
        Change(rollout=values, targets=targets),
        by.entry(CommandKind.RESTORE, state_of(r)),
        "a person asked to restore the rollout's split",
    )


def rollback(r: Rollout, now: datetime, by: By, kept: timedelta = KEEP_BASELINE) -> CommandEffect | None:
    """Commit the desired state: every baseline back. Always wins, needs no expected state.

    `kept`: how long after another end the baseline is kept. Refused after that.
    """
    if r.phase is Phase.ROLLED_BACK:
        return None
    if r.phase in (Phase.PROMOTED, Phase.STOPPED) and now > r.updated_at + kept:
        raise Refused(
            f"it ended as {r.phase} more than {kept.days} days ago, and its baseline is no longer kept: "
            "start a rollout of the version to return to",
            **state_of(r),
        )
    if r.phase is Phase.STOPPED and not r.written:
        return None
    phase = after(r.phase, Event.ROLLBACK_ASKED)
    values: RolloutColumns = {"phase": phase, "stop_asked": False}
    if r.phase is not Phase.ROLLING_BACK:
        values |= {"rollback_at": now, "restored_at": None, "reason": by.reason or f"rolled back by {_who(by)}"}
    targets: dict[str, TargetColumns] = {
        t.number: {"state": TargetState.CONFIRMED}
        for t in r.written
        if r.phase.is_final and t.state in (TargetState.RESTORED, TargetState.FOREIGN, TargetState.SUPERSEDED)
    }
    return CommandEffect(
        Change(rollout=values, targets=targets),
        by.entry(CommandKind.ROLLBACK, _asked(r, by)),
        f"rollback ordered by {_who(by)}",
    )


def _asked(r: Rollout, by: By) -> dict[str, Any]:
    """The position of a rollout, and the alert that asked for it, if one did."""
    return CommandGiven.of(r, by.alert).to_json()


def _who(by: By) -> str:
    return "a person" if by.alert is None else "an alert"


def state_of(r: Rollout) -> dict[str, Any]:
    """A rollout's position as JSON, for refusals and the journal."""
    return CommandGiven.of(r).to_json()


def parse_position(text: str) -> Position:
    """WAVE.STEP as people write it; a plain STEP means the first wave. InputError for anything else."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise InputError(f"expect: {text[:40]} is not a position; write WAVE.STEP, for example 1.2")
    return Position(int(found["wave"] or 1), int(found["step"]))


def _adopted(r: Rollout, target: Target) -> TargetColumns:
    """The columns of a target whose live split was adopted: the step that is wanted, but no earlier one than before."""
    step, retreated = r.wanted(target)
    if max(step, target.step) <= r.plan.last_step:
        return confirmed_at_step(r, max(target.step, step), retreated)
    return confirmed_at_step(r, step or target.step, retreated)  # a person's split has no order among steps


def _was_paused(r: Rollout) -> bool:
    """True if an answer to drift leads back to paused: also before the start, since only `resume` starts a rollout."""
    return r.resume_phase is Phase.PAUSED or r.started_at is None


def not_stopping(r: Rollout) -> None:
    """Raise Refused while the rollout is being stopped."""
    if r.stop_asked:
        raise Refused("it is being stopped: only a rollback can still be ordered", **state_of(r))


def expect_at(r: Rollout, expect: Position | None) -> None:
    """Raise StaleExpectation if the rollout is not at the position that the caller saw."""
    if expect is not None and expect != r.position:
        raise StaleExpectation(
            f"you expected it at {expect}, but it is at {r.position} ({r.phase}); nothing was changed", **state_of(r)
        )
