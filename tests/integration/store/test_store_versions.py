"""A version is the same while nothing was committed, another after every commit, and None when nobody can say."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.versions import PATIENCE, PostgresVersions, SqliteVersions, Versions, versions
from tests.support.loops import run_apart


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/versions.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url, SystemClock())
    migrate.upgrade(made)
    yield made
    made.close()


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work)


def asked(database: Database, ask: Callable[[Versions], Awaitable[None]]) -> None:
    """Runs `ask` with versions that are known already."""

    async def main() -> None:
        found = versions(database, in_thread)
        await known(found)
        try:
            await ask(found)
        finally:
            found.close()

    run_apart(main())


async def known(found: Versions) -> Hashable:
    end = time.monotonic() + 10
    while (version := await found.now()) is None:
        assert time.monotonic() < end, "the version was never known"
        await asyncio.sleep(0.01)
    return version


def write(database: Database, key: str) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO meta (key, value) VALUES (:key, 'x')"), {"key": key})


def test_each_database_has_its_own_way(database: Database) -> None:
    kind = type(versions(database, in_thread))
    assert kind is (SqliteVersions if database.is_sqlite else PostgresVersions)


def test_it_changes_with_every_commit_of_anybody_and_with_no_read(database: Database, url: str) -> None:
    other = Database(url, SystemClock())

    async def ask(found: Versions) -> None:
        before = await found.now()
        for who, mine in enumerate((database, other, database)):
            with mine.read() as connection:
                assert connection.execute(text("SELECT count(*) FROM meta")).scalar_one() >= 0
            assert await found.now() == before, "a read changes nothing"
            write(mine, f"key{who}")
            after = await found.now()
            assert after not in (before, None)
            before = after

    asked(database, ask)
    other.close()


@pytest.mark.postgres
def test_a_transaction_that_was_open_all_the_time_counts_when_it_commits(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())

    async def ask(found: Versions) -> None:
        with database.write() as connection:
            connection.execute(text("INSERT INTO meta (key, value) VALUES ('early', 'x')"))
            write(database, "late")
            before = await found.now()
            assert await found.now() == before
        assert await found.now() != before

    asked(database, ask)
    database.close()


@pytest.mark.postgres
def test_those_who_ask_at_once_share_a_question_that_is_not_older_than_they_are(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())

    async def ask(found: Versions) -> None:
        assert isinstance(found, PostgresVersions)
        questions = []
        real = found._ask
        found._ask = lambda: (questions.append(None), real())[1]  # type: ignore[method-assign]
        first = asyncio.create_task(found.now())
        await asyncio.sleep(0)  # its question is on its way
        write(database, "meanwhile")
        rest = [asyncio.create_task(found.now()) for _ in range(50)]
        old, *new = await asyncio.gather(first, *rest)
        assert len(questions) == 2
        assert None not in (old, *new)
        assert len(set(new)) == 1
        assert await found.now() == new[0], "what was committed before they asked is seen by it"

    asked(database, ask)
    database.close()


@pytest.mark.postgres
def test_a_lost_connection_is_known_at_once_and_opened_again(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())

    async def ask(found: Versions) -> None:
        assert isinstance(found, PostgresVersions)
        pid = found._connection.info.backend_pid
        with database.write() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        assert await found.now() is None
        await known(found)

    asked(database, ask)
    database.close()


@pytest.mark.postgres
def test_nobody_waits_long_for_a_server_that_stands_still(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())

    async def ask(found: Versions) -> None:
        assert isinstance(found, PostgresVersions)
        pid = found._connection.info.backend_pid
        try:
            os.kill(pid, signal.SIGSTOP)
        except PermissionError as reason:
            pytest.skip(f"the server's processes cannot be stopped: {reason}")
        try:
            began = time.monotonic()
            first = asyncio.create_task(found.now())
            await asyncio.sleep(0)
            assert await found.now() is None and await first is None
            assert time.monotonic() - began >= PATIENCE, "it was asked"
        finally:
            os.kill(pid, signal.SIGCONT)
        await known(found)

    asked(database, ask)
    database.close()


@pytest.mark.postgres
def test_a_server_that_cannot_be_reached_is_tried_again_and_keeps_nobody(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())
    tries = []

    async def refused(work: Callable[[], Any]) -> Any:
        tries.append(work)
        raise OSError("no route")

    async def main() -> None:
        found = PostgresVersions(database, refused)
        assert [await found.now() for _ in range(3)] == [None] * 3
        await asyncio.sleep(0.01)
        assert await found.now() is None
        assert len(tries) == 1, "not before a second has passed"
        found._again_at = 0.0
        await found.now()
        await asyncio.sleep(0.01)
        assert len(tries) == 2
        found.close()
        found._again_at = 0.0
        await found.now()
        await asyncio.sleep(0.01)
        assert len(tries) == 2, "closed"

    run_apart(main())
    database.close()
