"""Single values by name, and rows that several processes may make at the same moment.

On PostgreSQL two replicas may both find that a row is missing and both insert it, and the second would fail. So a row
that more than one process makes is inserted with ON CONFLICT in the same statement.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from rollout.adapters.store.tables import meta


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT in this database's dialect, which has ON CONFLICT."""
    return _insert(connection.dialect.name)(table)


def value_of(connection: Connection, key: str) -> str | None:
    """The value stored under this key."""
    found: str | None = connection.execute(_VALUE, {"wanted": key}).scalar_one_or_none()
    return found


def set_value(connection: Connection, key: str, value: str) -> None:
    """Store a value; replace the one that is there."""
    connection.execute(_setting(connection.dialect.name, over=True), {"key": key, "value": value})


def set_once(connection: Connection, key: str, value: str) -> None:
    """Store a value unless the key exists."""
    connection.execute(_setting(connection.dialect.name, over=False), {"key": key, "value": value})


def set_first(connection: Connection, key: str, value: str) -> bool:
    """Store a value unless the key exists; return True if it was stored."""
    query = insert_into(connection, meta).values(key=key, value=value).on_conflict_do_nothing()
    return bool(connection.execute(query.returning(meta.c.key)).scalars().all())


# Built once: every process runs it every few seconds.
_VALUE = select(meta.c.value).where(meta.c.key == bindparam("wanted"))


def _insert(dialect: str) -> Any:
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert


@lru_cache
def _setting(dialect: str, *, over: bool) -> Any:
    query = _insert(dialect)(meta).values(key=bindparam("key"), value=bindparam("value"))
    if not over:
        return query.on_conflict_do_nothing()
    return query.on_conflict_do_update(index_elements=["key"], set_={"value": query.excluded.value})
