"""Heartbeats of the service's processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rollout.adapters.store.tables import services
from rollout.version import __version__


@dataclass(frozen=True, slots=True)
class ServiceHeartbeat:
    """One process of the service as it last reported."""

    owner: str
    version: str
    started_at: datetime
    beat_at: datetime
    ticks: int
    trouble: str


def beat(connection: Connection, owner: str, now: datetime, started: bool, ticks: int, trouble: str) -> None:
    """Update the heartbeat of `owner`; make its row at the start."""
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


def forget(connection: Connection, owner: str) -> None:
    """Remove the heartbeat of a process that ends."""
    connection.execute(delete(services).where(services.c.owner == owner))


def services_since(connection: Connection, since: datetime) -> list[ServiceHeartbeat]:
    """The processes that reported after `since`, oldest first."""
    rows = connection.execute(select(services).where(services.c.beat_at >= since).order_by(services.c.started_at))
    return [ServiceHeartbeat(r.owner, r.version, r.started_at, r.beat_at, r.ticks, r.trouble) for r in rows]
