"""Detection of a database that went back in time: a fail-over to a standby that lagged, or a restored backup.

Every heartbeat raises one counter. If a process finds it lower than before, commits were lost, intents among them. The
name of the cluster (system identifier and timeline, PostgreSQL only) is stored beside it: a process that starts after
the fail-over has no earlier counter, but finds another name. Nobody knows which commits were lost, so every horizon is
opened again: until they have passed, no step is written and nothing ends, and every number is read before it is
written.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from rollout.adapters.store import queries, rollouts
from rollout.adapters.store.key_values import set_once, set_value, value_of
from rollout.adapters.store.tables import meta
from rollout.adapters.store.tables import rollouts as table
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Kind, Write, WriteOutcome
from rollout.domain.writes.protocol import body_of

_COUNTER = "beats"
_CLUSTER = "cluster"


def count(connection: Connection) -> int:
    """Raise the counter of heartbeats and return it."""
    set_once(connection, _COUNTER, "0")  # two services may be the first at the same moment
    found = connection.execute(_COUNTED)
    value = int(found.scalar_one()) + 1
    set_value(connection, _COUNTER, str(value))
    return value


_COUNTED = select(meta.c.value).where(meta.c.key == _COUNTER).with_for_update()


def counted(connection: Connection) -> int:
    """The current counter; 0 before the first heartbeat."""
    return int(value_of(connection, _COUNTER) or 0)


def known(connection: Connection) -> str:
    """The name of the cluster as last recorded; empty before the first time."""
    return value_of(connection, _CLUSTER) or ""


def is_another(recorded: str, found: str) -> bool:
    """True if the database is in another cluster than recorded. False if either name is unknown."""
    return bool(recorded and found and recorded != found)


def record(connection: Connection, cluster: str) -> None:
    """Remember the name of the cluster."""
    if cluster:
        set_value(connection, _CLUSTER, cluster)


def rearm(connection: Connection, now: datetime, horizon: timedelta) -> list[str]:
    """Open a horizon on every number that a live rollout may have written; return the rollouts' ids.

    The marker is a write that we know we did not send, with a horizon: it stands for writes that may have been sent
    and whose records are lost. Such numbers count as written, so that a rollback covers them. The rollouts' epochs
    rise, so that their drivers read everything again.
    """
    live = (str(Phase.PROGRESSING), str(Phase.PAUSED), str(Phase.HELD), str(Phase.ROLLING_BACK))
    ids = list(
        connection.execute(
            select(table.c.id).where(table.c.phase.in_(live), table.c.started_at.is_not(None)).order_by(table.c.id)
        ).scalars()
    )
    for id_ in ids:
        row = rollouts.head_row(connection, id_)
        r = queries.load(connection, id_, now)
        reached = [t for t in r.targets if t.wave <= r.position.wave]
        markers = tuple(
            Write(
                uuid.uuid4().hex[:20],
                t.number,
                Kind.BASELINE,
                r.position.wave,
                0,
                row.epoch,
                dict(t.split),
                body_of(t.split),
                now,
                now + horizon,
                WriteOutcome.NOT_APPLIED,
                None,
                id_,
            )
            for t in reached
        )
        change = Change(
            rollout={"look_asked": True},
            targets={t.number: {"written": True} for t in reached if not t.written},
            new_writes=markers,
        )
        why = "the database went back in time: every number is read again, and earlier writes may still land"
        rollouts.command(connection, row, change, JournalEntry("rearmed", "service", why), now, why)
    return ids
