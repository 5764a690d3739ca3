"""Removal of everything past its time: each ended rollout whole and by itself, the other tables by their own limits.

It never removes a live rollout, one that can still be rolled back, or anything that either of them needs. Each rollout
is removed in a transaction of its own, so that pruning never delays a rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, insert, or_, select

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import (
    LIVE,
    deliveries,
    journal,
    looks,
    marks,
    meta,
    observations,
    outbox,
    requests,
    rollouts,
    services,
    sessions,
    targets,
    writes,
)
from rollout.adapters.store.tokens import record_in
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import TargetState

BEFORE = timedelta(days=2)  # calls before a rollout's start that its gates may ask for, with a margin
BEATS = timedelta(days=1)
BATCH = 2000  # rows of one transaction
MOST_PRUNED = 500  # rollouts asked for at a time


@dataclass(frozen=True, slots=True)
class Retention:
    """Periods for which rows are kept. `rollback`: how long an ended rollout can still be rolled back."""

    rollback: timedelta
    rollouts: timedelta
    looks: timedelta
    observations: timedelta
    requests: timedelta
    notices: timedelta
    deliveries: timedelta
    sessions: timedelta


class Pruning:
    """The removals, each method one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def prunable(self, keep: timedelta) -> list[str]:
        """Ids of rollouts that ended before now - keep and are watched no more, the oldest first."""
        with self.database.read() as connection:
            over = _over(self.database.now(connection), keep)
            query = select(rollouts.c.id).where(over).order_by(rollouts.c.updated_at).limit(MOST_PRUNED)
            return list(connection.execute(query).scalars())

    def beyond_kits(self, ids: Sequence[str], keep: timedelta, soon: timedelta) -> list[str]:
        """Those of these ended rollouts that no kit can roll back any more, or need.

        Rolled back for `soon`; ended for `keep`; or with no number left that shows what they wrote.
        """
        r, t = rollouts.c, targets.c
        found: list[str] = []
        with self.database.read() as connection:
            now = self.database.now(connection)
            for some in in_parts(ids):
                shows = t.rollout_id.in_(some) & t.written & (t.state != TargetState.SUPERSEDED)
                left = set(connection.execute(select(t.rollout_id).where(shows).distinct()).scalars())
                for row in connection.execute(select(r.id, r.phase, r.updated_at).where(r.id.in_(some), ~LIVE)):
                    ago = now - row.updated_at
                    if ago > keep or (row.phase == Phase.ROLLED_BACK and ago > soon) or row.id not in left:
                        found.append(row.id)
        return found

    def remove(self, rollout_id: str, keep: timedelta, head: str | None = None) -> bool:
        """Remove one ended rollout whole, so that a chain is never cut in the middle; False when it must stay.

        It must stay while it is not past its time, or when somebody has acted on it meanwhile. `head` is the hash of
        the last entry that was exported: an entry added since would be lost.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            row = connection.execute(
                select(rollouts.c.journal_hash, rollouts.c.journal_seq)
                .where(rollouts.c.id == rollout_id, _over(now, keep))
                .with_for_update()
            ).one_or_none()
            if row is None or (head is not None and row.journal_hash != head):
                return False
            connection.execute(delete(meta).where(meta.c.key == "pruning"))
            connection.execute(insert(meta), {"key": "pruning", "value": rollout_id})  # the journal's trigger asks
            for table in (journal, writes, targets, looks):
                connection.execute(delete(table).where(table.c.rollout_id == rollout_id))
            connection.execute(delete(rollouts).where(rollouts.c.id == rollout_id))
            told = meta.c.key.startswith(f"watched:{rollout_id}:", autoescape=True)
            connection.execute(delete(meta).where((meta.c.key == "pruning") | told))
            # Else it would look like a rollout that somebody removed with its chain.
            data = {"rollout": rollout_id, "entries": row.journal_seq, "hash": row.journal_hash}
            record_in(connection, JournalEntry("pruned", "service", "past its time", data), now)
            return True

    def sweep(self, limits: Retention) -> dict[str, int]:
        """Remove one batch of what is past its time in every other table; rows removed by table.

        To be repeated while a count is a whole batch.
        """
        with self.database.write() as connection:
            return _sweep(connection, self.database.now(connection), limits)


def _over(now: datetime, keep: timedelta) -> ColumnElement[bool]:
    r = rollouts.c
    watched = r.watch_until.is_not(None) & (r.watch_until > now)
    return and_(~LIVE, r.updated_at < now - keep, ~watched)


def _sweep(connection: Connection, now: datetime, limits: Retention) -> dict[str, int]:
    counts = {"looks": _looks(connection, now, limits), "observations": _observations(connection, now, limits)}
    plain: tuple[tuple[Table, ColumnElement[bool]], ...] = (
        (marks, marks.c.polled_at < now - limits.observations),
        (requests, requests.c.at < now - limits.requests),
        # a notice that is still to be delivered stays, however long its service has been away
        (outbox, and_(outbox.c.created_at < now - limits.notices, outbox.c.sent_at.is_not(None))),
        (deliveries, deliveries.c.at < now - limits.deliveries),
        (sessions, sessions.c.expires_at < now - limits.sessions),
        (services, services.c.beat_at < now - BEATS),
    )
    for table, old in plain:
        counts[table.name] = connection.execute(delete(table).where(old)).rowcount
    return counts


def _looks(connection: Connection, now: datetime, limits: Retention) -> int:
    before = now - limits.looks
    settled = exists().where(rollouts.c.id == looks.c.rollout_id, ~LIVE, rollouts.c.updated_at < now - limits.rollback)
    old = select(looks.c.rollout_id, looks.c.seq).where(looks.c.at < before, settled).order_by(looks.c.at).limit(BATCH)
    last: dict[str, int] = {}
    for row in connection.execute(old):
        last[row.rollout_id] = max(row.seq, last.get(row.rollout_id, 0))
    return sum(
        connection.execute(
            delete(looks).where(looks.c.rollout_id == id_, looks.c.seq <= seq, looks.c.at < before)
        ).rowcount
        for id_, seq in last.items()
    )


def _observations(connection: Connection, now: datetime, limits: Retention) -> int:
    oldest = select(rollouts.c.created_at).order_by(rollouts.c.created_at).limit(1)
    needed = [
        *connection.execute(oldest.where(LIVE)).scalars(),
        *connection.execute(
            select(func.min(rollouts.c.created_at)).where(rollouts.c.updated_at >= now - limits.rollback)
        ).scalars(),
    ]
    before = min([now - limits.observations, *(at - BEFORE for at in needed if at is not None)])
    o = observations.c
    old = (
        select(o.call_id)
        .where(or_(o.started_at < before, and_(o.started_at.is_(None), o.updated_at < before)))
        .limit(BATCH)
    )
    return connection.execute(delete(observations).where(o.call_id.in_(old))).rowcount
