"""PostgreSQL sessions are as this program needs them, whatever the database, the address or a pooler says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.domain.errors import NotReachable, SchemaRefused, SettingsError
from tests.support.pgbouncer import bouncer, through
from tests.support.postgres import Server
from tests.support.scene import ME, Scene

pytestmark = pytest.mark.postgres

WANTED = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "1",
}


def shown(database: Database) -> dict[str, str]:
    with database.write() as connection:
        return {n: str(connection.exec_driver_sql(f"SHOW {n}").scalar_one()) for n in WANTED}


def alter(url: str, *settings: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in settings:
            connection.execute(f'ALTER DATABASE "{make_url(url).database}" SET {setting}'.encode())


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, SystemClock())
    try:
        yield database
    finally:
        database.close()


def with_options(url: str, options: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options={quote(options)}"


@pytest.fixture
def own(postgres_server: Server) -> Iterator[str]:
    """A database with our schema that a test may set otherwise."""
    url = postgres_server.copy()
    yield url
    postgres_server.drop(url)


def test_settings_of_the_database_change_nothing(own: str) -> None:
    """`datestyle = 'SQL, DMY'` ended the service, and rollback exited with 1."""
    alter(
        own,
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'iso_8601'",
        "timezone = 'Asia/Kolkata'",
        "client_encoding = 'LATIN1'",
        "statement_timeout = 0",
        "default_transaction_isolation = 'serializable'",
        "extra_float_digits = -5",
    )
    with opened(own) as database:
        assert shown(database) == WANTED
        assert database.sessions() == []
    with Scene(own) as scene:
        scene.given_at(1, name="Zürich 東京")
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        assert scene.rollout.restored_at is not None
        assert scene.rollout.name == "Zürich 東京"


def test_the_search_path_of_the_address_is_used_by_everything(own: str) -> None:
    """Staging landed in `public`, and drove production's rollout."""
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA stage")
    stage = with_options(own, "-csearch_path=stage -c statement_timeout=1000")
    with Scene(own) as production:
        production.given_at(1)
        with opened(stage) as database:
            assert migrate.current(database) is None
            migrate.upgrade(database)
            migrate.require_current(database)
            assert Store(database).summaries() == []
            assert shown(database) == WANTED, "ours come after those of the address"
            raw = database.engine.raw_connection().driver_connection
            assert raw is not None
            assert raw.execute("SELECT current_schema()").fetchone() == ("stage",)
        with Scene(stage) as staging:
            staging.given_at(1)
            assert production.rollout.id != staging.rollout.id
            assert [r.id for r in production.app.store.summaries()] == [production.id]


def test_a_search_path_without_its_schema_is_said(own: str) -> None:
    with opened(with_options(own, "-csearch_path=nowhere")) as database:
        with pytest.raises(SchemaRefused, match="is empty; run: rollout db upgrade"):
            migrate.require_current(database)
        with pytest.raises(NotReachable, match="create the schema that search_path names first"):
            migrate.upgrade(database)


@pytest.mark.parametrize(
    ("options", "words"),
    [("-cno_such_setting=1", "no_such_setting"), ("-cdatestyle=nonsense", "DateStyle"), ("-cport=1", "port")],
)
def test_an_option_that_postgresql_does_not_take_is_refused(own: str, options: str, words: str) -> None:
    with opened(with_options(own, options)) as database:
        with pytest.raises(SettingsError, match=r"^ROLLOUT_DATABASE_URL: options: ") as refused, database.read():
            pass
        assert words in refused.value.message


def test_a_parameter_that_libpq_does_not_know_is_refused(own: str) -> None:
    with (
        opened(f"{own}&no_such_thing=1") as database,
        pytest.raises(SettingsError, match=r'ROLLOUT_DATABASE_URL: .*"no_such_thing"'),
        database.read(),
    ):
        pass


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def foreign(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[str]:
    """An empty database in another encoding."""
    name = f"rollout_test_{os.getpid()}_{request.param.lower()}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        query = f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0"
        connection.execute(query.encode())
    url = make_url(postgres_server.url).set(database=name).render_as_string(hide_password=False)
    yield url
    postgres_server.drop(url)


def test_a_database_that_is_not_utf8_is_refused_and_named(foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(foreign) as database:
        with pytest.raises(SchemaRefused, match=r"has the encoding (LATIN1|SQL_ASCII).*ENCODING 'UTF8'"):
            migrate.upgrade(database)
        assert migrate.current(database) is None, "nothing was made"
        monkeypatch.setattr(Database, "encoding", lambda _self: "UTF8")  # as an earlier program did
        migrate.upgrade(database)
        assert any("has the encoding" in trouble for trouble in database.sessions())
    with Scene(foreign) as scene:
        scene.given_at(1)
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        assert scene.rollout.restored_at is not None, "what works goes on working"
        with opened(foreign) as database, database.read() as connection:
            latin = connection.execute(text("SHOW server_encoding")).scalar_one() == "LATIN1"
        if latin:
            with pytest.raises(NotReachable, match="the database must have the encoding UTF8"):
                scene.app.commands.start(scene.rollout.plan, type(ME)("cli:東京", "a test asks"))


# ------------------------------------------------------------------ PgBouncer


@pytest.mark.parametrize("more", [(), ("ignore_startup_parameters = options",)], ids=["strict", "ignoring"])
def test_a_pooler_in_session_mode_works_with_every_setting(own: str, more: tuple[str, ...]) -> None:
    """It refused our start-up options, or dropped all three time limits in silence."""
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA stage")
    with bouncer(own, "session", *more) as port:
        stage = with_options(through(own, port), "-csearch_path=stage")
        with opened(stage) as database:
            migrate.upgrade(database)
            assert shown(database) == WANTED
            assert database.sessions() == []
        with Scene(stage) as scene:
            scene.given_at(1)
            scene.app.commands.rollback(scene.id, ME)
            scene.drive()
            assert scene.rollout.restored_at is not None
    with psycopg.connect(own, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM stage.rollouts").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM public.rollouts").fetchone() == (0,)


def test_a_pooler_in_transaction_mode_is_named(own: str) -> None:
    with bouncer(own, "transaction") as port, opened(through(own, port)) as database:
        (trouble, *_) = database.sessions()
        assert "set pool_mode = session" in trouble


def test_settings_that_differ_are_named(own: str) -> None:
    with opened(own) as database:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("SET lock_timeout = 0")
            connection.exec_driver_sql("SET datestyle = 'German'")
            connection.commit()
        (trouble,) = database.sessions()
        assert "datestyle is German, DMY and was set to ISO, MDY" in trouble
        assert "lock_timeout is 0 and was set to 10s" in trouble


def test_moments_and_fractions_come_back_as_they_were(own: str) -> None:
    alter(own, "extra_float_digits = -10", "datestyle = 'German'", "timezone = 'America/St_Johns'")
    with opened(own) as database, database.write() as connection:
        now = datetime.now(UTC)
        found = connection.execute(
            text("SELECT CAST(:now AS timestamptz), CAST(:x AS float8), CAST(:d AS interval)"),
            {"now": now, "x": 0.1 + 0.2, "d": timedelta(days=1, seconds=1.5)},
        ).one()
        assert tuple(found) == (now, 0.1 + 0.2, timedelta(days=1, seconds=1.5))


def test_a_command_or_claim_whose_process_stood_still_in_its_transaction_is_recorded(own: str) -> None:
    """PostgreSQL ends the session of a machine that was suspended there: `start` failed, and had recorded nothing."""
    with Scene(own) as scene:
        for do in (scene.given, scene.drive, lambda: scene.app.commands.pause(scene.id, ME)):
            with standing_still(scene.app.database) as stood:
                do()
            assert stood == ["once"]
        scene.stands("paused")


@contextmanager
def standing_still(database: Database) -> Iterator[list[str]]:
    """The next writing transaction stands still, once, for longer than its session may."""
    stood: list[str] = []

    def stand_still(connection: Connection) -> None:
        if not stood and not connection.info["read_only"]:
            stood.append("once")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            time.sleep(0.3)

    event.listen(database.engine, "begin", stand_still)
    try:
        yield stood
    finally:
        event.remove(database.engine, "begin", stand_still)
