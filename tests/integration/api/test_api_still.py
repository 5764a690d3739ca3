"""What is sent again is what would be said: any commit ends it, of any process, and so do a second and the token."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tokens import AccessStore
from rollout.adapters.store.versions import SqliteVersions
from rollout.interfaces.api.still import GOOD_FOR, Still
from rollout.interfaces.api.worker_pools import SQLITE_READERS
from rollout.interfaces.auth.roles import Caller, Role
from tests.integration.api.live import live
from tests.support.clock import FakeClock
from tests.support.loops import run_apart

ME = Caller("t1", "me", Role.VIEWER)
KEY = (("Bearer x",), "127.0.0.1", "/api/v1/rollouts", b"")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "still.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{path}", SystemClock())
    migrate.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def still(database: Database) -> Iterator[Still]:
    kept = Still(SqliteVersions(database), FakeClock())
    yield kept
    kept.close()


def put(still: Still, caller: Caller = ME, version: Hashable | None = None) -> None:
    async def make() -> None:
        with still.making(KEY, await still.version() if version is None else version) as made:
            made(caller, b"answer")

    run_apart(make())


def version_of(still: Still) -> Hashable | None:
    return run_apart(still.version())


def get(still: Still) -> bytes | None:
    found = still.get(KEY, version_of(still))
    return None if found is None else found.body


def test_an_answer_is_sent_again_while_nothing_was_committed(still: Still) -> None:
    assert get(still) is None
    put(still)
    assert get(still) == get(still) == b"answer"
    assert still.get((*KEY, "another"), version_of(still)) is None


def test_a_commit_of_anybody_ends_it(still: Still, database: Database, path: Path) -> None:
    put(still)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('a', 'b')")
    assert get(still) is None, "of this process"
    put(still)
    other = sqlite3.connect(path)
    with other:
        other.execute("INSERT INTO meta (key, value) VALUES ('c', 'd')")
    other.close()
    assert get(still) is None, "of another"


def test_what_was_committed_while_it_was_made_ends_it(still: Still, database: Database) -> None:
    before = version_of(still)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('a', 'b')")
    put(still, version=before)
    assert get(still) is None


def test_who_asks_while_an_answer_is_made_gets_that_one(still: Still) -> None:
    async def main() -> None:
        version = await still.version()
        with still.making(KEY, version) as made:
            waiting = [asyncio.create_task(still.coming(KEY, version)) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in waiting)
            assert await still.coming((*KEY, "another"), version) is None
            assert await still.coming(KEY, object()) is None, "begun before what is asked for"
            waiting.pop().cancel()
            await asyncio.sleep(0.01)
            made(ME, b"answer")
            assert [found.body for found in await asyncio.gather(*waiting) if found] == [b"answer"] * 2
        assert not still._coming

    run_apart(main())


def test_an_answer_that_does_not_come_is_made_by_those_who_wait(still: Still) -> None:
    async def main() -> None:
        version = await still.version()
        with pytest.raises(ZeroDivisionError), still.making(KEY, version):
            waiting = asyncio.create_task(still.coming(KEY, version))
            await asyncio.sleep(0.01)
            raise ZeroDivisionError
        assert await waiting is None and not still._coming

    run_apart(main())


def test_it_is_no_older_than_a_second(still: Still) -> None:
    clock = still._clock
    assert isinstance(clock, FakeClock)
    put(still)
    clock.to(clock.now() + GOOD_FOR)
    assert get(still) is None


def test_a_token_that_is_about_to_end_is_looked_at_each_time(still: Still) -> None:
    now = still._clock.now()
    put(still, Caller("t1", "me", Role.VIEWER, None, now + timedelta(seconds=0.5)))
    assert get(still) is None
    put(still, Caller("t1", "me", Role.VIEWER, None, now + timedelta(hours=1)))
    assert get(still) == b"answer"


def test_a_database_that_cannot_say_keeps_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'broken.db'}", SystemClock())
    database.close()
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
    still = Still(SqliteVersions(database), FakeClock())
    assert version_of(still) is None
    put(still)
    assert still.get(KEY, None) is None


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_read_is_sent_again_without_the_database_and_not_to_a_revoked_token(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/rollout.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with live(tmp_path, ticking=False, database_url=url) as running:
        made, token = running.token("viewer")
        said: list[str] = []
        event.listen(running.app.database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        assert running.ask("GET", "/api/v1/rollouts", token=token).status == 200
        assert said, "the first one asks"

        def silent() -> bool:  # soon: the note of the token's first use is a commit, too
            before = len(said)
            return running.ask("GET", "/api/v1/rollouts", token=token).status == 200 and len(said) == before

        running.until(silent)
        AccessStore(running.app.database).revoke(made, "a test")
        assert running.ask("GET", "/api/v1/rollouts", token=token).status == 401


class Silent:
    """A database that does not say whether anything was committed."""

    async def now(self) -> Hashable | None:
        await asyncio.Event().wait()
        return None

    def close(self) -> None:
        pass


def test_a_rollback_does_not_ask_whether_anything_was_committed(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False) as running:
        id_ = running.start(name="held", confirmed=False)
        running.server.service.still._versions = Silent()
        path = f"/api/v1/rollouts/{id_}/rollback?wait=0"
        assert running.ask("POST", path, {}, token="operator", timeout=5).status in (200, 202)


def test_a_rollback_waits_for_no_reader_of_the_same_token(tmp_path: Path) -> None:
    """Who asks is found out once for all that ask at the same moment, but not across lanes."""
    with live(tmp_path, ticking=False) as running:
        id_ = running.start(name="held", confirmed=False)
        service, held = running.server.service, threading.Event()
        try:
            for _ in range(SQLITE_READERS):
                service.lanes.submit("read", held.wait)
            with ThreadPoolExecutor(1) as pool:
                long_way = "/api/v1/rollouts?limit=50&limit=50"
                reader = pool.submit(running.ask, "GET", long_way, token="operator")
                running.until(lambda: service.lanes._waiting["read"] > SQLITE_READERS)
                path = f"/api/v1/rollouts/{id_}/rollback?wait=0"
                assert running.ask("POST", path, {}, token="operator", timeout=5).status in (200, 202)
                assert not reader.done()
                held.set()
                assert reader.result().status == 200
        finally:
            held.set()
