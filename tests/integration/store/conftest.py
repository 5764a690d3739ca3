"""One store on each of the two databases: every test that takes `store` runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from tests.support.hand import Hand

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
def address(request: pytest.FixtureRequest) -> str:
    """A database of its own with the current schema, by its address."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture(params=BOTH)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.db'}", SystemClock())
        database.make()
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


@pytest.fixture
def hand(store: Store) -> Hand:
    return Hand(store)
