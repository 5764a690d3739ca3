"""What the benchmarks measure on: databases that wait for their disk at each commit, as a service's do."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from tests.support import postgres
from tests.support.parts import missing


@pytest.mark.postgres
def test_postgresql_of_the_benchmarks_waits_for_a_disk() -> None:
    if os.environ.get(postgres.ENVIRONMENT):
        pytest.skip("the server is somebody else's")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.server(durable=True))
        except postgres.NoServer as reason:
            missing(f"no PostgreSQL: {reason}")
        plain = server.url.replace("+psycopg", "")
        with psycopg.connect(plain) as connection:
            shown = {
                name: connection.execute(f"SELECT current_setting('{name}')").fetchone()
                for name in ("fsync", "full_page_writes", "synchronous_commit", "data_directory")
            }
    assert [shown[name] for name in ("fsync", "full_page_writes", "synchronous_commit")] == [("on",)] * 3
    where = shown["data_directory"]
    assert where is not None and not str(where[0]).startswith("/dev/shm")


def test_sqlite_waits_for_its_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/bench.db", SystemClock())
    migrate.upgrade(database)
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
