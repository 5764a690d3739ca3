"""The right of one process to drive one rollout for a time: claim, renew, release.

A claim is one short transaction; no lock is held while Retell is asked. The lease keeps processes out of
each other's way and nothing more: safety comes from the epoch, which every claim and every command
raises and every record of the driver compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, or_, select, update

from rollout.domain.machine import Phase
from rollout.domain.records import Claim
from rollout.store.tables import rollouts


def claim(
    connection: Connection,
    owner: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    only: str | None = None,
    urgent_only: bool = False,
) -> list[Claim]:
    """Takes up to `limit` due rollouts that nobody holds; rollbacks first, then the longest due.

    `only` takes this one whether due or not, if nobody holds it.
    """
    r = rollouts.c
    free = or_(r.lease_until.is_(None), r.lease_until <= now)
    wanted = r.id == only if only else and_(r.due_at.is_not(None), r.due_at <= now)
    if urgent_only:
        wanted = and_(wanted, r.phase == Phase.ROLLING_BACK)
    # A CTE and not a sub-select: the planner may evaluate a sub-select again and update more than LIMIT.
    # FOR UPDATE SKIP LOCKED compiles to nothing on SQLite, where BEGIN IMMEDIATE keeps writers apart.
    due = (
        select(r.id)
        .where(wanted, free)
        .order_by((r.phase == Phase.ROLLING_BACK).desc(), r.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    until = now + lease
    rows = connection.execute(
        update(rollouts)
        .where(r.id.in_(select(due.c.id)))
        .values(lease_owner=owner, lease_until=until, epoch=r.epoch + 1, crashes=r.crashes + 1)
        .returning(r.id, r.epoch, r.crashes)
    )
    return [Claim(row.id, row.epoch, owner, until, row.crashes - 1) for row in rows]


def release(
    connection: Connection,
    held: Claim,
    due_at: datetime | None,
    next_: str,
    why: str,
    *,
    tries: int = 0,
) -> bool:
    """Lets go and says when to look again and why; False when the claim was lost meanwhile."""
    result = connection.execute(
        update(rollouts)
        .where(rollouts.c.id == held.rollout_id, rollouts.c.epoch == held.epoch)
        .values(
            lease_owner=None, lease_until=None, due_at=due_at, next=next_, why=why, tries=tries, crashes=0
        )
    )
    return result.rowcount == 1


def next_due(connection: Connection) -> datetime | None:
    """When the next rollout becomes due, held or not."""
    due: datetime | None = connection.execute(select(func.min(rollouts.c.due_at))).scalar_one()
    return due


def wake(connection: Connection, ids: Sequence[str], now: datetime, look: bool = True) -> int:
    """Makes these rollouts due now."""
    return connection.execute(
        update(rollouts)
        .where(rollouts.c.id.in_(ids))
        .values(due_at=now, **({"look_asked": True} if look else {}))
    ).rowcount
