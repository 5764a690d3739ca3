"""Backup and restore as docs/operations.md has them, and rows as an earlier revision had them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from alembic import op
from sqlalchemy import Column, MetaData, insert, inspect, select, text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.backup import backup
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import REVISIONS, metadata
from tests.support.parts import need

SERVER_PROGRAMS = Path("/usr/lib/postgresql")


class Place(Protocol):
    """One database that can be backed up and restored."""

    url: str

    def backup(self) -> None: ...

    def restore(self) -> None: ...


class SqlitePlace:
    """A file, copied by `rollout db backup`."""

    def __init__(self, folder: Path) -> None:
        self.path, self.copy = folder / "rollout.db", folder / "backup.db"
        self.url = f"sqlite:///{self.path}"

    def backup(self) -> None:
        assert backup(self.url, self.copy) > 0

    def restore(self) -> None:
        for beside in ("-wal", "-shm"):
            self.path.with_name(self.path.name + beside).unlink(missing_ok=True)
        shutil.copy(self.copy, self.path)


class PostgresPlace:
    """A database, dumped by pg_dump and restored by pg_restore."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.copy = url, folder / "rollout.dump"

    def backup(self) -> None:
        self._run("pg_dump", "--format=custom", f"--file={self.copy}", f"--dbname={self.url}")

    def restore(self) -> None:
        self._run(
            "pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={self.url}", str(self.copy)
        )

    @staticmethod
    def _run(program: str, *args: str) -> None:
        found = sorted(SERVER_PROGRAMS.glob(f"*/bin/{program}"))
        path = str(found[-1]) if found else need(program, "apt-get install postgresql-client")
        done = subprocess.run([path, *args], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


def as_of(source: str, url: str, revision: str) -> None:
    """Makes the database at `url` with this revision's schema and the rows that it would have held."""
    old, new = Database(source, SystemClock()), Database(url, SystemClock())
    try:
        migrate.upgrade(new, revision)
        tables = set(inspect(new.engine).get_table_names()) & metadata.tables.keys()
        there = MetaData()
        there.reflect(new.engine, only=sorted(tables))
        with old.read() as reading, new.write() as writing:
            for table in metadata.sorted_tables:
                if table.name in tables:
                    kept = [c for c in table.c if c.name in there.tables[table.name].c]
                    rows = [dict(row._mapping) for row in reading.execute(select(*kept))]
                    if rows:
                        writing.execute(insert(table), rows)
    finally:
        old.close()
        new.close()


def first_with_columns(database: Database) -> None:
    """The first revision's tables, with the columns that later ones add to them: this program's core names them."""
    migrate.upgrade(database, REVISIONS[0])
    there = set(inspect(database.engine).get_table_names()) & metadata.tables.keys()
    with database.write() as connection:
        for name in sorted(there):
            known = {c["name"] for c in inspect(connection).get_columns(name)}
            for column in metadata.tables[name].columns:
                if column.name not in known:
                    type_ = column.type.compile(connection.dialect)
                    connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {column.name} {type_}")


def upgrade_with_columns(database: Database) -> None:
    """All other revisions in their order; columns that `first_with_columns` has made are not made again."""
    add = op.add_column

    def add_missing(table: str, column: Column[Any]) -> None:
        if column.name not in {c["name"] for c in inspect(op.get_bind()).get_columns(table)}:
            add(table, column)

    with mock.patch.object(op, "add_column", add_missing):
        assert migrate.upgrade(database)[1] == REVISIONS[-1]


def run_script(database: Database, script: str) -> None:
    """Runs SQL statements, one a line; times in them are UTC."""
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for line in script.splitlines():
            if line and not line.startswith("--"):
                connection.exec_driver_sql(line.replace("%", "%%") if not database.is_sqlite else line)
