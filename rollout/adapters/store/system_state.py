"""The state of the whole service, read at one moment: its replicas, what is late, its notices, its database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, func, or_, select, text

from rollout.adapters.store import cluster, migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.heartbeats import ServiceHeartbeat, services_since
from rollout.adapters.store.outbox import Failing, failing
from rollout.adapters.store.tables import UNSENT, outbox, rollouts

_SHOWN_WITHIN = timedelta(hours=1)
_SENT_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NoticeCounts:
    """Notices of all addresses: sent in the last day, waiting since `oldest`, given up, and who does not take theirs."""

    sent: int
    waiting: int
    given_up: int
    oldest: datetime | None
    failing: Sequence[Failing]


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The database: product and version, size in bytes, schema revision and the one this program wants."""

    product: str
    size: int
    revision: str | None
    wanted: str
    advice: str  # about settings under which commits may be lost; "" when all is well


@dataclass(frozen=True, slots=True)
class SystemState:
    """Everything at one moment. `replicas` reported in the last hour; `late`: rollouts due with nobody at work on them."""

    now: datetime
    replicas: Sequence[ServiceHeartbeat]
    late: int
    late_since: datetime | None
    notices: NoticeCounts
    database: DatabaseState


def system_state(database: Database) -> SystemState:
    """Read the state; NotReachable if the database does not answer."""
    revision = migrate.current(database)
    with database.read() as connection:
        now = database.now(connection)
        late, since = connection.execute(
            select(func.count(), func.min(rollouts.c.due_at)).where(
                rollouts.c.due_at < now, or_(rollouts.c.lease_until.is_(None), rollouts.c.lease_until <= now)
            )
        ).one()
        return SystemState(
            now,
            services_since(connection, now - _SHOWN_WITHIN),
            late,
            since,
            _notices(connection, now),
            _database(connection, revision),
        )


def _notices(connection: Connection, now: datetime) -> NoticeCounts:
    o = outbox.c
    waiting = and_(UNSENT, o.due_at.is_not(None))
    counts = select(
        func.count(case((o.sent_at >= now - _SENT_WITHIN, 1))),
        func.count(case((waiting, 1))),
        func.count(case((and_(UNSENT, o.due_at.is_(None)), 1))),
        func.min(case((waiting, o.created_at))),
    )
    sent, left, given_up, oldest = connection.execute(counts).one()
    return NoticeCounts(sent, left, given_up, oldest, failing(connection))


def _database(connection: Connection, revision: str | None) -> DatabaseState:
    if connection.dialect.name == "sqlite":
        version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        size = pages * connection.execute(text("PRAGMA page_size")).scalar_one()
        return DatabaseState(f"SQLite {version}", size, revision, migrate.head(), "")
    version = connection.execute(text("SHOW server_version")).scalar_one()
    size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return DatabaseState(f"PostgreSQL {version}", size, revision, migrate.head(), cluster.durability(connection))
