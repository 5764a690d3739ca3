"""What readings change in what we know: the split we confirmed against the split we read.

`absorb` is the only place where a reading becomes a change of a target or the outcome of an earlier
write. It decides nothing about the rollout as a whole; that is `decide`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.protocol import Examined, Finding, examine, others_of

# Phases in which our own split must come back by itself if somebody's late write moved it.
_UNDOING = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})
_SHOWN_AS_KNOWN = frozenset({Finding.AS_EXPECTED, Finding.OTHER_FIELDS, Finding.TOUCHED, Finding.NOT_APPLIED})


class Blocked(StrEnum):
    """Why a number could not be read."""

    MISSING = "missing"  # 404 or 422: Retell does not know it
    KEY = "key"  # 401 or 403: Retell does not accept the key
    UNREACHABLE = "unreachable"  # anything else


@dataclass(frozen=True)
class NumberScan:
    """One look at some numbers, begun at `began`: what each said, and what that changes."""

    began: datetime
    findings: Mapping[str, Finding | Blocked]
    change: Change
    notes: tuple[str, ...] = ()
    detail: Mapping[str, str] = field(default_factory=dict)

    def numbers(self, *wanted: Finding | Blocked) -> list[str]:
        """The numbers with one of these findings, in the order they were read."""
        return [number for number, finding in self.findings.items() if finding in wanted]

    def merged(self, later: NumberScan) -> NumberScan:
        """This look with a later one laid over it; it began when its oldest reading that still counts did."""
        renewed = self.findings.keys() <= later.findings.keys()
        return NumberScan(
            later.began if renewed else min(self.began, later.began),
            {**self.findings, **later.findings},
            self.change.merged(later.change),
            (*self.notes, *later.notes),
            {**self.detail, **later.detail},
        )


def absorb(
    rollout: Rollout,
    readings: Mapping[str, Reading | Blocked],
    began: datetime,
    now: datetime,
    believed: Container[str] = (),
) -> NumberScan:
    """What these readings, begun at `began`, say about the rollout's targets and open writes.

    The time stamps of `believed` numbers are taken although they are older than one seen before (see `settles`).
    """
    open_by_number: dict[str, list[Write]] = {}
    for write in (*rollout.writes, *rollout.foreign_open):
        if write.outcome is None or write.horizon_until > began:
            open_by_number.setdefault(write.number, []).append(write)
    findings: dict[str, Finding | Blocked] = {}
    targets: dict[str, Mapping[str, Any]] = {}
    writes: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for number, shown in readings.items():
        target = rollout.by_number[number]
        if isinstance(shown, Blocked):
            findings[number] = shown
            if shown is Blocked.MISSING:
                targets[number] = {"state": TargetState.MISSING}
                writes |= _over(open_by_number.get(number, ()), began)
            continue
        older = number in believed and shown.modified < target.modified
        if older:
            target = replace(target, modified=shown.modified)
        examined = examine(target, shown, open_by_number.get(number, ()), began, rollout.plan)
        findings[number] = examined.finding
        changed = _target(rollout, target, shown, examined, now)
        if changed or older:
            targets[number] = {"modified": shown.modified, **changed} if older else changed
        if examined.finding is not Finding.STALE:
            writes |= _over(open_by_number.get(number, ()), began)
        if examined.finding is Finding.APPLIED and examined.write is not None:
            writes[examined.write.id] = {"outcome": WriteOutcome.APPLIED}
        elif examined.finding is Finding.OTHER_FIELDS:
            notes.append(f"{number}: another field was edited; the split is as confirmed")
    mine = {w.id for w in rollout.writes}
    return NumberScan(
        began, findings, Change(targets=targets, writes={k: v for k, v in writes.items() if k in mine}), tuple(notes)
    )


def settles(phase: Phase) -> bool:
    """Whether several equal readings settle what a number shows, although it showed a newer time stamp before.

    A reading is stale for at most R seconds, so a stamp that several readings, R apart, do not show was a mistake of
    Retell's. Where a step may follow, nothing is settled this way and a person is asked (held: identity).
    """
    return phase.is_final or phase in (Phase.ROLLING_BACK, Phase.HELD)


def _over(writes: Sequence[Write], began: datetime) -> dict[str, Mapping[str, Any]]:
    """Writes that this reading settles by its time alone: it began after their horizon.

    Whatever the number shows by then, such a write is not what it shows and can no longer take effect. A
    write that is left without an outcome would keep its number closed for ever.
    """
    return {
        w.id: {"outcome": WriteOutcome.NOT_APPLIED} for w in writes if w.outcome is None and began >= w.horizon_until
    }


def _target(r: Rollout, target: Target, shown: Reading, examined: Examined, now: datetime) -> dict[str, Any]:
    phase = r.phase
    if target.state is TargetState.SUPERSEDED:
        return {}  # what it shows is a later rollout's
    newest = {"modified": shown.modified, "others": others_of(shown, target.baseline)}
    seen: dict[str, Any] = {"live": _managed(target, shown), "live_at": now}
    if target.state is TargetState.MISSING and examined.finding in _SHOWN_AS_KNOWN:
        # It was gone and is back as we knew it: it has to be undone, or goes on, like every other number.
        back = TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED
        undone = phase in _UNDOING and target.step == 0
        return {**newest, "state": TargetState.RESTORED if undone else back, **seen}
    match examined.finding:
        case Finding.APPLIED:
            assert examined.write is not None
            write = examined.write
            forward = write.kind is Kind.FORWARD
            return {
                **newest,
                "split": dict(write.lists),
                **(r.standing(write.step, write.retreated) if forward else r.standing(0)),
                "state": TargetState.CONFIRMED if forward else TargetState.RESTORED,
                **seen,
            }
        case Finding.OTHER_FIELDS:
            return newest
        case Finding.TOUCHED:
            # While undoing, and after the end, a touch that changed nothing is of no concern.
            return newest if phase in _UNDOING or phase.is_final else {"state": TargetState.TOUCHED, **seen}
        case Finding.LATE_OWN if phase in _UNDOING:
            # An earlier write of ours landed late: the baseline has to be written again.
            return {**newest, "state": TargetState.CONFIRMED, "split": _managed(target, shown), "step": -1, **seen}
        case Finding.LATE_OWN if phase is Phase.PROMOTED:
            return {**newest, "split": _managed(target, shown), "step": -1, **seen}
        case Finding.AT_BASELINE if phase in _UNDOING:
            return {**newest, "state": TargetState.RESTORED, "split": _managed(target, shown), **r.standing(0), **seen}
        case Finding.DRIFT | Finding.AT_BASELINE | Finding.LATE_OWN:
            if phase in _UNDOING:
                left_alone = target.state in (TargetState.RESTORED, TargetState.MISSING)
                return {"state": TargetState.FOREIGN, **seen} if left_alone else seen
            return {"state": TargetState.DRIFTED, **seen}
        case _:
            return {}


def _managed(target: Target, shown: Reading) -> dict[str, Any]:
    return {field: shown.lists.get(field) for field in target.baseline}
