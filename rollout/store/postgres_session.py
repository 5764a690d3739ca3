"""PostgreSQL sessions as this program needs them, whatever the database, the role or a pooler says otherwise.

Nothing is asked for while connecting: PgBouncer refuses start-up options, or drops them in silence. The settings of
the address come first (its search path, say), then ours, and all are read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rollout.domain.errors import SettingsError

IDLE_SECONDS = 5  # our transactions wait for nothing but the database

# What texts, times and numbers look like, as we read them, and how long a session of ours may hold others up.
OURS = (
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "15s"),
    ("lock_timeout", "10s"),
    # A process that is stopped inside a transaction keeps its locks for as long as it stands
    # still: the server ends its session before a rollback gives up waiting for the row.
    ("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s"),
)
UTF8 = "UTF8"


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of the session that is not as it was set."""

    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found or 'empty'} and was set to {self.wanted or 'empty'}"


def prepare(connection: Any, options: Sequence[tuple[str, str]]) -> list[Difference]:
    """Sets what the address asks for and then ours on a new connection; returns what does not stay as it was set.

    SettingsError when PostgreSQL does not take a setting of the address.
    """
    import psycopg  # loaded by then; a command on SQLite does without it

    connection.autocommit = True
    try:
        given = _set(connection, options) if options else {}
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise SettingsError(f"ROLLOUT_DATABASE_URL: options: {str(error).splitlines()[0]}") from None
    wanted = given | _set(connection, OURS)
    differences = compare(connection, wanted)
    connection.autocommit = False
    return differences


def _set(connection: Any, settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Sets them for the session; as PostgreSQL shows each one now."""
    query = "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in settings)
    row = connection.execute(query, [part for pair in settings for part in pair]).fetchone()
    return {name.lower(): str(value) for (name, _), value in zip(settings, row, strict=True)}


def compare(connection: Any, wanted: dict[str, str]) -> list[Difference]:
    """The settings that are not as wanted in a transaction of their own."""
    query = "SELECT " + ", ".join("current_setting(%s, true)" for _ in wanted)
    row = connection.execute(query, list(wanted)).fetchone()
    return [
        Difference(name, value, str(found or ""))
        for (name, value), found in zip(wanted.items(), row, strict=True)
        if found != value
    ]
