"""Migrations: found in the wheel or the checkout, and run under a lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, inspect, text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.address import SqliteAddress, parse_address
from rollout.adapters.store.engine import Database
from rollout.adapters.store.postgres_session import UTF8, not_utf8
from rollout.adapters.store.tables import REVISIONS
from rollout.domain.errors import SchemaRefused
from rollout.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

# Any fixed number: replicas that start together wait for each other.
_ADVISORY_LOCK = 7_402_118_866


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    here = Path(__file__).resolve().parents[2]
    inside, checkout = here / "_alembic", here.parent / "alembic"
    config = Config()
    config.set_main_option("script_location", str(inside if inside.is_dir() else checkout))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision this program knows."""
    return REVISIONS[-1]


def current(database: Database) -> str | None:
    """The revision the database is at; None for an empty one."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return found


def upgrade(database: Database, revision: str = "head") -> tuple[str | None, str]:
    """Make or upgrade the database in one transaction; return the revisions before and after."""
    from alembic import command
    from alembic.migration import MigrationContext

    database.make()
    if (encoding := database.encoding()) != UTF8:
        raise SchemaRefused(f"{database.place}: {not_utf8(encoding)}")
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        before = MigrationContext.configure(connection).get_current_revision()
        if before not in (None, head()) and not database.is_sqlite:
            # Every process that records locks a row here first. Taken later, after an index was made, this lock
            # and theirs would wait for each other.
            connection.execute(text("LOCK TABLE rollouts IN ACCESS EXCLUSIVE MODE"))
        if before is not None and before not in REVISIONS:
            raise SchemaRefused(_newer(before))
        command.upgrade(_config(connection), revision)
        after = MigrationContext.configure(connection).get_current_revision()
    assert after is not None
    return before, after


def has_none_yet(settings: Settings) -> bool:
    """True if no database is configured, and there is none in the working folder."""
    address = parse_address(settings.database_url)
    return settings.database_is_default and isinstance(address, SqliteAddress) and not address.path.exists()


def make_default(database: Database, settings: Settings) -> None:
    """Make the database of the working folder if there is none; a configured one is never made this way."""
    if settings.database_is_default and (has_none_yet(settings) or current(database) is None):
        upgrade(database)


@contextmanager
def scratch() -> Iterator[str]:
    """The address of a database without any row, for a caller that needs no data; removed after the block."""
    with TemporaryDirectory(prefix="rollout-") as folder:
        url = URL.create("sqlite", database=str(Path(folder) / "none.db")).render_as_string()
        with closing(Database(url, SystemClock())) as database:
            upgrade(database)
        yield url


def require_current(database: Database) -> None:
    """SchemaRefused, with the command to run, unless the database has the schema of this program."""
    found = current(database)
    wanted = head()
    if found == wanted:
        return
    if found is None:
        raise SchemaRefused(f"the database {database.place} is empty; run: rollout db upgrade")
    if found not in REVISIONS:
        raise SchemaRefused(_newer(found))
    raise SchemaRefused(f"the database has the schema {found} and this program needs {wanted}; run: rollout db upgrade")


def _newer(found: str) -> str:
    return (
        f"the database has the schema {found}, which this program does not know: a newer version made it; run "
        "that version, or restore a backup"
    )
