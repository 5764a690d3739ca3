"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import DateTime, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from rollout.domain import compact_json

V = TypeVar("V")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored in UTC. Naive values are refused: SQLite would drop the zone silently."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive time cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return _in_utc(value)


@lru_cache(maxsize=512)  # the rows of a fleet share their moments
def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """A JSON document as text, so that what was read comes back verbatim on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else compact_json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else compact_json.loads(value)


class ValueText(TypeDecorator[V]):
    """A value as JSON text, made and read by the value's own renderer and parser."""

    impl = Text
    cache_ok = True

    def __init__(self, render: Callable[[V], Any], parse: Callable[[Any], V]) -> None:
        super().__init__()
        self.render = render
        self.parse = parse

    def process_bind_param(self, value: V | None, dialect: Dialect) -> str | None:
        return None if value is None else compact_json.dumps(self.render(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> V | None:
        return None if value is None else self.parse(compact_json.loads(value))
