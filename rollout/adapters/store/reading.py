"""Rollouts for those who only look: as they stand in the database now, without reading again what did not change.

Every answer begins with the rollout's row, so it is never older than the last commit, whoever made it. What
changes only together with that row's mark (targets, plan, open writes, verdict) is kept in memory. Nothing
that decides anything reads from here: `foreign_open` is left out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Row, Select, Text, and_, bindparam, or_, select, type_coerce

from rollout.adapters.store import names
from rollout.adapters.store import queries as rows
from rollout.adapters.store.engine import Database
from rollout.adapters.store.rows import to_rollout
from rollout.adapters.store.tables import LIVE, rollouts
from rollout.domain.lifecycle.state import Rollout

Mark = tuple[Any, ...]
MOST_TARGETS = 20_000  # in memory, over all rollouts
MOST_BARE = 2000
_PAGE = 500

_r = rollouts.c
# What every recorded change moves; the verdict is kept by the gates without one. As text, because it is only compared.
_MARK = (
    type_coerce(_r.updated_at, Text).label("m_at"),
    _r.journal_seq,
    _r.journal_hash,
    type_coerce(_r.verdict, Text).label("m_verdict"),
)
# What the scheduler moves, several times a second while something goes on.
MOVING = ("epoch", "due_at", "tries", "next", "why", "look_asked")
_LIGHT = (_r.id, *_MARK, *(_r[name] for name in MOVING))
_ONE = select(*_LIGHT).where(_r.id == bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Reading:
    """A rollout, and the mark of its recorded state: equal marks, equal values but for those in MOVING."""

    mark: Mark
    rollout: Rollout


class Readings:
    """One per process; safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._whole = _Shelf(MOST_TARGETS)
        self._bare = _Shelf(MOST_BARE)

    def find(self, text: str, within: frozenset[str] | None = None) -> Reading:
        """A rollout with its targets and unresolved writes, by id or name; UnknownRollout, AmbiguousName.

        `within`: as names.meant has it.
        """
        with self.database.read() as connection:
            # An id from somebody who sees everything is what is asked most: one statement.
            row = None if within is not None else connection.execute(_ONE, {"wanted": text}).one_or_none()
            if row is None:
                row = connection.execute(_ONE, {"wanted": names.meant(connection, text, within)}).one()
            known = self._whole.get(row)
            if known is None:
                loaded = rows.load(connection, row.id, self.database.now(connection))
                unresolved = tuple(w for w in loaded.writes if w.outcome is None)
                known = self._whole.put(row, replace(loaded, writes=unresolved, foreign_open=()))
            return Reading(known.mark, _moved(known.rollout, row))

    def page(
        self, *, live: bool | None = None, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[Rollout]:
        """Rollouts without their targets and writes, newest first; `live` True: unfinished ones only."""
        values: dict[str, Any] = {"limit": limit}
        if before is not None:
            values |= {"at": before[0], "last": before[1]}
        with self.database.read() as connection:
            found = connection.execute(_page(live, before is not None), values).all()
            known = {row.id: self._bare.get(row) for row in found}
            missing = [id_ for id_, reading in known.items() if reading is None]
            for start in range(0, len(missing), 200):
                query = select(rollouts).where(_r.id.in_(missing[start : start + 200]))
                light = {row.id: row for row in found}
                for row in connection.execute(query):
                    known[row.id] = self._bare.put(light[row.id], to_rollout(row))
        return [_moved(r.rollout, row) for row in found if (r := known[row.id]) is not None]

    def live(self) -> Iterator[list[Rollout]]:
        """Every unfinished rollout without its targets and writes, newest first, by pages."""
        before: tuple[datetime, str] | None = None
        while True:
            found = self.page(live=True, before=before, limit=_PAGE)
            yield found
            if len(found) < _PAGE:
                return
            before = (found[-1].created_at, found[-1].id)


class _Shelf:
    """Readings by id, the last used ones; as large as their targets."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[str, Reading] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, row: Row[Any]) -> Reading | None:
        """What is kept of this light row's rollout, if nothing was recorded since."""
        with self._lock:
            reading = self._kept.get(row.id)
            if reading is None or reading.mark != tuple(row[1:5]):
                return None
            self._kept.move_to_end(row.id)
            return reading

    def put(self, row: Row[Any], rollout: Rollout) -> Reading:
        reading = Reading(tuple(row[1:5]), rollout)
        with self._lock:
            self._drop(self._kept.pop(rollout.id, None))
            self._kept[rollout.id] = reading
            self._size += 1 + len(rollout.targets)
            while self._size > self._most and len(self._kept) > 1:
                self._drop(self._kept.popitem(last=False)[1])
        return reading

    def _drop(self, reading: Reading | None) -> None:
        self._size -= 0 if reading is None else 1 + len(reading.rollout.targets)


def _moved(rollout: Rollout, row: Row[Any]) -> Rollout:
    """The rollout with what the scheduler has moved since it was read whole."""
    moving: dict[str, Any] = dict(zip(MOVING, row[5:], strict=True))
    if all(getattr(rollout, name) == value for name, value in moving.items()):
        return rollout
    return replace(rollout, **moving)


@lru_cache
def _page(live: bool | None, follows: bool) -> Select[Any]:
    query = select(*_LIGHT).order_by(_r.created_at.desc(), _r.id.desc()).limit(bindparam("limit"))
    if live is not None:
        query = query.where(LIVE if live else ~LIVE)
    if follows:
        at: BindParameter[datetime] = bindparam("at")
        query = query.where(or_(_r.created_at < at, and_(_r.created_at == at, _r.id < bindparam("last"))))
    return query
