"""A database with a long history: real rollouts, driven once against a sandbox, and copied with names of their own.

Each copy is whole: its plan, targets, writes, looks and a journal whose hash chain is that copy's own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store import observations as calls_of
from rollout.adapters.store.engine import Database
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.adapters.store.journal import GENESIS, Worded, append
from rollout.adapters.store.tables import journal, looks, observations, rollouts, targets, writes
from rollout.domain.calls import CallRecord
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.plan.plan import Plan
from rollout.engine.gate_check import GateCheck
from tests.support.scene import ME, Scene
from tests.support.values import AGENT, plan

NAME = "frontdesk-v7"
BUSY = 20  # numbers that have had a tenth of all rollouts together
_ROWS = 1000


def numbers_of(count: int) -> list[str]:
    """So many phone numbers."""
    return [f"+1415{2_000_000 + i}" for i in range(count)]


@dataclass(frozen=True)
class Template:
    """One ended rollout as its rows."""

    id: str
    number: str
    ended: datetime
    rollout: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]


def templates(folder: Path) -> list[Template]:
    """A promoted rollout, one that was rolled back and one that was stopped, each with evidence of its gates."""
    found = []
    for end in ("promoted", "rolled_back", "stopped"):
        path = folder / f"template-{end}.db"
        url = f"sqlite:///{path}"
        database = Database(url, SystemClock())
        migrate.upgrade(database)
        database.close()
        with Scene(url) as scene:
            number = scene.add_numbers(1)[0]
            scene.given(plan([number], gates={"profile": "standard"}))
            scene.drive()
            gates = GateCheck(StoredGateRecords(scene.app.database))
            for step in (1, 2, 3):
                _calls(scene, number, step)
                scene.clock.advance(600)
                gates.look(scene.rollout, scene.clock.now())
                if step == 2 and end != "promoted":
                    break
                if step < 3:
                    scene.app.commands.promote(scene.id, ME)
                    scene.drive()
            if end == "promoted":
                scene.app.commands.promote(scene.id, ME, full=True)
                scene.clock.advance(2 * 86_400)
            elif end == "rolled_back":
                scene.app.commands.rollback(scene.id, ME)
            else:
                scene.app.commands.stop(scene.id, ME)
            scene.drive()
            scene.after(600)
            scene.stands(end)
            found.append(_template(scene, number))
    return found


def _calls(scene: Scene, number: str, step: int) -> None:
    """Sixty calls of the step, one of ten on the canary."""
    now = scene.clock.now()
    records = [
        _call(f"{scene.id}-{step}-{i}", number, 7 if i % 10 == 0 else 6, now + timedelta(seconds=i)) for i in range(60)
    ]
    with scene.app.database.write() as connection:
        calls_of.take(connection, records, now)


def _call(id_: str, number: str, version: int, at: datetime) -> CallRecord:
    return CallRecord(
        id_,
        AGENT,
        version,
        number,
        "inbound",
        at,
        at + timedelta(seconds=90),
        "ended",
        "user_hangup",
        900.0,
        True,
        "Positive",
        False,
        {},
        True,
    )


def _template(scene: Scene, number: str) -> Template:
    with scene.app.database.read() as connection:
        rollout = dict(connection.execute(select(rollouts)).one()._mapping)
        rows = {
            table.name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in (targets, writes, looks, journal)
        }
    return Template(scene.id, number, rollout["updated_at"], rollout, rows)


def fill(
    database: Database,
    folder: Path,
    ended: int,
    calls: int,
    *,
    now: datetime,
    days: float = 20,
    numbers: Sequence[str] = (),
) -> list[str]:
    """Adds rollouts that ended over the last `days`, and calls of their numbers; returns the ids, newest first.

    Half of the rollouts ended within the last day, as in a busy week.
    """
    numbers = numbers or numbers_of(200)
    made = templates(folder)
    chance = random.Random(ended)
    ids = []
    for begin in range(0, ended, _ROWS):
        batch: dict[str, list[dict[str, Any]]] = {}
        with database.write() as connection:
            for i in range(begin, min(ended, begin + _ROWS)):
                number = numbers[i % BUSY] if i % 10 == 0 else numbers[i % len(numbers)]
                ago = timedelta(days=chance.uniform(0, 1) if i % 2 else chance.uniform(1, days))
                ids.append(_copy(connection, made[i % len(made)], i, number, now - ago, batch))
            for table in (targets, writes, looks):
                _insert(connection, table, batch.get(table.name, []))
    for begin in range(0, calls, 20_000):
        rows = []
        for i in range(begin, min(calls, begin + 20_000)):
            at = now - timedelta(days=days) * (1 - i / calls)
            rows.append(_row(i, numbers[i % len(numbers)], at))
        with database.write() as connection:
            _insert(connection, observations, rows)
    return ids[::-1]


def _row(i: int, number: str, at: datetime) -> dict[str, Any]:
    call = _call(f"call_{i:032x}", number, 7 if i % 10 == 0 else 6, at)
    return {"call_id": call.call_id, **calls_of._row(call), "updated_at": at}


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _copy(
    connection: Connection,
    template: Template,
    index: int,
    number: str,
    ended: datetime,
    batch: dict[str, list[dict[str, Any]]],
) -> str:
    """One more rollout like the template, on this number, that ended then; returns its id."""
    id_ = f"r{index:09d}"
    name = f"{NAME}-{index}"
    shift = ended - template.ended

    def moved(value: Any) -> Any:
        if isinstance(value, datetime):
            return value + shift
        if isinstance(value, str):
            return value.replace(template.id, id_).replace(template.number, number).replace(NAME, name)
        if isinstance(value, dict | list):
            return json.loads(moved(json.dumps(value)))
        return value

    row = {key: moved(value) for key, value in template.rollout.items()}
    row["plan_digest"] = Plan.model_validate(row["plan"]).digest()
    row |= {"journal_seq": 0, "journal_hash": GENESIS}
    for table, rows in template.rows.items():
        if table == journal.name:
            continue
        for given in rows:
            found = {key: moved(value) for key, value in given.items()}
            if table == writes.name:
                found["id"] = f"{index:08d}-{given['id']}"[:40]
            batch.setdefault(table, []).append(found)
    head = (0, GENESIS)
    for given in template.rows[journal.name]:
        entry = Worded(JournalEntry(given["kind"], given["actor"], moved(given["reason"])), moved(given["data"]))
        head = append(connection, id_, head, [entry], given["at"] + shift)
    row |= {"journal_seq": head[0], "journal_hash": head[1]}
    connection.execute(insert(rollouts), row)
    return id_
