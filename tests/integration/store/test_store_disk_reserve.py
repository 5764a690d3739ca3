"""The room that is kept for rollbacks: made when there is room, given back once, made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.disk_reserve import DiskReserve
from rollout.adapters.store.engine import Database


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    made = Database(sqlite_url, SystemClock())
    yield made
    made.close()


def _path(database: Database) -> Path:
    return Path(f"{database.engine.url.database}.ballast")


def test_made_given_back_and_made_again(database: Database) -> None:
    reserve, path = DiskReserve(database, 0.5), _path(database)
    assert not reserve.give_back(), "there is none yet"
    for _ in range(2):
        assert reserve.keep() == ""
        assert (path.stat().st_size, path.stat().st_mode & 0o777) == (500_000, 0o600)
        assert not reserve.given_back
        assert reserve.give_back()
        assert reserve.given_back
        assert not reserve.give_back(), "once"


def test_none_is_made_where_there_is_no_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(_path(database).parent)
    few = 900_000 // disk.f_frsize
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((*disk[:4], few, *disk[5:])))
    reserve = DiskReserve(database, 0.5)
    assert "less than twice its size is free" in reserve.keep()
    assert not _path(database).exists()
    assert not reserve.given_back, "and nothing forward waits for it"


def test_a_system_that_refuses_leaves_nothing_behind(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(122, "Disk quota exceeded")

    reserve = DiskReserve(database, 0.5)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert "Disk quota exceeded" in reserve.keep()
    assert not _path(database).exists()
    monkeypatch.undo()
    reserve.keep()
    reserve.give_back()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve.keep()
    assert reserve.given_back


def test_a_size_of_nothing_switches_it_off(database: Database) -> None:
    reserve = DiskReserve(database, 0)
    assert reserve.keep() == ""
    assert not _path(database).exists()


@pytest.mark.postgres
def test_postgresql_has_none(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())
    reserve = DiskReserve(database, 8)
    assert (reserve.keep(), reserve.give_back(), reserve.given_back) == ("", False, False)
    database.close()
