"""The right of one process to drive one rollout for a time: claim, renew, release.

A claim is one short transaction; no lock is held while Retell is asked. The lease keeps processes out of
each other's way and nothing more: safety comes from the epoch, which every claim and every command
raises and every record of the driver compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import Connection, Integer, and_, bindparam, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from rollout.adapters.store import signals
from rollout.adapters.store.tables import rollouts
from rollout.domain.decide.actions import Wait
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim


def claim(
    connection: Connection,
    owner: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    only: str | None = None,
    urgent_only: bool = False,
) -> list[Claim]:
    """Take up to `limit` due rollouts that no driver holds; rollbacks first, then the longest due.

    `only` takes this one whether due or not, if nobody holds it.
    """
    until = now + lease
    values = {"owner": owner, "at": now, "until": until, "most": limit, "wanted": only}
    rows = connection.execute(
        _claiming(only is not None, urgent_only), {k: v for k, v in values.items() if v is not None}
    )
    return [Claim(row.id, row.epoch, owner, until, row.crashes - 1) for row in rows]


@lru_cache
def _claiming(one: bool, urgent_only: bool) -> ReturningUpdate[tuple[str, int, int]]:
    # Built once: asked every second by every process, and building costs more than running.
    r = rollouts.c
    free = or_(r.lease_until.is_(None), r.lease_until <= bindparam("at"))
    wanted = r.id == bindparam("wanted") if one else and_(r.due_at.is_not(None), r.due_at <= bindparam("at"))
    if urgent_only:
        wanted = and_(wanted, r.phase == Phase.ROLLING_BACK)
    # A CTE and not a sub-select: the planner may evaluate a sub-select again and update more than LIMIT.
    # FOR UPDATE SKIP LOCKED compiles to nothing on SQLite, where BEGIN IMMEDIATE keeps writers apart.
    due = (
        select(r.id)
        .where(wanted, free)
        .order_by((r.phase == Phase.ROLLING_BACK).desc(), r.due_at)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(rollouts)
        .where(r.id.in_(select(due.c.id)))
        .values(
            lease_owner=bindparam("owner"), lease_until=bindparam("until"), epoch=r.epoch + 1, crashes=r.crashes + 1
        )
        .returning(r.id, r.epoch, r.crashes)
    )


def release(connection: Connection, claim: Claim, wait: Wait, tries: int = 0) -> bool:
    """Release the claim, with the next due time and its reason; False if the claim was lost meanwhile."""
    said = {"due_at": wait.until, "next": wait.next, "why": wait.why, "waiting_for": wait.waiting_for, "tries": tries}
    result = connection.execute(_RELEASING, {"rollout_id": claim.rollout_id, "at_epoch": claim.epoch, **said})
    return result.rowcount == 1


_RELEASING = (
    update(rollouts)
    .where(rollouts.c.id == bindparam("rollout_id"), rollouts.c.epoch == bindparam("at_epoch"))
    .values(
        lease_owner=None,
        lease_until=None,
        crashes=0,
        **{name: bindparam(name) for name in ("due_at", "next", "why", "waiting_for", "tries")},
    )
)


def next_due(connection: Connection, now: datetime) -> datetime | None:
    """The moment at which the next unclaimed rollout becomes due.

    A rollout whose lease has run out is due. A leased one is left out: it becomes due again when it is released.
    """
    due: datetime | None = connection.execute(_NEXT_DUE, {"at": now}).scalar_one_or_none()
    return due


# By the index, from its beginning: a sort of everything that waits would cost more than all the rest.
_NEXT_DUE = (
    select(rollouts.c.due_at)
    .where(
        rollouts.c.due_at.is_not(None), or_(rollouts.c.lease_until.is_(None), rollouts.c.lease_until <= bindparam("at"))
    )
    .order_by(rollouts.c.due_at)
    .limit(1)
)


def wake(connection: Connection, ids: Sequence[str], now: datetime, read_numbers: bool = True) -> int:
    """Make these rollouts due now."""
    signals.send(connection, signals.WAKE)
    return connection.execute(
        update(rollouts)
        .where(rollouts.c.id.in_(ids))
        .values(due_at=now, **({"look_asked": True} if read_numbers else {}))
    ).rowcount
