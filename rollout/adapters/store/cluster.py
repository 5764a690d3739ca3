"""The identity of a PostgreSQL cluster, and whether it may lose what it has confirmed.

A standby that was promoted has a new timeline, and a restored dump lives in a cluster with another system identifier: a
process that starts after either sees it, without having known the database before. SQLite has
neither. An ordinary role may ask for both; a hosted PostgreSQL that refuses is not asked again by this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exc, text

# The last checkpoint may still name the old timeline after a promotion; the name of the WAL file never does.
_IDENTITY = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE (SELECT system_identifier FROM pg_control_system())"
    " || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
)
_SETTINGS = text("SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names')")
# `sync_state` is hidden from a role that may not see other people's sessions; the rows are not.
_STANDBYS = text("SELECT sync_state FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'")


class ClusterName:
    """The question for a cluster's name; one for each database that a process uses."""

    def __init__(self) -> None:
        self._refused = False

    def __call__(self, connection: Connection) -> str:
        """`system identifier:timeline`; empty on SQLite, on a standby, and where it cannot be had."""
        if self._refused or connection.dialect.name != "postgresql":
            return ""
        try:
            with connection.begin_nested():
                return str(connection.execute(_IDENTITY).scalar_one())
        except (exc.ProgrammingError, exc.NotSupportedError):
            self._refused = True
            return ""


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """The database and cluster of a session; empty where it cannot be known."""

    system: str = ""
    database: str = ""

    def may_be(self, other: DatabaseIdentity) -> bool:
        """True if the other may be the same database: a promoted standby is, one restored from a dump is not."""
        pairs = ((self.system, other.system), (self.database, other.database))
        return all(not a or not b or a == b for a, b in pairs)


def identity(connection: Connection, name: str) -> DatabaseIdentity:
    """The database of a session in the cluster of this name; empty on SQLite, whose file says it."""
    if connection.dialect.name != "postgresql":
        return DatabaseIdentity()
    return DatabaseIdentity(name.partition(":")[0], str(connection.execute(_DATABASE).scalar_one()))


_DATABASE = text("SELECT oid FROM pg_database WHERE datname = current_database()")


def durability(connection: Connection) -> str:
    """One sentence about what may lose an acknowledged rollback in a fail-over; empty when nothing is seen."""
    if connection.dialect.name != "postgresql":
        return ""
    commit, names = connection.execute(_SETTINGS).one()
    standbys = list(connection.execute(_STANDBYS).scalars())
    return advice(str(commit), str(names), standbys)


def advice(commit: str, names: str, standbys: Sequence[str | None]) -> str:
    """The sentence for these settings; `standbys`: the state of each one attached, None where it is hidden."""
    if commit in ("off", "local"):
        return (
            f"synchronous_commit is {commit}: a fail-over may lose an acknowledged rollback; set "
            "synchronous_commit = on"
        )
    known = [state for state in standbys if state is not None]
    hidden = len(known) < len(standbys)
    if standbys and not any(s in ("sync", "quorum") for s in known) and not (hidden and names.strip()):
        return (
            "no attached standby is synchronous: a fail-over may lose an acknowledged rollback; name one in "
            "synchronous_standby_names"
        )
    return ""
