"""Sources of notices: journal entries since the last search, and lasting conditions.

The moment up to which the journal was searched is kept in the table `meta`, shared by all replicas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, func, or_, select, text

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.journal import RecordedEntry, recorded
from rollout.adapters.store.key_values import set_once, set_value, value_of
from rollout.adapters.store.outbox import FAILING
from rollout.adapters.store.rows import to_rollout
from rollout.adapters.store.tables import MAY_NEED_NOTICE, UNSENT, journal, looks, meta, outbox, rollouts
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.state import Rollout

MARK = "notices:mark"
KEY_SINCE = "notices:key"
ROLLOUTS_READ = 200  # whose entries are read in one transaction


class NoticeSources:
    """Queries for everything that may become a notice. Each method is one transaction, or one for each page."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def mark(self) -> tuple[datetime | None, datetime]:
        """(the moment up to which the journal was searched, now)."""
        with self.database.read() as connection:
            value = value_of(connection, MARK)
            now = self.database.now(connection)
            return None if value is None else datetime.fromisoformat(value), now

    def set_mark(self, at: datetime) -> None:
        with self.database.write() as connection:
            set_value(connection, MARK, at.isoformat())

    def heads(self, since: datetime) -> dict[str, int]:
        """The newest entry of each rollout of which something was recorded from `since` on, the longest ago first."""
        with self.database.read() as connection:
            return {row.id: row.journal_seq for row in connection.execute(_HEADS, {"since": since})}

    def entries(
        self, since: datetime, kinds: Collection[str], behind: Mapping[str, int]
    ) -> Iterator[list[tuple[Rollout, RecordedEntry]]]:
        """Entries of these kinds with their rollouts (without targets), some rollouts at a time.

        Of each rollout in `behind` those after the sequence that stands there, and none from before `since`.
        """
        j = journal.c
        for some in in_parts(list(behind), ROLLOUTS_READ):
            query = select(journal).where(j.rollout_id.in_(some), j.at >= since, j.kind.in_(list(kinds)))
            with self.database.read() as connection:
                found = connection.execute(query.order_by(j.at, j.rollout_id, j.seq))
                rows = [row for row in found if row.seq > behind[row.rollout_id]]
                told = {row.rollout_id for row in rows}
                known = {
                    row.id: to_rollout(row)
                    for row in connection.execute(select(rollouts).where(rollouts.c.id.in_(told)))
                }
            yield [(known[row.rollout_id], recorded(row)) for row in rows]

    def glance(self, since: datetime) -> tuple[int, bool]:
        """(journal entries from `since` on, whether a lasting condition or an unsent notice needs work).

        One statement over indices: it is as fast with a hundred thousand waiting rollouts as with none.
        """
        with self.database.read() as connection:
            entries, waits = connection.execute(_GLANCE, {"since": since}).one()
            return entries, bool(waits)

    def may_need_notice(self) -> list[tuple[Rollout, datetime | None]]:
        """Live rollouts (without targets) whose state may need a notice, and since when their gates are blind."""
        query = select(rollouts).where(text(MAY_NEED_NOTICE)).order_by(rollouts.c.id)
        with self.database.read() as connection:
            found = [to_rollout(row) for row in connection.execute(query)]
            return [(each, _blind_since(connection, each)) for each in found]

    def key_since(self, refused: bool) -> datetime | None:
        """The moment since which Retell refuses the key, as first noticed; None: it accepts the key."""
        with self.database.read() as connection:
            value = value_of(connection, KEY_SINCE)
        if refused == (value is not None):
            return None if value is None else datetime.fromisoformat(value)
        with self.database.write() as connection:
            if not refused:
                connection.execute(delete(meta).where(meta.c.key == KEY_SINCE))
                return None
            now = self.database.now(connection)
            set_once(connection, KEY_SINCE, now.isoformat())
            return datetime.fromisoformat(value_of(connection, KEY_SINCE) or now.isoformat())


_HEADS = (
    select(rollouts.c.id, rollouts.c.journal_seq)
    .where(rollouts.c.updated_at >= bindparam("since"))
    .order_by(rollouts.c.updated_at)
)
_GLANCE = select(
    select(func.count()).select_from(journal).where(journal.c.at >= bindparam("since")).scalar_subquery(),
    or_(
        exists().select_from(rollouts).where(text(MAY_NEED_NOTICE)),
        exists().where(UNSENT, outbox.c.due_at.is_not(None)),
        exists().where(meta.c.key.between(FAILING, KEY_SINCE)),
    ),
)


def _blind_since(connection: Connection, r: Rollout) -> datetime | None:
    if r.verdict is None or r.verdict.outcome is not GateOutcome.UNMEASURABLE:
        return None
    lo = looks.c
    sighted = select(func.max(lo.seq)).where(lo.rollout_id == r.id, lo.outcome != "unmeasurable")
    query = select(func.min(lo.at)).where(lo.rollout_id == r.id, lo.seq > func.coalesce(sighted.scalar_subquery(), 0))
    since: datetime | None = connection.execute(query).scalar_one()
    return since
