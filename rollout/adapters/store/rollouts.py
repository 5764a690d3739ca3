"""Rollouts in the store: create, and the one way to change them.

Every change goes through `commit` (a driver that holds the claim, or a command) or through `settle`
(facts about a write, which are true with or without the claim). Both write tables and journal in one
transaction. A little over 300 lines: what may be written, and under which condition, is read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Dialect, Row, bindparam, exc, insert, or_, select, update

from rollout.adapters.store import journal as journals
from rollout.adapters.store import rollout_names, signals
from rollout.adapters.store.bulk import Bulk, in_parts, inserts, update_one, updates
from rollout.adapters.store.journal import GENESIS, Worded, worded
from rollout.adapters.store.queries import head_of
from rollout.adapters.store.rows import from_rollout, from_target, from_write
from rollout.adapters.store.snapshots import Head
from rollout.adapters.store.tables import DRIVEN, rollouts, targets, writes
from rollout.domain.errors import ClaimLost, Refused, UnknownRollout
from rollout.domain.lifecycle.changes import Change, columns_to_json, target_to_json
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import SCHEDULING, Kind, Rollout, Target, TargetState
from rollout.domain.lifecycle.waiting import at_rest

_NOT_IN_JOURNAL = SCHEDULING | {"created_at"}  # which is the entry's own moment


def create(connection: Connection, rollout: Rollout, entry: JournalEntry, now: datetime) -> Head:
    """Record a new rollout with its targets and baselines; its journal's head.

    NameTaken when a live rollout has its name, Refused when one drives a number of it.
    """
    if rollout.phase.is_live:
        rollout_names.claim_name(connection, rollout.name)
    data = {
        **(entry.data or {}),
        "rollout": {k: v for k, v in columns_to_json(from_rollout(rollout)).items() if k not in _NOT_IN_JOURNAL},
        "targets": [target_to_json(t) for t in rollout.targets],
    }
    connection.execute(insert(rollouts), {**from_rollout(rollout), "journal_seq": 0, "journal_hash": GENESIS})
    add_targets(connection, rollout.id, rollout.targets)
    supersede(connection, rollout.id, rollout.name, [t.number for t in rollout.targets], now)
    head = journals.append(connection, rollout.id, (0, GENESIS), [worded(replace(entry, data=data))], now)
    _set_head(connection, rollout.id, head)
    signals.send(connection, signals.WAKE)
    return Head(*head)


def add_targets(connection: Connection, rollout_id: str, added: Sequence[Target]) -> None:
    """Record targets; Refused when one of them is being driven already."""
    try:
        for bulk in inserts(connection.dialect, targets, [from_target(rollout_id, t) for t in added]):
            bulk.run(connection)
    except exc.IntegrityError:
        raise taken(rollout_id, [t.number for t in added]) from None


def supersede(connection: Connection, rollout_id: str, name: str, numbers: Sequence[str], now: datetime) -> None:
    """End the watch of earlier, finished rollouts over these numbers.

    They could take what the new rollout writes for a late write of their own, and write their own split over it. A
    process that watches one of them at this moment loses its claim: its readings are from before.
    """
    t = targets.c
    earlier: dict[str, list[str]] = {}
    for some in in_parts(numbers):
        query = (
            select(t.rollout_id, t.number)
            .join(rollouts, rollouts.c.id == t.rollout_id)
            .where(
                t.number.in_(some),
                t.rollout_id != rollout_id,
                t.driven.is_(False),
                t.state != TargetState.SUPERSEDED,
                rollouts.c.watch_until > now,
            )
        )
        for row in connection.execute(query):
            earlier.setdefault(row.rollout_id, []).append(row.number)
    for id_ in sorted(earlier):
        change = Change(targets={n: {"state": TargetState.SUPERSEDED} for n in earlier[id_]})
        entry = JournalEntry("superseded", "service", f"its numbers went to {name} ({rollout_id})")
        before = head_row(connection, id_)
        epoch = int(before.epoch) + 1
        extra = {"epoch": epoch, "lease_owner": None, "lease_until": None, "crashes": 0}
        _apply(connection, before, recording(connection.dialect, id_, change, [entry]), now, extra)
        signals.send(connection, signals.taken(id_, epoch))


def taken(rollout_id: str, numbers: Sequence[str]) -> Refused:
    """The refusal because another live rollout drives one of these numbers."""
    return Refused(
        "a number of this rollout is already driven by another live rollout: roll that one back, stop it "
        "or wait until it ends",
        numbers=list(numbers)[:10],
        rollout_id=rollout_id,
    )


_HEAD = (
    select(*(rollouts.c[name] for name in ("id", "name", "phase", "epoch", "journal_seq", "journal_hash")))
    .where(rollouts.c.id == bindparam("wanted"))
    .with_for_update()
)


def head_row(connection: Connection, rollout_id: str) -> Row[Any]:
    """The head of the rollout's row, which is locked for the rest of the transaction."""
    row = connection.execute(_HEAD, {"wanted": rollout_id}).one_or_none()
    if row is None:
        raise UnknownRollout.for_id(rollout_id)
    return row


@dataclass(frozen=True, slots=True)
class Recording:
    """A change made ready to be recorded: its rows, and its journal entries in words.

    Prepared before the row (on SQLite: the database) is locked: for a fleet, that takes longer than running it, and a
    rollback must not wait for it.
    """

    change: Change
    bulks: Sequence[Bulk]
    entries: Sequence[Worded]


def recording(dialect: Dialect, rollout_id: str, change: Change, entries: Sequence[JournalEntry]) -> Recording:
    """The change of one rollout with the entries that tell of it."""
    bulks = [
        *inserts(dialect, writes, [from_write(w) for w in change.new_writes]),
        *updates(dialect, targets, rollout_id, "number", change.targets),
        *updates(dialect, writes, rollout_id, "id", {id_: result.columns() for id_, result in change.writes.items()}),
    ]
    # The first entry carries the change itself: the tables can be rebuilt from the journal alone.
    more = [{"change": change.to_json()} if change and not i else {} for i in range(len(entries))]
    return Recording(change, bulks, [worded(e, **m) for e, m in zip(entries, more, strict=True)])


def commit(
    connection: Connection, claim: Claim, record: Recording, now: datetime, *, lease: timedelta | None = None
) -> tuple[Head, Head]:
    """Record a change of the driver. If its epoch is no longer the current one: ClaimLost, and nothing is recorded.

    Returns the head of the journal before and after.

    New forward writes are refused while any write on their number is open (invariants I2, I3); `lease`
    renews the lease, so that it covers what is about to be sent.
    """
    row = head_row(connection, claim.rollout_id)
    if row.epoch != claim.epoch:
        raise ClaimLost(rollout_id=claim.rollout_id)
    new_writes = record.change.new_writes
    if any(w.kind is Kind.FORWARD for w in new_writes):
        if Phase(row.phase) not in (Phase.PROGRESSING, Phase.PROMOTED):
            raise ClaimLost(rollout_id=claim.rollout_id)
        _refuse_open(connection, [w.number for w in new_writes], now)
    extra = {"lease_until": now + lease, "lease_owner": claim.owner} if lease is not None else {}
    return head_of(row), _apply(connection, row, record, now, extra)


def command(
    connection: Connection, row: Row[Any], change: Change, entry: JournalEntry, now: datetime, why: str
) -> tuple[int, Head]:
    """Record a command: raise the epoch, so that the driver loses its claim, and make the rollout due now.

    Returns the new epoch and the new head of the journal. The caller holds the row (`head_row`).
    """
    extra = {
        "epoch": row.epoch + 1,
        "lease_owner": None,
        "lease_until": None,
        "due_at": now,
        "tries": 0,
        "crashes": 0,  # a driver that loses its claim to a command has not crashed
        "why": why,
        "next": "",
        "waiting_for": at_rest(Phase(change.rollout.get("phase", row.phase))),
    }
    head = _apply(connection, row, recording(connection.dialect, row.id, change, [entry]), now, extra)
    signals.send(connection, signals.taken(row.id, int(row.epoch) + 1))
    return int(row.epoch) + 1, head


def record_outcomes(
    connection: Connection, rollout_id: str, record: Recording, entry: JournalEntry, now: datetime
) -> None:
    """Record outcomes of writes after the claim was lost: a definite answer stays true under any driver.

    Only outcomes that are still unknown are set, by the write's id. The target is updated with its write, unless a
    newer reading is recorded: otherwise our own split would look like drift.
    """
    change = record.change
    row = head_row(connection, rollout_id)
    unknown = {
        w.id: w.number
        for w in connection.execute(
            select(writes.c.id, writes.c.number).where(writes.c.id.in_(list(change.writes)), writes.c.outcome.is_(None))
        )
    }
    seen = {
        number: values
        for number, values in change.targets.items()
        if "modified" in values and number in unknown.values()
    }
    for known in connection.execute(
        select(targets.c.number, targets.c.modified).where(
            targets.c.rollout_id == rollout_id, targets.c.number.in_(list(seen))
        )
    ):
        if known.modified >= seen[known.number]["modified"]:
            del seen[known.number]
    facts = Change(targets=seen, writes={k: v for k, v in change.writes.items() if k in unknown})
    if facts != change:
        record = recording(connection.dialect, rollout_id, facts, [entry])
    if facts:
        _apply(connection, row, record, now, {})


def note(connection: Connection, rollout_id: str, entry: JournalEntry, now: datetime) -> None:
    """Record an entry that changes nothing, with or without a claim."""
    row = head_row(connection, rollout_id)
    _apply(connection, row, recording(connection.dialect, rollout_id, Change(), [entry]), now, {})


def _refuse_open(connection: Connection, numbers: Sequence[str], now: datetime) -> None:
    for some in in_parts(numbers):
        row = connection.execute(_OPEN, {"numbers": some, "at": now}).first()
        if row is not None:
            raise ClaimLost("a write on this number may still take effect", number=row.number)


_OPEN = (
    select(writes.c.number)
    .where(
        writes.c.number.in_(bindparam("numbers", expanding=True)),
        or_(writes.c.outcome.is_(None), writes.c.horizon_until > bindparam("at")),
    )
    .limit(1)
)


def _apply(connection: Connection, row: Row[Any], record: Recording, now: datetime, extra: dict[str, Any]) -> Head:
    change = record.change
    for bulk in record.bulks:
        bulk.run(connection)
    phase = change.rollout.get("phase")
    if phase is not None and phase != row.phase:
        _set_driven(connection, row.id, Phase(phase), change)
        extra = {"waiting_for": at_rest(Phase(phase)), **extra}
    head = journals.append(connection, row.id, (row.journal_seq, row.journal_hash), record.entries, now)
    values = {**change.rollout, **extra, "journal_seq": head[0], "journal_hash": head[1], "updated_at": now}
    update_one(connection.dialect, rollouts, row.id, values).run(connection)
    return Head(*head)


def _set_driven(connection: Connection, rollout_id: str, phase: Phase, change: Change) -> None:
    if phase.is_final:
        connection.execute(_LET_GO, {"mine": rollout_id})
        return
    try:
        with connection.begin_nested():
            query = update(targets).where(targets.c.rollout_id == rollout_id, targets.c.driven.is_(False))
            if phase is Phase.ROLLING_BACK:
                query = query.where(targets.c.written)
            connection.execute(query.values(driven=True))
    except exc.IntegrityError:
        raise taken(rollout_id, sorted(change.targets)) from None


_LET_GO = update(targets).where(targets.c.rollout_id == bindparam("mine"), DRIVEN).values(driven=False)


def _set_head(connection: Connection, rollout_id: str, head: tuple[int, str]) -> None:
    connection.execute(
        update(rollouts).where(rollouts.c.id == rollout_id).values(journal_seq=head[0], journal_hash=head[1])
    )


def begin(
    connection: Connection, claim: Claim, added: Sequence[Target], change: Change, entry: JournalEntry, now: datetime
) -> None:
    """Add the targets of a scheduled rollout when it begins, under its driver's claim."""
    row = head_row(connection, claim.rollout_id)
    if row.epoch != claim.epoch:
        raise ClaimLost(rollout_id=claim.rollout_id)
    add_targets(connection, claim.rollout_id, added)
    supersede(connection, claim.rollout_id, row.name, [t.number for t in added], now)
    data = {**(entry.data or {}), "targets": [target_to_json(t) for t in added]}
    record = recording(connection.dialect, claim.rollout_id, change, [replace(entry, data=data)])
    _apply(connection, row, record, now, {})
