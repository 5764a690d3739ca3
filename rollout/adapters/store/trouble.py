"""Trouble of the database, told as errors of ours: what failed, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from rollout.domain.errors import DiskFull, NotReachable, TransactionEnded

_IDLE_IN_TRANSACTION = "25P03"  # PostgreSQL ended the session between two statements, so before a commit


@contextmanager
def trouble_told(done: str) -> Iterator[None]:
    """Raise NotReachable for trouble of the database, or the kind of it that it is. Bugs of ours pass unchanged.

    `done`: what was being done with it, "read" or "used".
    """
    try:
        yield
    except (exc.DatabaseError, exc.InterfaceError) as error:
        state = getattr(error.orig, "sqlstate", None)
        if not _is_trouble(error, state):
            raise
        kind = DiskFull if _is_full(error) else TransactionEnded if state == _IDLE_IN_TRANSACTION else NotReachable
        advice = _ADVICE.get(state or "", "")
        raise kind(f"the database cannot be {done}: {_words(error)}{advice}") from error
    except exc.TimeoutError as error:
        raise NotReachable(f"the database cannot be {done}: all of this process's connections are in use") from error
    except sqlite3.DatabaseError as error:  # of our own BEGIN, which SQLAlchemy does not see
        kind = DiskFull if error.sqlite_errorcode == sqlite3.SQLITE_FULL else NotReachable
        raise kind(f"the database cannot be {done}: {error}") from error


# Errors that PostgreSQL blames on the program, but that show a database that is not as the migrations made it.
_ADVICE = {
    "42P01": "; the tables are gone: restore a backup, or run `rollout db check`. The kit rolls back without them",
    "3F000": "; create the schema that search_path names first: CREATE SCHEMA",
    "22P05": "; the database must have the encoding UTF8: move it to one that has",
    "22021": "; the database must have the encoding UTF8: move it to one that has",
}


def _is_trouble(error: exc.DBAPIError, state: str | None) -> bool:
    """True if the database itself is in trouble: gone, locked, full, damaged. Anything else is a bug of ours.

    sqlite3 calls a damaged file a plain DatabaseError; PostgreSQL ends an idle session by an InternalError.
    """
    kinds = (exc.OperationalError, exc.InternalError, exc.InterfaceError)
    return type(error) is exc.DatabaseError or isinstance(error, kinds) or state in _ADVICE


def _is_full(error: exc.DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _words(error: exc.DBAPIError) -> str:
    text = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
    if type(error) is exc.DatabaseError:
        text += "; the file is damaged: restore a backup. The kit rolls back without the database"
    return text
