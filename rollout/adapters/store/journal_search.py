"""The journals of all rollouts and of the service, searched together: who did what, when and why. Read only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, case, func, or_, select

from rollout.adapters.store import rollout_names
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import journal, rollouts
from rollout.adapters.store.tokens import SYSTEM

_LONG = 4_000  # characters of data; longer ones (a fleet's writes) are not read for a list
_READS = 20
Place = tuple[datetime, str, int]


@dataclass(frozen=True, slots=True)
class JournalSearch:
    """The conditions of a search in the journal; "" and None: any.

    `actor`: a part of who it was; `by_people`: False the service's own entries, True all others; `rollout`: an id, or
    a part of a name; `since` and `until`: from, and before. `system`: those that concern no rollout, too. `within`:
    only rollouts whose numbers are all among these.
    """

    actor: str = ""
    by_people: bool | None = None
    kind: str = ""
    rollout: str = ""
    since: datetime | None = None
    until: datetime | None = None
    system: bool = False
    within: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry of any chain; `name` is its rollout's, "" where there is none. `data` is empty where it is long."""

    rollout_id: str
    name: str
    seq: int
    at: datetime
    actor: str
    kind: str
    reason: str
    data: dict[str, Any]
    hash: str

    @property
    def place(self) -> Place:
        """Its place in the order of all entries."""
        return self.at, self.rollout_id, self.seq


def search_journal(
    database: Database, search: JournalSearch, before: Place | None = None, limit: int = 100
) -> tuple[list[FoundEntry], Place | None]:
    """(a page of entries, the newest first, behind the place `before`; where the next page begins, None: nowhere)."""
    query = _narrowed(search).limit(limit + 1)
    found: list[FoundEntry] = []
    with database.read() as connection:
        for _ in range(_READS):  # for callers who may see few of them
            rows = connection.execute(query if before is None else query.where(_behind(before))).all()
            ids = sorted({row.rollout_id for row in rows})
            mine = ids if search.within is None else rollout_names.visible_ids(connection, ids, search.within)
            for row in rows[:limit]:
                before = (row.at, row.rollout_id, row.seq)
                if row.rollout_id in mine:
                    found.append(_entry(row))
                if len(found) == limit:
                    return found, before if len(rows) > limit or row is not rows[-1] else None
            if len(rows) <= limit:
                return found, None
    return found, before


def _narrowed(search: JournalSearch) -> Select[Any]:
    j, r = journal.c, rollouts.c
    data = case((func.length(j.data) <= _LONG, j.data), else_="{}").label("details")
    query = select(j.rollout_id, j.seq, j.at, j.actor, j.kind, j.reason, j.hash, data, r.name)
    query = query.join(rollouts, r.id == j.rollout_id, isouter=True)
    if not search.system:
        query = query.where(j.rollout_id != SYSTEM)
    if search.actor:
        query = query.where(func.lower(j.actor).contains(search.actor.lower(), autoescape=True))
    if search.by_people is not None:
        query = query.where(j.actor != "service" if search.by_people else j.actor == "service")
    if search.kind:
        query = query.where(j.kind == search.kind)
    if search.rollout:
        named = func.lower(r.name).contains(search.rollout.lower(), autoescape=True)
        query = query.where(or_(j.rollout_id == search.rollout, named))
    if search.since is not None:
        query = query.where(j.at >= search.since)
    if search.until is not None:
        query = query.where(j.at < search.until)
    return query.order_by(j.at.desc(), j.rollout_id.desc(), j.seq.desc())


def _behind(place: Place) -> Any:
    at, id_, seq = place
    j = journal.c
    same = and_(j.at == at, or_(j.rollout_id < id_, and_(j.rollout_id == id_, j.seq < seq)))
    return and_(j.at <= at, or_(j.at < at, same))


def _entry(row: Row[Any]) -> FoundEntry:
    data: dict[str, Any] = json.loads(row.details)
    return FoundEntry(row.rollout_id, row.name or "", row.seq, row.at, row.actor, row.kind, row.reason, data, row.hash)
