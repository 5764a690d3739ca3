"""The product on a store whose clock the test moves; nothing asks Retell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.store.engine import Database
from rollout.store.repository import Store
from tests.support.clock import FakeClock
from tests.support.hand import Hand


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(sqlite_url: str, clock: FakeClock) -> Iterator[Store]:
    database = Database(sqlite_url, clock)
    yield Store(database)
    database.close()


@pytest.fixture
def hand(store: Store) -> Hand:
    return Hand(store)
