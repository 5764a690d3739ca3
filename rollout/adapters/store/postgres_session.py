"""PostgreSQL sessions with the settings that this program needs: the database, the role or a pooler may set others.

They are set after connecting, because PgBouncer refuses start-up options or drops them silently. The settings of the
address come first (its search path, for example), then ours, and all are read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rollout.domain.errors import SettingsError

IDLE_SECONDS = 5  # our transactions wait for nothing but the database

# The formats of texts, times and numbers that we parse, and how long our sessions may block others.
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
    # A process that is stopped inside a transaction keeps its locks: the server ends its session before a rollback gives
    # up waiting for the row.
    ("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s"),
)
UTF8 = "UTF8"


@dataclass(frozen=True, slots=True)
class Difference:
    """A session setting that did not keep the value given to it."""

    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found or 'empty'} and was set to {self.wanted or 'empty'}"


def prepare(connection: Any, options: Sequence[tuple[str, str]]) -> list[Difference]:
    """Apply the address's settings, then ours, to a new connection; return those that did not keep their value.

    SettingsError when PostgreSQL does not take a setting of the address.
    """
    import psycopg  # loaded by then; a command on SQLite does without it

    connection.autocommit = True
    try:
        given = _set(connection, options) if options else {}
    except psycopg.Error as error:
        if connection.closed:
            raise
        raise SettingsError(f"ROLLOUT_DATABASE_URL: options: {str(error).splitlines()[0]}") from None
    wanted = given | _set(connection, OURS)
    differences = setting_differences(connection, wanted)
    connection.autocommit = False
    return differences


def _set(connection: Any, settings: Sequence[tuple[str, str]], *, local: bool = False) -> dict[str, str]:
    """Apply settings to the session, or to this transaction alone; return the values that PostgreSQL then shows."""
    query = "SELECT " + ", ".join(f"set_config(%s, %s, {local})" for _ in settings)
    row = connection.execute(query, [part for pair in settings for part in pair]).fetchone()
    return {name.lower(): str(value) for (name, _), value in zip(settings, row, strict=True)}


def setting_differences(connection: Any, wanted: dict[str, str]) -> list[Difference]:
    """The settings that differ from those wanted, read in a transaction of their own."""
    query = "SELECT " + ", ".join("current_setting(%s, true)" for _ in wanted)
    row = connection.execute(query, list(wanted)).fetchone()
    return [
        Difference(name, value, str(found or ""))
        for (name, value), found in zip(wanted.items(), row, strict=True)
        if found != value
    ]


def session_faults(first: Any, second: Any, options: Sequence[tuple[str, str]]) -> list[str]:
    """Faults that show in two sessions of ours that are open at the same time, one sentence each."""
    troubles = []
    servers = [c.execute("SELECT pg_backend_pid()").fetchone()[0] for c in (first, second, first, second)]
    if servers[0] == servers[1] or servers[0] != servers[2] or servers[1] != servers[3]:
        troubles.append(
            "a pooler shares PostgreSQL's sessions between processes (transaction pooling), so their settings, locks "
            "and signals mix; set pool_mode = session, or connect to PostgreSQL itself"
        )
    asked = _set(first, (*options, *OURS), local=True)
    differ = {str(d): d for c in (first, second) for d in setting_differences(c, asked)}
    if differ:
        troubles.append("these settings are not what this program sets: " + "; ".join(differ))
    encoding = first.info.parameter_status("server_encoding")
    if encoding not in (None, UTF8):
        troubles.append(not_utf8(encoding))
    return troubles


def not_utf8(encoding: str) -> str:
    """The sentence about a database of another encoding."""
    return (
        f"the database has the encoding {encoding}, which cannot store all names and reasons: create one with "
        "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and move it there with pg_dump and pg_restore"
    )
