"""How late steps came: from the end of a hold to the journal entry that the step was advanced."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from sqlalchemy import select

from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import journal, rollouts
from tests.soak.load import HOLD


def lateness(database: Database) -> list[tuple[float, float]]:
    """(seconds since the first rollout, seconds late) of each step without gates that a person did not hurry."""
    j = journal.c
    query = (
        select(j.rollout_id, j.kind, j.at, rollouts.c.plan)
        .join(rollouts, rollouts.c.id == j.rollout_id)
        .where(j.kind.in_(("confirmed", "advanced", "rollback", "pause", "promote")))
        .order_by(j.rollout_id, j.seq)
    )
    found: list[tuple[float, float]] = []
    with database.read() as connection:
        rows = connection.execute(query).all()
    if not rows:
        return []
    first = min(row.at for row in rows)
    for before, after in pairwise(rows):
        if (before.rollout_id, before.kind, after.kind) != (after.rollout_id, "confirmed", "advanced"):
            continue
        if before.plan["gates"].get("profile") != "none":
            continue
        late = after.at - before.at - timedelta(seconds=HOLD)
        found.append(((after.at - first).total_seconds(), late.total_seconds()))
    return found
