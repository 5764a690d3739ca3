"""Read-only queries for the API and the page; each is one transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, case, func, or_, select, type_coerce

from rollout.adapters.store import rollout_names
from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.key_values import set_value
from rollout.adapters.store.queries import drivers
from rollout.adapters.store.rows import to_rollout
from rollout.adapters.store.tables import DRIVEN, LIVE, rollouts, targets
from rollout.domain import compact_json
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.ports import NumberOwner

_PROBE = "probe"


@dataclass(frozen=True, slots=True)
class NumberHistory:
    """One number in one rollout; `rollout` is without its targets."""

    rollout: Rollout
    wave: int
    step: int
    state: str
    written: bool
    driven: bool
    baseline: dict[str, Any]
    confirmed: dict[str, Any]
    live: dict[str, Any] | None
    live_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeftLists:
    """The lists that the newest rollout of a number left there: the baseline once it is rolled back."""

    rollout_id: str
    lists: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EndedSearch:
    """A search among ended rollouts: with a text in name, id or a number, of one phase, of an agent; "": any."""

    containing: str = ""
    phase: str = ""
    agent_id: str = ""


class InterfaceQueries:
    """Reads of several rollouts at once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def numbers(self, ids: Collection[str]) -> dict[str, list[str]]:
        """rollout id -> its numbers, in the plan's order; ids without targets are left out."""
        found: dict[str, list[str]] = {}
        query = select(targets.c.rollout_id, targets.c.number).order_by(targets.c.ord)
        with self.database.read() as connection:
            for some in in_parts(list(ids)):
                for row in connection.execute(query.where(targets.c.rollout_id.in_(some))):
                    found.setdefault(row.rollout_id, []).append(row.number)
        return found

    def sizes(self, ids: Collection[str]) -> dict[str, int]:
        """rollout id -> how many numbers it has; ids without targets are left out."""
        whose = targets.c.rollout_id
        query = select(whose, func.count()).where(whose.in_(list(ids))).group_by(whose)
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def states(self, ids: Collection[str]) -> dict[str, tuple[int, Rollout]]:
        """rollout id -> (sequence of its newest journal entry, the rollout without its targets)."""
        query = select(rollouts).where(rollouts.c.id.in_(list(ids)))
        with self.database.read() as connection:
            return {row.id: (row.journal_seq, to_rollout(row)) for row in connection.execute(query)}

    def ended(self, search: EndedSearch, before: tuple[datetime, str] | None = None, limit: int = 100) -> list[Rollout]:
        """Ended rollouts that fit, without their targets and writes, the latest end first.

        `before`: the end and the id after which to continue. The end is the last change that was recorded.
        """
        r = rollouts.c
        query = select(rollouts).where(~LIVE).order_by(r.updated_at.desc(), r.id.desc()).limit(limit)
        if search.containing:
            query = query.where(_containing(search.containing))
        if search.phase:
            query = query.where(r.phase == search.phase)
        if search.agent_id:
            named = json.dumps(search.agent_id)
            query = query.where(type_coerce(r.plan, Text).contains(named, autoescape=True))
        if before is not None:
            at, id_ = before
            query = query.where((r.updated_at < at) | ((r.updated_at == at) & (r.id < id_)))
        with self.database.read() as connection:
            return [to_rollout(row) for row in connection.execute(query)]

    def history_of(self, number: str, within: frozenset[str] | None = None, limit: int = 100) -> list[NumberHistory]:
        """The rollouts a number was in, newest first: so many of them, and in any case the one that drives it.

        `within`: of those that somebody who sees these numbers may see; None: of all.
        """
        t = targets.c
        newest = (rollouts.c.created_at.desc(), rollouts.c.id.desc())
        whose = select(t.rollout_id, t.driven).join(rollouts, t.rollout_id == rollouts.c.id).order_by(*newest)
        query = (
            select(
                rollouts,
                t.wave.label("t_wave"),
                t.step.label("t_step"),
                t.state,
                t.written,
                t.driven,
                t.baseline,
                t.split,
                t.live,
                t.live_at,
            )
            .join(targets, t.rollout_id == rollouts.c.id)
            .where(t.number == number)
            .order_by(*newest)
        )
        with self.database.read() as connection:
            was_in = connection.execute(whose.where(t.number == number)).all()
            ids, shown = [row.rollout_id for row in was_in], list[str]()
            for some in in_parts(ids, limit):
                shown += rollout_names.visible_ids(connection, some, within)
                if len(shown) >= limit:
                    break
            driving = rollout_names.visible_ids(connection, [row.rollout_id for row in was_in if row.driven], within)
            rows = connection.execute(query.where(rollouts.c.id.in_({*shown[:limit], *driving})))
            return [
                NumberHistory(
                    to_rollout(row),
                    row.t_wave,
                    max(row.t_step, 0),
                    row.state,
                    row.written,
                    row.driven,
                    row.baseline,
                    row.split,
                    row.live,
                    row.live_at,
                )
                for row in rows
            ]

    def count_on(self, number: str, within: frozenset[str] | None = None) -> int:
        """The number of rollouts that ever had this number; `within` as in `history_of`."""
        query = select(targets.c.rollout_id).where(targets.c.number == number)
        with self.database.read() as connection:
            ids = list(connection.execute(query).scalars())
            return sum(len(rollout_names.visible_ids(connection, some, within)) for some in in_parts(ids))

    def driven_numbers(self) -> set[str]:
        """Every number of a live rollout."""
        with self.database.read() as connection:
            return set(connection.execute(select(targets.c.number).where(DRIVEN)).scalars())

    def owners(self) -> dict[str, NumberOwner]:
        """Each number of a live rollout, with that rollout."""
        with self.database.read() as connection:
            return drivers(connection)

    def left_lists(self) -> dict[str, LeftLists]:
        """Each number that was ever written, with what the newest rollout that wrote it left there."""
        t, r = targets.c, rollouts.c
        age = func.row_number().over(partition_by=t.number, order_by=(r.created_at.desc(), r.id.desc()))
        lists = type_coerce(case((r.phase == Phase.ROLLED_BACK, t.baseline), else_=t.split), Text)
        written = select(t.number, t.rollout_id, lists.label("lists"), age.label("age"))
        ranked = written.join(rollouts, t.rollout_id == r.id).where(t.written).subquery()
        newest = select(ranked.c.number, ranked.c.rollout_id, ranked.c.lists).where(ranked.c.age == 1)
        parsed: dict[str, Any] = {}  # a fleet's numbers show the same few lists
        found = {}
        with self.database.read() as connection:
            for number, id_, text in connection.execute(newest).all():
                if text not in parsed:
                    parsed[text] = compact_json.loads(text)
                found[number] = LeftLists(id_, parsed[text])
        return found

    def probe(self) -> None:
        """Write a row: NotReachable unless the database can be written."""
        with self.database.write() as connection:
            # Its value changes each time: SQLite writes nothing where nothing changes.
            set_value(connection, _PROBE, secrets.token_hex(8))


def _containing(text: str) -> ColumnElement[bool]:
    r, wanted = rollouts.c, text.lower()
    found = or_(func.lower(r.name).contains(wanted, autoescape=True), r.id.contains(wanted, autoescape=True))
    if set(text) - set("+0123456789"):
        return found
    has_it = targets.c.number.contains(text, autoescape=True)
    return or_(found, r.id.in_(select(targets.c.rollout_id).where(has_it)))
