"""Rollouts out of the store, for those that decide: whole, by number, and all that a drift scan compares.

Each is asked inside the caller's transaction. What people look at is read by interface_queries.py, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.rows import to_plan, to_rollout, to_target, to_write
from rollout.adapters.store.snapshots import Head, Snapshots
from rollout.adapters.store.tables import DRIVEN, LEFT, LIVE, rollouts, targets, writes
from rollout.adapters.store.types import UtcDateTime
from rollout.domain.errors import UnknownRollout
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import RECENT, Kind, Rollout, Target, TargetState, Write
from rollout.domain.plan.plan import Plan
from rollout.engine.ports import NumberOwner


def load(
    connection: Connection, rollout_id: str, now: datetime, known: Snapshots | None = None, *, open_writes: bool = True
) -> Rollout:
    """A snapshot with its targets and, unless told otherwise, every open write; UnknownRollout if there is none.

    Targets that are `known` at the head of the journal are not read again. They are kept there only if the
    connection sees the row and the targets at one moment: in a reading transaction, or under the row's lock.
    """
    wanted = {"wanted": rollout_id}
    row = connection.execute(_ROLLOUT, wanted).one_or_none()
    if row is None:
        raise UnknownRollout.for_id(rollout_id)
    head = head_of(row)
    found = known.get(rollout_id, head) if known is not None else None
    if found is None:
        found = tuple(to_target(t) for t in connection.execute(_TARGETS, wanted))
        if known is not None and Phase(row.phase).is_live:
            known.put(rollout_id, head, found)
    mine: list[Write] = []
    foreign: list[Write] = []
    rows = connection.execute(_OPEN_WRITES, {**wanted, "at": now}).all() if open_writes else ()
    for w in rows:
        (mine if w.rollout_id == rollout_id else foreign).append(to_write(w))
    if open_writes and row.phase in _GOING_BACK:
        known_ids = {w.id for w in mine}
        answered = connection.execute(_ANSWERED, {**wanted, "since": now - RECENT})
        mine = [*(to_write(w) for w in answered if w.id not in known_ids), *mine]
        mine.sort(key=lambda w: (w.intent_at, w.id))
    return to_rollout(row, found, mine, foreign)


_GOING_BACK = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})


# Built once: building a statement costs more than running it on rows as few as these.
_ROLLOUT = select(rollouts).where(rollouts.c.id == bindparam("wanted"))
_TARGETS = select(targets).where(targets.c.rollout_id == bindparam("wanted")).order_by(targets.c.ord)
_OPEN_WRITES = (
    select(writes)
    .where(
        or_(
            writes.c.rollout_id == bindparam("wanted"),
            writes.c.number.in_(select(targets.c.number).where(targets.c.rollout_id == bindparam("wanted"))),
        ),
        or_(writes.c.outcome.is_(None), writes.c.horizon_until > bindparam("at")),
    )
    .order_by(writes.c.intent_at, writes.c.id)
)

_ANSWERED = select(writes).where(
    writes.c.rollout_id == bindparam("wanted"),
    writes.c.kind == Kind.BASELINE,
    writes.c.answered.is_not(None),
    writes.c.intent_at > bindparam("since"),
)


def exists(connection: Connection, rollout_id: str) -> None:
    """UnknownRollout when there is no such rollout."""
    if connection.execute(select(rollouts.c.id).where(rollouts.c.id == rollout_id)).first() is None:
        raise UnknownRollout.for_id(rollout_id)


@dataclass(frozen=True, slots=True)
class Watched:
    """A target whose live split should be what we know; `driven`: its rollout is live."""

    rollout_id: str
    target: Target
    phase: Phase
    plan: Plan
    driven: bool


def watched(connection: Connection, since: datetime) -> list[Watched]:
    """Everything a drift scan compares: live rollouts, and final ones still under watch at `since`."""
    rows = [*connection.execute(_DRIVEN), *connection.execute(_LEFT)]
    of: dict[str, Row[Any]] = {}
    for some in in_parts(sorted({row.rollout_id for row in rows})):
        of |= {r.id: r for r in connection.execute(_PLANS, {"ids": some})}
    plans: dict[str, Plan] = {}
    found = []
    for row in rows:
        r = of[row.rollout_id]
        if row.driven or (r.watch_until is not None and r.watch_until > since):
            if r.id not in plans:
                plans[r.id] = to_plan(r.plan, r.plan_digest)
            found.append(Watched(r.id, to_target(row), Phase(r.phase), plans[r.id], row.driven))
    return found


# By indices of what is live and of what is the last that was written to a number: both are as long as the list of
# numbers, and not as the history.
_DRIVEN = select(targets).where(DRIVEN, targets.c.state != TargetState.SUPERSEDED)
_LEFT = select(targets).where(LEFT)
_PLANS = select(*(rollouts.c[name] for name in ("id", "phase", "plan", "plan_digest", "watch_until"))).where(
    rollouts.c.id.in_(bindparam("ids", expanding=True))
)


def drivers(connection: Connection, numbers: Sequence[str] | None = None) -> dict[str, NumberOwner]:
    """Each of these numbers (None: of all) that a live rollout drives, with that rollout."""
    r = rollouts.c
    query = select(targets.c.number, r.id, r.name, r.phase).join(rollouts, r.id == targets.c.rollout_id).where(DRIVEN)
    queries = [query] if numbers is None else [query.where(targets.c.number.in_(some)) for some in in_parts(numbers)]
    return {number: NumberOwner(*owner) for each in queries for number, *owner in connection.execute(each)}


def head_of(row: Row[Any]) -> Head:
    """The head of a rollout's journal."""
    return Head(row.journal_seq, row.journal_hash)


def summaries(
    connection: Connection, live: bool | None, before: tuple[datetime, str] | None, limit: int | None, name: str | None
) -> list[Rollout]:
    """Rollouts without their targets and writes, newest first, as Store.summaries says."""
    r = rollouts.c
    query = select(rollouts).order_by(r.created_at.desc(), r.id.desc()).limit(limit)
    if live is not None:
        query = query.where(LIVE if live else ~LIVE)
    if name is not None:
        query = query.where(r.name == name)
    if before is not None:
        at, id_ = before
        query = query.where((r.created_at < at) | ((r.created_at == at) & (r.id < id_)))
    return [to_rollout(row) for row in connection.execute(query)]


def writers(connection: Connection, number: str) -> list[tuple[str, Phase]]:
    """Ids and phases of the rollouts that have written this number, newest first."""
    query = (
        select(rollouts.c.id, rollouts.c.phase)
        .join(rollouts, rollouts.c.id == targets.c.rollout_id)
        .where(targets.c.number == number, targets.c.written)
        .order_by(rollouts.c.created_at.desc(), rollouts.c.id.desc())
    )
    return [(row.id, Phase(row.phase)) for row in connection.execute(query)]


def phase(connection: Connection, rollout_id: str) -> Phase:
    """The phase of a rollout; UnknownRollout."""
    found = connection.execute(select(rollouts.c.phase).where(rollouts.c.id == rollout_id)).scalar_one_or_none()
    if found is None:
        raise UnknownRollout.for_id(rollout_id)
    return Phase(found)


def in_flight(connection: Connection) -> Sequence[str]:
    """Ids of the rollouts between their first step and their end."""
    return connection.execute(_IN_FLIGHT).scalars().all()


def promoted_lately(connection: Connection, now: datetime) -> Sequence[str]:
    """Ids of the promoted rollouts whose calls are still watched."""
    return connection.execute(_PROMOTED, {"now": now}).scalars().all()


# By the numbers that are driven, of which there is a small index: what waits for its start has none.
_IN_FLIGHT = (
    select(rollouts.c.id)
    .join(targets, targets.c.rollout_id == rollouts.c.id)
    .where(
        DRIVEN,
        rollouts.c.phase.in_([str(p) for p in (Phase.PROGRESSING, Phase.PAUSED, Phase.HELD)]),
        rollouts.c.started_at.is_not(None),
    )
    .distinct()
)

# The last that was written to each number, of which there is an index as long as the list of numbers.
_PROMOTED = (
    select(rollouts.c.id)
    .where(
        rollouts.c.id.in_(select(targets.c.rollout_id).where(LEFT)),
        rollouts.c.phase == str(Phase.PROMOTED),
        rollouts.c.watch_until > bindparam("now", type_=UtcDateTime),
    )
    .order_by(rollouts.c.id)
)
