"""One store on each of the two databases: every test that takes `store` runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from rollout.clock import SystemClock
from rollout.domain.records import Claim
from rollout.domain.state import Target
from rollout.store.engine import Database
from rollout.store.repository import Store
from tests.support.values import created, target

LEASE = timedelta(seconds=45)
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
def address(request: pytest.FixtureRequest) -> str:
    """A database of its own with the current schema, by its address."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture(params=BOTH)
def empty(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.db'}", SystemClock())
        yield database
        database.close()
        return
    server = request.getfixturevalue("postgres_server")
    url = server.make()
    database = Database(url, SystemClock())
    yield database
    database.close()
    server.drop(url)


@pytest.fixture
def open_store(address: str) -> Iterator[Callable[[], Store]]:
    """Opens the store once more, as another process would."""
    opened: list[Database] = []

    def another() -> Store:
        opened.append(Database(address, SystemClock()))
        return Store(opened[-1])

    yield another
    for database in opened:
        database.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


class Hand:
    """Puts rollouts into a store and looks at its rows."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, id: str = "r1", *targets: Target, due: timedelta | None = timedelta(0), **changes: Any) -> str:
        """A rollout that has been due for this long (None: not due)."""
        now = self.store.now()
        values: dict[str, Any] = {
            "id": id, "created_at": now, "updated_at": now, "start_at": None,
            "due_at": None if due is None else now - due, "targets": targets or (target(),), **changes,
        }  # fmt: skip
        given = self.store.create(lambda _now: created(**values), None)
        return str(given["id"])

    def claim(self, id: str = "r1") -> Claim:
        (held,) = self.store.claim("test", LEASE, only=id)
        return held

    def begun(self, id: str = "r1", *targets: Target, **changes: Any) -> Claim:
        """A rollout that progresses, claimed."""
        from rollout.domain.machine import Phase

        self.create(id, *targets, phase=Phase.PROGRESSING, started_at=self.store.now(), **changes)
        return self.claim(id)

    def run(self, statement: str, **values: Any) -> Any:
        """A statement beside the store's own ways; rows, if it gives any."""
        with self.store.database.write() as connection:
            done = connection.execute(text(statement), values)
            return list(done) if done.returns_rows else done.rowcount

    def allow_tampering(self) -> None:
        """Takes the journal's triggers away, as somebody with the database in hand can."""
        if self.store.database.is_sqlite:
            self.run("DROP TRIGGER journal_no_update")
            self.run("DROP TRIGGER journal_no_delete")
        else:
            self.run("ALTER TABLE journal DISABLE TRIGGER ALL")

    def later(self, seconds: float) -> datetime:
        return self.store.now() + timedelta(seconds=seconds)


@pytest.fixture
def hand(store: Store) -> Hand:
    return Hand(store)


def stale(held: Claim) -> Claim:
    """The same claim as if somebody had taken it over since."""
    return replace(held, epoch=held.epoch - 1)
