"""Heartbeats of the service's processes, and whether the database is still the one that they began with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rollout.adapters.store import cluster, failover
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import services
from rollout.domain.errors import DatabaseReplaced
from rollout.domain.version import __version__

ALIVE_WITHIN = timedelta(seconds=30)  # of its last report


@dataclass(frozen=True, slots=True)
class ServiceHeartbeat:
    """One process of the service as it last reported."""

    owner: str
    version: str
    started_at: datetime
    beat_at: datetime
    ticks: int
    trouble: str


class Heartbeats:
    """The table `services` and the count of all beats; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._cluster = cluster.ClusterName()
        self._began_in: cluster.DatabaseIdentity | None = None

    def beat(self, owner: str, *, started: bool = False, ticks: int = 0, trouble: str = "") -> int:
        """Record that this process is alive, and its trouble if it has one; return the count of all beats."""
        self.database.end_stuck()
        with self.database.write() as connection:
            _beat(connection, owner, self.database.now(connection), started, ticks, trouble)
            beats = failover.count(connection)
            if not failover.known(connection):
                failover.record(connection, self._cluster(connection))
            return beats

    def lineage(self) -> tuple[int, bool]:
        """(count of all beats so far, whether the database lives in another cluster than it did).

        A count lower than it was, or another cluster: the database went back in time, or may have. DatabaseReplaced
        when it is another database than this process began with.
        """
        with self.database.read() as connection:
            name = self._same(connection)
            return failover.counted(connection), failover.is_another(failover.known(connection), name)

    def require_same(self) -> None:
        """DatabaseReplaced when the database is not the one that this process began with."""
        self.database.require_same()
        if not self.database.is_sqlite:
            with self.database.read() as connection:
                self._same(connection)

    def _same(self, connection: Connection) -> str:
        """The name of the database's cluster; DatabaseReplaced."""
        name = self._cluster(connection)
        found = cluster.identity(connection, name)
        if self._began_in is None:
            self._began_in = found
        elif not self._began_in.may_be(found):
            raise DatabaseReplaced(
                "the database was replaced; stop the service; use the kit "
                f"({self.database.place} is not the database that this process began with)"
            )
        return name

    def rearm(self, horizon: timedelta) -> list[str]:
        """Open every horizon again after the database went back in time; return the rollouts concerned."""
        with self.database.write() as connection:
            rearmed = failover.rearm(connection, self.database.now(connection), horizon)
            failover.record(connection, self._cluster(connection))
            return rearmed

    def durability(self) -> str:
        """One sentence about settings of the database under which it may lose commits; empty when all is well."""
        with self.database.read() as connection:
            return cluster.durability(connection)

    def forget(self, owner: str) -> None:
        """Remove the heartbeat of a process that ends."""
        with self.database.write() as connection:
            connection.execute(delete(services).where(services.c.owner == owner))

    def services(self, within: timedelta = ALIVE_WITHIN) -> list[ServiceHeartbeat]:
        """The service processes that were alive within this time."""
        with self.database.read() as connection:
            return services_since(connection, self.database.now(connection) - within)


def _beat(connection: Connection, owner: str, now: datetime, started: bool, ticks: int, trouble: str) -> None:
    changed = 0
    if not started:
        values = {"me": owner, "beat_at": now, "ticks": ticks, "trouble": trouble}
        changed = connection.execute(_BEAT, values).rowcount
    if not changed:
        connection.execute(delete(services).where(services.c.owner == owner))
        connection.execute(
            insert(services),
            {
                "owner": owner,
                "version": __version__,
                "started_at": now,
                "beat_at": now,
                "boot": "",
                "ticks": ticks,
                "trouble": trouble,
            },
        )


_BEAT = (
    update(services)
    .where(services.c.owner == bindparam("me"))
    .values({name: bindparam(name) for name in ("beat_at", "ticks", "trouble")})
)


def services_since(connection: Connection, since: datetime) -> list[ServiceHeartbeat]:
    """The processes that reported after `since`, oldest first."""
    rows = connection.execute(select(services).where(services.c.beat_at >= since).order_by(services.c.started_at))
    return [ServiceHeartbeat(r.owner, r.version, r.started_at, r.beat_at, r.ticks, r.trouble) for r in rows]
