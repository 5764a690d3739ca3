"""The figures that /metrics shows, read in one transaction: a restart loses none, and replicas agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, or_, select

from rollout.domain.machine import Phase
from rollout.domain.state import Rollout, Target
from rollout.store.engine import Database
from rollout.store.outbox import Failing, failing
from rollout.store.rows import to_rollout, to_target
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
        return [replace(to_rollout(row), targets=self.known[row.id][1]) for row in rows]


# Built once: a page of figures is ten statements, and building one costs more than running it.
_r, _w, _o, _j = rollouts.c, writes.c, outbox.c, journal.c
_ENDED = _r.phase.in_(_FINAL)
_SHOWN = (
    select(rollouts)
    .where(or_(~_ENDED, _r.updated_at >= bindparam("since")))
    .order_by(_ENDED, _r.created_at.desc())
    .limit(MOST)
)
_PHASES = select(_r.phase, func.count()).group_by(_r.phase)
_ALIVE = select(func.count()).where(services.c.beat_at >= bindparam("since"))
_WRITES = (
    select(_w.rollout_id, _w.kind, _w.outcome, func.count())
    .where(_w.rollout_id.in_(bindparam("ids", expanding=True)))
    .group_by(_w.rollout_id, _w.kind, _w.outcome)
)
_QUEUES = (
    select(
        _o.channel,
        func.count(_o.due_at),
        func.count(),
        func.min(case((_o.due_at.is_not(None), _o.created_at))),
    )
    .where(_o.sent_at.is_(None))
    .group_by(_o.channel)
    .order_by(_o.channel)
)
_ROLLBACKS = (
    select(_j.rollout_id, _j.seq, _j.kind, _j.at)
    .where(_j.kind.in_(("rollback", "failed", "reopened", "read_back")))
    .order_by(_j.rollout_id, _j.seq)
)
_ROLLBACKS_SINCE = _ROLLBACKS.where(
    _j.rollout_id.in_(select(_j.rollout_id).where(and_(_j.at >= bindparam("since"), _j.kind == "read_back")))
)


def read(database: Database, known: Targets) -> Figures:
    """All figures at one moment; NotReachable when the database is not."""
    with database.read() as connection:
        now = database.now(connection)
        found = known.complete(connection, connection.execute(_SHOWN, {"since": now - ENDED_WITHIN}).all())
        return Figures(
            now,
            found,
            _writes(connection, [each.id for each in found]),
            {row.phase: row[1] for row in connection.execute(_PHASES)},
            connection.execute(_ALIVE, {"since": now - ALIVE_WITHIN}).scalar_one(),
            [
                Queue(channel, due, total - due, oldest)
                for channel, due, total, oldest in connection.execute(_QUEUES)
            ],
            failing(connection),
        )


def _writes(connection: Connection, ids: Sequence[str]) -> list[tuple[str, str, str, int]]:
    counted: list[tuple[str, str, str, int]] = []
    for start in range(0, len(ids), _CHUNK):
        found = connection.execute(_WRITES, {"ids": ids[start : start + _CHUNK]})
        counted += [(id_, kind, outcome or "unknown", n) for id_, kind, outcome, n in found]
    return counted


def rollbacks(database: Database, since: datetime | None) -> list[tuple[str, int, str, datetime]]:
    """(rollout id, sequence, kind, at) of the entries that order a rollback and that read it back, in order.

    With `since`: of the rollouts that have such an entry from then on, those alone.
    """
    with database.read() as connection:
        if since is None:
            rows = connection.execute(_ROLLBACKS)
        else:
            rows = connection.execute(_ROLLBACKS_SINCE, {"since": since})
        return [(row.rollout_id, row.seq, row.kind, row.at) for row in rows]
