"""The figures that /metrics shows, read in one transaction: a restart loses none, and replicas agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, or_, select

from rollout.domain.machine import Phase
from rollout.domain.state import Rollout, Target
from rollout.store.engine import Database
from rollout.store.outbox import Failing, failing
from rollout.store.rollouts import summary
from rollout.store.rows import to_target
from rollout.store.tables import journal, outbox, rollouts, services, targets, writes

MOST = 1000  # rollouts shown one by one; the counts by phase cover all
ENDED_WITHIN = timedelta(days=1)
ALIVE_WITHIN = timedelta(seconds=30)
_FINAL = [str(p) for p in Phase if p.is_final]
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one address, by its digest; `oldest` is when the oldest of it was put in."""

    channel: str
    waiting: int
    given_up: int
    oldest: datetime | None


@dataclass(frozen=True)
class Figures:
    """Everything at one moment. `rollouts` are the live ones and those that ended in the last day, newest first."""

    now: datetime
    rollouts: Sequence[Rollout]
    writes: Sequence[tuple[str, str, str, int]]  # (rollout id, kind, outcome or "unknown", how many)
    phases: dict[str, int]
    alive: int
    queues: Sequence[Queue]
    failing: Sequence[Failing]


Mark = tuple[datetime, int, int]  # when a rollout was last recorded, its newest entry, its epoch


@dataclass
class Targets:
    """The targets of rollouts, read again only when their rollout was recorded anew."""

    known: dict[str, tuple[Mark, tuple[Target, ...]]] = field(default_factory=dict)

    def complete(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Rollout]:
        """The rollouts of these rows with their targets; forgets the others."""
        marks: dict[str, Mark] = {row.id: (row.updated_at, row.journal_seq, row.epoch) for row in rows}
        stale = [id_ for id_, mark in marks.items() if self.known.get(id_, (None,))[0] != mark]
        read: dict[str, list[Target]] = {id_: [] for id_ in stale}
        for start in range(0, len(stale), _CHUNK):
            query = select(targets).where(targets.c.rollout_id.in_(stale[start : start + _CHUNK]))
            for row in connection.execute(query.order_by(targets.c.ord)):
                read[row.rollout_id].append(to_target(row))
        fresh = {id_: (marks[id_], tuple(found)) for id_, found in read.items()}
        self.known = {id_: fresh.get(id_) or self.known[id_] for id_ in marks}
        return [replace(summary(row), targets=self.known[row.id][1]) for row in rows]


def read(database: Database, known: Targets) -> Figures:
    """All figures at one moment; NotReachable when the database is not."""
    r = rollouts.c
    with database.read() as connection:
        now = database.now(connection)
        shown = or_(r.phase.not_in(_FINAL), r.updated_at >= now - ENDED_WITHIN)
        query = select(rollouts).where(shown).order_by(r.phase.in_(_FINAL), r.created_at.desc()).limit(MOST)
        found = known.complete(connection, connection.execute(query).all())
        by_phase = connection.execute(select(r.phase, func.count()).group_by(r.phase))
        beats = select(func.count()).where(services.c.beat_at >= now - ALIVE_WITHIN)
        return Figures(
            now,
            found,
            _writes(connection, [each.id for each in found]),
            {row.phase: row[1] for row in by_phase},
            connection.execute(beats).scalar_one(),
            _queues(connection),
            failing(connection),
        )


def _writes(connection: Connection, ids: Sequence[str]) -> list[tuple[str, str, str, int]]:
    w = writes.c
    counted: list[tuple[str, str, str, int]] = []
    for start in range(0, len(ids), _CHUNK):
        query = (
            select(w.rollout_id, w.kind, w.outcome, func.count())
            .where(w.rollout_id.in_(ids[start : start + _CHUNK]))
            .group_by(w.rollout_id, w.kind, w.outcome)
        )
        counted += [
            (id_, kind, outcome or "unknown", n) for id_, kind, outcome, n in connection.execute(query)
        ]
    return counted


def _queues(connection: Connection) -> list[Queue]:
    o = outbox.c
    query = (
        select(
            o.channel,
            func.count(o.due_at),
            func.count(),
            func.min(case((o.due_at.is_not(None), o.created_at))),
        )
        .where(o.sent_at.is_(None))
        .group_by(o.channel)
        .order_by(o.channel)
    )
    return [
        Queue(channel, due, total - due, oldest) for channel, due, total, oldest in connection.execute(query)
    ]


def rollbacks(database: Database, since: datetime | None) -> list[tuple[str, int, str, datetime]]:
    """(rollout id, sequence, kind, at) of the entries that order a rollback and that read it back, in order.

    With `since`: of the rollouts that have such an entry from then on, those alone.
    """
    j = journal.c
    kinds = ("rollback", "failed", "reopened", "read_back")
    query = select(j.rollout_id, j.seq, j.kind, j.at).where(j.kind.in_(kinds))
    if since is not None:
        touched = select(j.rollout_id).where(and_(j.at >= since, j.kind == "read_back"))
        query = query.where(j.rollout_id.in_(touched))
    with database.read() as connection:
        rows = connection.execute(query.order_by(j.rollout_id, j.seq))
        return [(row.rollout_id, row.seq, row.kind, row.at) for row in rows]
