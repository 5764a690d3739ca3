"""Engines: which addresses are taken, how a file is opened, and what an unusable database says."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, create_engine

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.database_file import DatabaseFile
from rollout.adapters.store.engine import Database, Opener
from rollout.adapters.store.repository import Store
from rollout.domain.errors import NoDatabase, NotReachable, Refused, SettingsError, UnknownRollout
from rollout.domain.lifecycle.records import JournalEntry
from tests.support.clock import FakeClock
from tests.support.hand import Hand


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a database address; write sqlite:///rollout.db or postgresql://user@host/name"),
        ("mysql://user@host/name", "mysql is not supported; write sqlite:///rollout.db or postgresql://"),
        ("sqlite://", "a database in memory is lost when the process ends; write sqlite:///rollout.db"),
        ("sqlite:///:memory:", "a database in memory is lost"),
    ],
    ids=["nonsense", "mysql", "memory", "memory-by-name"],
)
def test_a_wrong_address_is_refused_with_what_to_write(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match="ROLLOUT_DATABASE_URL: ") as refused:
        Opener(url)
    assert words in refused.value.message


def test_a_new_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}", SystemClock())
    database.make()
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
    database.close()


def test_a_file_in_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'none' / 'x.db'}", SystemClock())
    with pytest.raises(SettingsError, match=r"there is no folder .*none; create it first"):
        database.make()


@pytest.mark.parametrize("use", ["read", "write"])
def test_opening_a_file_that_is_not_there_makes_none(use: str, tmp_path: Path) -> None:
    """A mistyped path became a new database, in which no rollout was live."""
    path = tmp_path / "typo.db"
    database = Database(f"sqlite:///{path}", SystemClock())
    with pytest.raises(NoDatabase, match=f"there is no database file {path}"), getattr(database, use)():
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["empty", "another program's"])
def test_reading_a_file_that_is_not_ours_leaves_it_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.touch()
    if content != "empty":
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE theirs (a)")
        other.close()
    before = path.read_bytes()
    database = Database(f"sqlite:///{path}", SystemClock())
    assert migrate.current(database) is None
    database.close()
    assert path.read_bytes() == before


def test_sqlite_keeps_what_was_committed_through_a_power_cut(sqlite_url: str) -> None:
    database = Database(sqlite_url, SystemClock())
    with database.read() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted}
    assert found == wanted
    database.close()


@pytest.mark.postgres
def test_postgres_does_not_wait_for_ever(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())
    with database.read() as connection:
        wanted = {"statement_timeout": "15s", "lock_timeout": "10s"}
        assert {n: connection.exec_driver_sql(f"SHOW {n}").scalar_one() for n in wanted} == wanted
    database.close()


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "sqlite:///{folder}/broken.db"])
def test_a_database_that_cannot_be_used_says_so(url: str, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database, and long enough to have a header" * 20)
    database = Database(url.format(folder=tmp_path), SystemClock())
    for use in (database.read, database.write):
        with pytest.raises(NotReachable, match="the database cannot be") as refused, use():
            pass
        assert refused.value.exit_code == 4
        assert "\n" not in refused.value.message
    database.close()


def test_the_time_is_the_clocks_on_sqlite(sqlite_url: str) -> None:
    clock = FakeClock()
    database = Database(sqlite_url, clock)
    assert Store(database).now() == clock.now()
    database.close()


@pytest.mark.postgres
def test_the_time_is_the_databases_on_postgresql(postgres_url: str) -> None:
    """Replicas share the database and not their clocks."""
    clock = FakeClock()
    database = Database(postgres_url, clock)
    clock.advance(9_000_000)
    found = Store(database).now()
    assert abs((found - SystemClock().now()).total_seconds()) < 5
    assert found.tzinfo is not None
    database.close()


def test_a_failed_transaction_leaves_nothing_behind(store: Store, hand: Hand) -> None:
    with pytest.raises(ZeroDivisionError), store.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('a', 'b')")
        raise ZeroDivisionError
    assert hand.run("SELECT * FROM meta") == []


def test_writers_wait_for_each_other(store: Store, hand: Hand) -> None:
    """Read, then write, from several threads at once: none fails, and none works on an old row."""
    hand.run("INSERT INTO meta (key, value) VALUES ('count', '0')")
    failures: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(10):
                with store.database.write() as connection:
                    query = "SELECT value FROM meta WHERE key = 'count'"
                    lock = "" if store.database.is_sqlite else " FOR UPDATE"
                    value = int(connection.exec_driver_sql(query + lock).scalar_one())
                    connection.exec_driver_sql(f"UPDATE meta SET value = '{value + 1}' WHERE key = 'count'")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert hand.run("SELECT value FROM meta")[0].value == "40"


def link(path: Path, to: Path) -> None:
    path.symlink_to(to)


def hard_link(path: Path, to: Path) -> None:
    path.hardlink_to(to)


@pytest.mark.parametrize("make", [link, hard_link], ids=["link", "hard link"])
def test_one_service_holds_the_file_however_it_is_spelled(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """The lock lay beside the path: two services drove one file through a link."""
    path, other = tmp_path / "rollout.db", tmp_path / "sub" / "other.db"
    other.parent.mkdir()
    DatabaseFile(path).make()
    make(other, path)
    with DatabaseFile(path).only_service():
        for spelled in (path, other, tmp_path / "sub" / ".." / "rollout.db"):
            with pytest.raises(Refused, match="SQLite allows one"), DatabaseFile(spelled).only_service():
                pass
    with DatabaseFile(other).only_service():
        pass


def test_a_pool_that_is_used_up_is_told_as_a_database_out_of_reach(sqlite_url: str) -> None:
    engine = Opener(sqlite_url).engine()
    small = create_engine(engine.url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    database = Database(sqlite_url, SystemClock(), small)
    with (
        small.connect(),
        pytest.raises(NotReachable, match="all of this process's connections are in use"),
        database.read(),
    ):
        pass
    database.close()


@pytest.mark.postgres
def test_a_server_that_has_gone_without_a_word_is_given_up(postgres_url: str) -> None:
    database = Database(postgres_url, SystemClock())
    with database.read() as connection:
        given = connection.connection.driver_connection.info.get_parameters()
    wanted = {"tcp_user_timeout": "20000", "keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "3"}
    assert wanted.items() <= given.items()
    database.close()


def test_what_a_thread_reads_at_one_moment_fits_together(
    store: Store, hand: Hand, open_store: Callable[[], Store]
) -> None:
    """A page asks for a rollout, its journal and its calls one after the other; others see what came meanwhile."""
    hand.create("r1")
    other = open_store()
    with store.database.at_one_moment():
        before = len(store.history("r1"))
        other.note_once_a_day("r1", JournalEntry("note", "service", "meanwhile"))
        assert len(store.history("r1")) == before
        elsewhere: list[int] = []
        beside = threading.Thread(target=lambda: elsewhere.append(len(store.history("r1"))))
        beside.start()
        beside.join(10)
    assert elsewhere == [before + 1]
    assert len(store.history("r1")) == before + 1


def test_a_moment_inside_another_is_the_same(store: Store, hand: Hand, open_store: Callable[[], Store]) -> None:
    hand.create("r1")
    other = open_store()
    with store.database.at_one_moment():
        before = len(store.history("r1"))
        with store.database.at_one_moment():
            other.note_once_a_day("r1", JournalEntry("note", "service", "meanwhile"))
            assert len(store.history("r1")) == before
        assert len(store.history("r1")) == before
    assert len(store.history("r1")) == before + 1


def test_a_moment_ends_with_an_error_in_it(store: Store, hand: Hand) -> None:
    hand.create("r1")
    with pytest.raises(UnknownRollout), store.database.at_one_moment():
        store.load("r2")
    store.note_once_a_day("r1", JournalEntry("note", "service", "after it"))
    assert store.history("r1")[-1].reason == "after it"
