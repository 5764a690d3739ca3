"""Has the database gone back in time? A fail-over to a standby that lagged, or a restored backup.

Every heartbeat raises one counter. A process that finds it lower than it left it knows that commits were lost,
intents among them. What is lost cannot be known, so every horizon is opened again: until they have passed, no
number is written forward and nothing is declared final, and every number is read before it is written.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from rollout.domain.changes import Change
from rollout.domain.machine import Phase
from rollout.domain.protocol import body_of
from rollout.domain.records import Entry
from rollout.domain.state import Kind, Outcome, Write
from rollout.store import rollouts
from rollout.store.tables import meta
from rollout.store.tables import rollouts as table

_COUNTER = "beats"


def count(connection: Connection) -> int:
    """Raises the counter of heartbeats and returns it."""
    row = connection.execute(
        select(meta.c.value).where(meta.c.key == _COUNTER).with_for_update()
    ).one_or_none()
    if row is None:
        connection.execute(insert(meta), {"key": _COUNTER, "value": "1"})
        return 1
    value = int(row.value) + 1
    connection.execute(update(meta).where(meta.c.key == _COUNTER).values(value=str(value)))
    return value


def counted(connection: Connection) -> int:
    """The counter as it stands; 0 before the first heartbeat."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == _COUNTER)).scalar_one_or_none()
    return 0 if value is None else int(value)


def rearm(connection: Connection, now: datetime, horizon: timedelta) -> list[str]:
    """Opens a horizon on every number that a live rollout may have written; returns the rollouts' ids.

    The marker is a write that is known not to have been sent by us, with a horizon: it stands for those that
    may have been sent and of which nothing is left. Such numbers count as written, so that a rollback covers
    them. The rollouts' epochs rise, so that whoever drives reads everything anew.
    """
    live = (str(Phase.PROGRESSING), str(Phase.PAUSED), str(Phase.HELD), str(Phase.ROLLING_BACK))
    ids = list(
        connection.execute(
            select(table.c.id)
            .where(table.c.phase.in_(live), table.c.started_at.is_not(None))
            .order_by(table.c.id)
        ).scalars()
    )
    for id_ in ids:
        row = rollouts.head_row(connection, id_)
        r = rollouts.load(connection, id_, now)
        reached = [t for t in r.targets if t.wave <= r.position.wave]
        markers = tuple(
            Write(
                uuid.uuid4().hex[:20], t.number, Kind.BASELINE, r.position.wave, 0, row.epoch, dict(t.split),
                body_of(t.split), now, now + horizon, Outcome.NOT_APPLIED, None, id_,
            )
            for t in reached
        )  # fmt: skip
        change = Change(
            rollout={"look_asked": True},
            targets={t.number: {"written": True} for t in reached if not t.written},
            new_writes=markers,
        )
        why = "the database went back in time: every number is read, and what was sent may still land"
        rollouts.command(connection, row, change, Entry("rearmed", "service", why), now, why)
    return ids
