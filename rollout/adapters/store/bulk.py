"""Many rows of one table in one statement, each distinct value converted once.

For an executemany SQLAlchemy prepares every row on its own, which costs several times what the database does with
it. Here SQLite gets its rows ready, and PostgreSQL gets one array for each column, through unnest: one statement and
one answer for a thousand rows.
"""

# ruff: noqa: S608 - the names are those of our own tables and columns; values are bound

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Table

T = TypeVar("T")
Rows = Sequence[Mapping[str, Any]]  # all with the same names, which are the table's


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement with its rows made ready; made before a lock is taken, for it costs more than to run it."""

    statement: str
    parameters: Any

    def run(self, connection: Connection) -> None:
        """Raise what the database says, for example sqlalchemy.exc.IntegrityError; then no row is changed."""
        connection.exec_driver_sql(self.statement, self.parameters)


def in_parts(values: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """These values in parts of `size`: SQLite takes a limited number of parameters in one statement."""
    return (values[start : start + size] for start in range(0, len(values), size))


def inserts(dialect: Dialect, table: Table, rows: Rows) -> list[Bulk]:
    """The statements that insert these rows: one, or none."""
    if not rows:
        return []
    names = tuple(rows[0])
    columns = [_converted(dialect, table, name, [row[name] for row in rows]) for name in names]
    return [_bulk(dialect, _insert(dialect, table, names), columns)]


def updates(
    dialect: Dialect, table: Table, rollout_id: str, key: str, changes: Mapping[str, Mapping[str, Any]]
) -> list[Bulk]:
    """The statements that set these values in the rollout's rows by their key, one for each set of columns."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for id_, values in changes.items():
        if values:
            groups.setdefault(tuple(sorted(values)), []).append(id_)
    found = []
    for names, ids in groups.items():
        columns = [_converted(dialect, table, name, [changes[id_][name] for id_ in ids]) for name in names]
        found.append(_bulk(dialect, _update(dialect, table, names, key), [*columns, ids], rollout_id))
    return found


def update_one(dialect: Dialect, table: Table, id_: str, values: Mapping[str, Any]) -> Bulk:
    """The statement that sets these values in the one row of this id. As text, for each set of columns would be compiled."""
    row = [_converted(dialect, table, name, [value])[0] for name, value in values.items()]
    return Bulk(_update_one(dialect, table, tuple(values)), (*row, id_))


def _bulk(dialect: Dialect, statement: str, columns: list[Sequence[Any]], *more: str) -> Bulk:
    if dialect.name == "sqlite":
        return Bulk(statement, [(*row, *more) for row in zip(*columns, strict=True)])
    return Bulk(statement, (*(list(column) for column in columns), *more))


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: Table, names: tuple[str, ...]) -> str:
    listed = ", ".join(names)
    if dialect.name == "sqlite":
        return f"INSERT INTO {table.name} ({listed}) VALUES ({', '.join('?' * len(names))})"
    return f"INSERT INTO {table.name} ({listed}) SELECT * FROM unnest({_arrays(dialect, table, names)})"


@lru_cache(maxsize=256)
def _update(dialect: Dialect, table: Table, names: tuple[str, ...], key: str) -> str:
    if dialect.name == "sqlite":
        sets = ", ".join(f"{name} = ?" for name in names)
        return f"UPDATE {table.name} SET {sets} WHERE {key} = ? AND rollout_id = ?"
    sets = ", ".join(f"{name} = new.{name}" for name in names)
    arrays = _arrays(dialect, table, (*names, key))
    return (
        f"UPDATE {table.name} SET {sets} FROM unnest({arrays}) AS new ({', '.join((*names, key))})"
        f" WHERE {table.name}.{key} = new.{key} AND {table.name}.rollout_id = %s"
    )


@lru_cache(maxsize=256)
def _update_one(dialect: Dialect, table: Table, names: tuple[str, ...]) -> str:
    if dialect.name == "sqlite":
        return f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
    sets = ", ".join(f"{name} = CAST(%s AS {table.c[name].type.compile(dialect)})" for name in names)
    return f"UPDATE {table.name} SET {sets} WHERE id = %s"


def _arrays(dialect: Dialect, table: Table, names: tuple[str, ...]) -> str:
    return ", ".join(f"CAST(%s AS {table.c[name].type.compile(dialect)}[])" for name in names)


def _converted(dialect: Dialect, table: Table, name: str, values: Sequence[Any]) -> Sequence[Any]:
    convert = _converter(dialect, table, name)
    if convert is None:
        return [str(v) if isinstance(v, StrEnum) else v for v in values]
    known: dict[Any, Any] = {}  # a batch's rows share their moments and most of their texts
    found = []
    for value in values:
        try:
            found.append(known[value])
        except KeyError:
            known[value] = convert(value)
            found.append(known[value])
        except TypeError:  # a JSON document, which is no key
            found.append(convert(value))
    return found


@lru_cache(maxsize=256)
def _converter(dialect: Dialect, table: Table, name: str) -> Any:
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
