"""The changes that readings make in our records: drift from the confirmed split, and outcomes of earlier writes.

`absorb` is the only place where a reading changes a target or the outcome of an earlier write. It decides nothing
about the rollout as a whole; `decide` does that.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.domain.lifecycle.changes import Change, WriteResult
from rollout.domain.lifecycle.columns import TargetColumns, confirmed_at_step
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.protocol import Examined, Finding, examine_reading, others_of

# Phases in which the baseline must be written again if a late write changed it.
_UNDOING = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})
_SHOWN_AS_KNOWN = frozenset({Finding.AS_EXPECTED, Finding.OTHER_FIELDS, Finding.TOUCHED, Finding.NOT_APPLIED})


class Blocked(StrEnum):
    """The reason that a number could not be read."""

    MISSING = "missing"  # 404 or 422: Retell does not know it
    KEY = "key"  # 401 or 403: Retell does not accept the key
    UNREACHABLE = "unreachable"  # anything else


@dataclass(frozen=True)
class NumberScan:
    """One scan of some numbers, begun at `began`: the finding for each, and what it changes in our records."""

    began: datetime
    findings: Mapping[str, Finding | Blocked]
    change: Change
    notes: tuple[str, ...] = ()

    def numbers(self, *wanted: Finding | Blocked) -> list[str]:
        """The numbers with one of these findings, in the order they were read."""
        return [number for number, finding in self.findings.items() if finding in wanted]

    def merged(self, later: NumberScan) -> NumberScan:
        """Both scans, the later one over this one. It began with the oldest reading that still counts."""
        renewed = self.findings.keys() <= later.findings.keys()
        return NumberScan(
            later.began if renewed else min(self.began, later.began),
            {**self.findings, **later.findings},
            self.change.merged(later.change),
            (*self.notes, *later.notes),
        )


def absorb(
    rollout: Rollout,
    readings: Mapping[str, Reading | Blocked],
    began: datetime,
    now: datetime,
    believed: Container[str] = (),
) -> NumberScan:
    """The scan that these readings, begun at `began`, make of the rollout's targets and open writes.

    The time stamps of `believed` numbers are accepted although an earlier reading showed a newer one (see
    `believes_equal_readings`).
    """
    open_by_number: dict[str, list[Write]] = {}
    for write in (*rollout.writes, *rollout.foreign_open):
        if write.outcome is None or write.horizon_until > began:
            open_by_number.setdefault(write.number, []).append(write)
    found = _Absorbed(rollout, began, now)
    for number, shown in readings.items():
        writes = open_by_number.get(number, ())
        if isinstance(shown, Blocked):
            found.blocked(number, shown, writes)
        else:
            found.reading(rollout.by_number[number], shown, writes, believed=number in believed)
    return found.scan


@dataclass
class _Absorbed:
    """The scan in the making, number by number."""

    rollout: Rollout
    began: datetime
    now: datetime
    findings: dict[str, Finding | Blocked] = field(default_factory=dict)
    targets: dict[str, TargetColumns] = field(default_factory=dict)
    writes: dict[str, WriteResult] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def scan(self) -> NumberScan:
        mine = {w.id for w in self.rollout.writes}
        writes = {id_: result for id_, result in self.writes.items() if id_ in mine}
        return NumberScan(self.began, self.findings, Change(targets=self.targets, writes=writes), tuple(self.notes))

    def blocked(self, number: str, why: Blocked, writes: Sequence[Write]) -> None:
        """Record that a number could not be read. A number that is gone is a finding like any other."""
        self.findings[number] = why
        if why is Blocked.MISSING:
            self.targets[number] = {"state": TargetState.MISSING}
            self.writes |= _over(writes, self.began)

    def reading(self, target: Target, shown: Reading, writes: Sequence[Write], *, believed: bool) -> None:
        """Record what a number shows; `believed`: even if an earlier reading showed a newer time stamp."""
        older = believed and shown.modified < target.modified
        if older:
            target = replace(target, modified=shown.modified)
        examined = examine_reading(target, shown, writes, self.began, self.rollout.plan, self.rollout.hand_splits)
        self.findings[target.number] = examined.finding
        changed = _target(self.rollout, target, shown, examined, self.now)
        if changed or older:
            self.targets[target.number] = {"modified": shown.modified, **changed} if older else changed
        if examined.finding is not Finding.STALE:
            self.writes |= _over(writes, self.began)
        if examined.finding is Finding.APPLIED and examined.write is not None:
            self.writes[examined.write.id] = WriteResult(WriteOutcome.APPLIED)
        elif examined.finding is Finding.OTHER_FIELDS:
            self.notes.append(f"{target.number}: another field was changed; the split is still as confirmed")


def believes_equal_readings(phase: Phase) -> bool:
    """True if several equal readings settle what a number shows, although it showed a newer time stamp before.

    A reading is stale for at most R seconds, so a time stamp that several readings, R apart, do not show was a mistake of
    Retell's. Where a step may follow, nothing is settled this way: the rollout is held for a person (identity).
    """
    return phase.is_final or phase in (Phase.ROLLING_BACK, Phase.HELD)


def _over(writes: Sequence[Write], began: datetime) -> dict[str, WriteResult]:
    """Writes that this reading settles by its time alone: it began after their horizon.

    Whatever the number shows by then, it is not the result of such a write, and the write can no longer take effect.
    A write without an outcome would block its number forever.
    """
    return {
        w.id: WriteResult(WriteOutcome.NOT_APPLIED) for w in writes if w.outcome is None and began >= w.horizon_until
    }


def _target(r: Rollout, target: Target, shown: Reading, examined: Examined, now: datetime) -> TargetColumns:
    """The fields of a target that a reading changes."""
    if target.state is TargetState.SUPERSEDED:
        return {}  # what it shows is a later rollout's
    newest: TargetColumns = {"modified": shown.modified, "others": others_of(shown, target.baseline)}
    seen: TargetColumns = {"live": _managed(target, shown), "live_at": now}
    if target.state is TargetState.MISSING and examined.finding in _SHOWN_AS_KNOWN:
        return {**newest, "state": _state_of_returned(r, target), **seen}
    match examined.finding:
        case Finding.APPLIED:
            assert examined.write is not None
            return {**newest, **_applied(r, examined.write), **seen}
        case Finding.OTHER_FIELDS:
            return newest
        case Finding.TOUCHED:
            # During a rollback and after the end, a touch that changed nothing does not matter.
            unconcerned = r.phase in _UNDOING or r.phase.is_final
            return newest if unconcerned else {"state": TargetState.TOUCHED, **seen}
        case Finding.DRIFT | Finding.AT_BASELINE | Finding.LATE_OWN:
            own = _moved_by_us(r, target, shown, examined.finding)
            return {**newest, **own, **seen} if own is not None else {**_moved_by_others(r, target), **seen}
        case _:
            return {}


def _state_of_returned(r: Rollout, target: Target) -> TargetState:
    """The state of a number that was gone and is back unchanged: from now on it is treated like the others."""
    if r.phase in _UNDOING and target.step == 0:
        return TargetState.RESTORED
    return TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED


def _applied(r: Rollout, write: Write) -> TargetColumns:
    if write.kind is Kind.FORWARD:
        place, state = confirmed_at_step(r, write.step, write.retreated), TargetState.CONFIRMED
    else:
        place, state = confirmed_at_step(r, 0), TargetState.RESTORED
    return {"split": dict(write.lists), **place, "state": state}


def _moved_by_us(r: Rollout, target: Target, shown: Reading, finding: Finding) -> TargetColumns | None:
    """The columns for a known split that we did not expect now; None if it counts as somebody else's."""
    split: TargetColumns = {"split": _managed(target, shown)}
    match finding:
        case Finding.LATE_OWN if r.phase in _UNDOING or r.phase is Phase.PROMOTED:
            # An earlier write of ours landed late: the wanted split must be written again.
            return {"state": TargetState.CONFIRMED, **split, "step": -1}
        case Finding.AT_BASELINE if r.phase in _UNDOING:
            return {"state": TargetState.RESTORED, **split, **confirmed_at_step(r, 0)}
        case _:
            return None


def _moved_by_others(r: Rollout, target: Target) -> TargetColumns:
    if r.phase not in _UNDOING:
        return {"state": TargetState.DRIFTED}
    left_alone = target.state in (TargetState.RESTORED, TargetState.MISSING)
    return {"state": TargetState.FOREIGN} if left_alone else {}


def _managed(target: Target, shown: Reading) -> dict[str, Any]:
    return {field: shown.lists.get(field) for field in target.baseline}
