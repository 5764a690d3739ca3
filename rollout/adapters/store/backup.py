"""A copy of a SQLite database that is whole, taken while the service keeps working."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from rollout.adapters.store.address import SqliteAddress, parse_address
from rollout.adapters.store.database_file import DatabaseFile
from rollout.domain.errors import InputError, NoDatabase, NotReachable, NotWritable


def backup(database_url: str, destination: Path) -> int:
    """Copy the database with SQLite's online backup; return the copy's size in bytes.

    The file is written completely or not at all, and only its owner can read it. InputError for PostgreSQL, which
    brings its own tools, and for a destination that exists; NotWritable for one that cannot be written.
    """
    address = parse_address(database_url)
    if not isinstance(address, SqliteAddress):
        raise InputError("db backup copies SQLite; for PostgreSQL run: pg_dump --format=custom --file=FILE DATABASE")
    source = address.path
    if not source.is_file():
        raise NoDatabase(f"there is no database file {source}; nothing was written")
    if destination.exists():
        raise InputError(f"{destination}: this file already exists; write another name")
    part = destination.with_name(f".{destination.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        with (
            contextlib.closing(DatabaseFile(source).connect()) as live,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
            (state,) = copy.execute("PRAGMA integrity_check").fetchone()
        if state != "ok":
            raise NotReachable(f"{source} is damaged ({state}); nothing was written")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(destination)
    except OSError as error:
        raise NotWritable.at(destination, error) from None
    except sqlite3.Error as error:
        raise NotReachable(f"{source} cannot be copied to {destination}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return destination.stat().st_size
