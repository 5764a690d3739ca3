"""Databases that are backed up, restored and upgraded: SQLite files, and PostgreSQL where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.upgrade.drill import Place, PostgresPlace, SqlitePlace

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, quick_folder: Path, tmp_path: Path) -> Iterator[Place]:
    """An empty database and a way to back it up and to restore it."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path)
        return
    server = request.getfixturevalue("postgres_server")
    url = server.make()
    yield PostgresPlace(url, tmp_path)
    server.drop(url)
