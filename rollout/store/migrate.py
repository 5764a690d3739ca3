"""Finds the migrations (in the wheel or the checkout), upgrades under a lock, and says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from rollout.domain.errors import SchemaRefused
from rollout.store.engine import Database
from rollout.store.tables import REVISIONS

if TYPE_CHECKING:
    from alembic.config import Config

# Any fixed number; replicas that start together wait for each other instead of colliding.
_ADVISORY_LOCK = 7_402_118_866


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    here = Path(__file__).resolve().parent.parent
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
        found: str | None = connection.execute(
            text("SELECT version_num FROM alembic_version")
        ).scalar_one_or_none()
        return found


def upgrade(database: Database, revision: str = "head") -> tuple[str | None, str]:
    """Upgrades the database in one transaction; returns the revisions before and after."""
    from alembic import command
    from alembic.migration import MigrationContext

    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None and before not in REVISIONS:
            raise SchemaRefused(_newer(before))
        command.upgrade(_config(connection), revision)
        after = MigrationContext.configure(connection).get_current_revision()
    assert after is not None
    return before, after


def require_current(database: Database) -> None:
    """SchemaRefused, with the command to run, unless the database has the schema of this program."""
    found = current(database)
    wanted = head()
    if found == wanted:
        return
    if found is None:
        raise SchemaRefused("the database is empty; run: rollout db upgrade")
    if found not in REVISIONS:
        raise SchemaRefused(_newer(found))
    raise SchemaRefused(
        f"the database has the schema {found} and this program needs {wanted}; run: rollout db upgrade"
    )


def _newer(found: str) -> str:
    return (
        f"the database has the schema {found}, which this program does not know: it was made by a newer one; "
        "run that version, or restore a backup"
    )
