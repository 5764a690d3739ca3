"""Column types that mean the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, exc, insert, select

from rollout.adapters.store.repository import Store
from rollout.adapters.store.types import JsonText, UtcDateTime

PLACES = Table(
    "places", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime), Column("doc", JsonText)
)


@pytest.fixture
def table(store: Store) -> Iterator[Store]:
    PLACES.create(store.database.engine)
    yield store
    PLACES.drop(store.database.engine)


def stored(store: Store, **values: Any) -> Any:
    with store.database.write() as connection:
        connection.execute(insert(PLACES), {"id": 1, **values})
    with store.database.read() as connection:
        return connection.execute(select(PLACES)).one()


def test_a_naive_time_is_refused(table: Store) -> None:
    with pytest.raises(exc.StatementError, match="a naive time cannot be stored"):
        stored(table, at=datetime(2026, 11, 2, 17))


@pytest.mark.parametrize("hours", [0, -8, 5.5])
def test_every_zone_comes_back_as_the_same_moment_in_utc(table: Store, hours: float) -> None:
    moment = datetime(2026, 11, 1, 1, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=hours)))
    found = stored(table, at=moment).at
    assert found == moment
    assert found.tzinfo is UTC


def test_no_time_stays_none(table: Store) -> None:
    assert stored(table, at=None, doc=None).at is None


@pytest.mark.parametrize(
    "document",
    [{"weight": 0.33335, "deep": [1, None, {"é": "\u2028"}]}, [], {}, "text", 0, {"big": 2**60}],
    ids=["object", "list", "empty", "text", "zero", "big"],
)
def test_a_document_comes_back_verbatim(table: Store, document: Any) -> None:
    assert stored(table, doc=document).doc == document


def test_what_is_no_json_is_refused(table: Store) -> None:
    with pytest.raises(exc.StatementError, match="not JSON compliant"):
        stored(table, doc={"weight": float("nan")})
