"""Single values by name, and rows that several processes may make at the same moment.

On PostgreSQL two replicas may both find that a row is missing and both insert it: whoever comes second would fail.
So a row that more than one process makes is inserted with its conflict settled in the same statement.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from rollout.adapters.store.tables import meta


def insert_into(connection: Connection, table: Table) -> Any:
    """An INSERT of this database's own kind, which can say what happens on a conflict."""
    return _insert(connection.dialect.name)(table)


def value_of(connection: Connection, key: str) -> str | None:
    """The value kept under this key."""
    found: str | None = connection.execute(_VALUE, {"wanted": key}).scalar_one_or_none()
    return found


def set_value(connection: Connection, key: str, value: str) -> None:
    """Keep a value under this key, over the one that is there."""
    connection.execute(_setting(connection.dialect.name, over=True), {"key": key, "value": value})


def set_once(connection: Connection, key: str, value: str) -> None:
    """Keep a value under this key unless there is one: the first one stays."""
    connection.execute(_setting(connection.dialect.name, over=False), {"key": key, "value": value})


def set_first(connection: Connection, key: str, value: str) -> bool:
    """Keep a value under this key unless there is one; whether this was the first."""
    query = insert_into(connection, meta).values(key=key, value=value).on_conflict_do_nothing()
    return bool(connection.execute(query.returning(meta.c.key)).scalars().all())


# Built once: every process asks these every few seconds, for ever.
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
