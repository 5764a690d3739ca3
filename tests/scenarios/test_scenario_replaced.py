"""The database vanishes or is replaced under a service: nothing forward, and a rollback is still carried out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from jobs.scheduler import Scheduler
from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.domain.errors import DatabaseReplaced
from tests.support.postgres import Server
from tests.support.scene import ME, Scene
from tests.support.values import plan

ONE = "+14157774444"
SENTENCE = "the database file was replaced; stop the service; use the kit"


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def copied_over(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)


def made_anew(path: Path) -> None:
    path.unlink()
    database = Database(f"sqlite:///{path}", SystemClock())
    migrate.upgrade(database)
    database.close()


def pointed_elsewhere(path: Path) -> None:
    link = path.with_name("link.db")
    shutil.copy(path, path.with_name("other.db"))
    link.unlink()
    link.symlink_to("other.db")


@pytest.fixture(params=[removed, moved, copied_over, made_anew, pointed_elsewhere])
def replace(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    found: Callable[[Path], None] = request.param
    return found


@pytest.fixture
def linked(sqlite_url: str) -> Iterator[Scene]:
    """The product on a link to its file."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    path.with_name("link.db").symlink_to(path.name)
    with Scene(f"sqlite:///{path.with_name('link.db')}") as scene:
        yield scene


def names(scene: Scene) -> set[str]:
    return {p.name for p in file_of(scene).parent.iterdir()}


def file_of(scene: Scene) -> Path:
    return Path(scene.url.removeprefix("sqlite:///")).resolve()


def test_nothing_goes_forward_when_the_file_is_replaced(linked: Scene, replace: Callable[[Path], None]) -> None:
    """A step went from 10 % to 100 % in a file that nobody would ever read again."""
    scene = linked
    scene.given_at(1)
    (other,) = scene.add_numbers(1)
    written = len(scene.patches())
    replace(file_of(scene))
    scene.clock.advance(86_400)
    scheduler = Scheduler(scene.app)
    scheduler.tick()
    scheduler.advance.stop()
    assert SENTENCE in scheduler.last_error
    assert scheduler.last_good is None
    assert len(scene.patches()) == written
    for order in (
        lambda: scene.app.commands.promote(scene.id, ME),
        lambda: scene.app.commands.start(plan(name="other", numbers=[other]), ME),
    ):
        with pytest.raises(DatabaseReplaced, match=SENTENCE):
            order()


def test_a_step_under_way_sends_nothing_more_when_the_file_is_replaced(linked: Scene) -> None:
    scene = linked
    scene.given_at(1)
    scene.app.commands.promote(scene.id, ME)
    written = len(scene.patches())
    (held,) = scene.app.store.claim(scene.app.owner, timedelta(seconds=scene.app.timing.lease))
    copied_over(file_of(scene))
    with pytest.raises(DatabaseReplaced, match=SENTENCE):
        scene.app.driver.drive(held)
    assert len(scene.patches()) == written


@pytest.mark.parametrize("vanish", [removed, moved])
def test_a_rollback_is_carried_out_when_the_file_is_gone(linked: Scene, vanish: Callable[[Path], None]) -> None:
    scene = linked
    scene.given_at(1)
    assert scene.weight(ONE) > 0
    vanish(file_of(scene))
    scene.app.commands.rollback(scene.id, ME)
    lease = timedelta(seconds=scene.app.timing.lease)
    (held,) = scene.app.store.claim(scene.app.owner, lease, urgent_only=True)
    scene.app.driver.drive(held)
    assert scene.weight(ONE) == 0


@pytest.mark.parametrize("replace", [copied_over, made_anew, pointed_elsewhere])
def test_nothing_is_read_or_written_when_another_file_stands_there(
    linked: Scene, replace: Callable[[Path], None]
) -> None:
    """The two files share one write-ahead log: what the service wrote went into the other database."""
    scene = linked
    scene.given_at(1)
    replace(file_of(scene))
    before = file_of(scene).read_bytes()
    for use in (
        lambda: scene.app.commands.rollback(scene.id, ME),
        lambda: scene.app.store.heartbeats.beat("me"),
        lambda: scene.app.store.load(scene.id),
    ):
        with pytest.raises(DatabaseReplaced, match=SENTENCE):
            use()
    assert file_of(scene).read_bytes() == before


@pytest.mark.parametrize("replace", [removed, moved])
def test_a_pool_that_needs_another_connection_makes_no_new_file(linked: Scene, replace: Callable[[Path], None]) -> None:
    linked.given_at(1)
    before = names(linked)
    replace(file_of(linked))
    with linked.app.database.read(), pytest.raises(DatabaseReplaced, match=SENTENCE), linked.app.database.read():
        pass
    added = names(linked) - before - {"elsewhere.db", "other.db"}
    assert not {name for name in added if name.endswith(".db")}


@pytest.mark.postgres
def test_nothing_goes_forward_when_the_postgresql_database_is_made_anew(postgres_server: Server) -> None:
    url = postgres_server.copy()
    name = make_url(url).database
    with Scene(url) as scene:
        scene.given_at(1)
        written = len(scene.patches())
        scheduler = Scheduler(scene.app)
        scheduler._look_back()
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'".encode()
            )
            connection.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"'.encode())
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            connection.execute(f'ALTER DATABASE "{name}_copy" RENAME TO "{name}"'.encode())
        scene.clock.advance(86_400)
        for _ in range(3):  # connections that were ended are found out first
            scheduler.tick()
        scheduler.advance.stop()
        assert "the database was replaced; stop the service; use the kit" in scheduler.last_error
        with pytest.raises(DatabaseReplaced):
            scene.app.store.heartbeats.require_same()
        assert len(scene.patches()) == written
    postgres_server.drop(url)


@pytest.mark.postgres
def test_a_postgresql_database_that_lost_its_tables_says_so(postgres_server: Server) -> None:
    url = postgres_server.copy()
    with Scene(url) as scene:
        scene.given_at(1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE rollouts CASCADE")
        scheduler = Scheduler(scene.app)
        scheduler.tick()
        scheduler.advance.stop()
        assert "the tables are gone: restore a backup" in scheduler.last_error
    postgres_server.drop(url)
