"""The product on a store whose clock the test moves; nothing asks Retell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.inside import Inside


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


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(tmp_path, monkeypatch, capsys)
