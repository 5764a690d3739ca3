"""Two processes on one PostgreSQL do the same for the first time at the same moment: neither fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.adapters.store.key_values import value_of
from rollout.adapters.store.repository import Store
from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.lifecycle.commands import By
from tests.support.scene import Scene
from tests.support.values import plan as make_plan

pytestmark = pytest.mark.postgres
MANY = 8
T = TypeVar("T")
AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CALL = CallRecord("call", "agent_a", 7, "+14157774444", "inbound", AT, None, "ongoing")


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    made = Database(postgres_url, SystemClock())
    at_once(lambda _i: made.now())  # connections are open: what follows really is at once
    yield made
    made.close()


def at_once(do: Callable[[int], T]) -> list[T]:
    """What `do` returns for each of so many threads that begin together; its error is raised here."""
    ready = threading.Barrier(MANY)

    def one(i: int) -> T:
        ready.wait()
        return do(i)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def test_the_first_heartbeats(database: Database) -> None:
    store = Store(database)
    assert sorted(at_once(lambda i: store.heartbeats.beat(f"service {i}", started=True))) == list(range(1, MANY + 1))


def test_probes(database: Database) -> None:
    def probed() -> str | None:
        with database.read() as connection:
            return value_of(connection, "probe")

    seen = {probed()}
    for _ in range(5):
        at_once(lambda _i: InterfaceQueries(database).probe())
        seen.add(probed())
    assert len(seen) == 6 and None in seen  # each time somebody's row was written


def test_the_same_call_told_of_by_all(database: Database) -> None:
    store = Store(database)
    for n in range(5):
        call = replace(CALL, call_id=f"call_{n}")
        tell = [replace(call, disconnection_reason="agent_hangup") if i == 3 else call for i in range(MANY)]
        assert sum(at_once(lambda i, tell=tell: store.calls.observe([tell[i]]))) in (1, 2)


def test_the_same_mark(database: Database) -> None:
    store = Store(database)
    for _ in range(5):
        at_once(lambda i: store.calls.mark(FetchMark("+14157774444", "inbound", AT, AT, f"trouble {i}", None)))
    assert len(store.calls.marks(["+14157774444"])) == 1


def test_the_same_request(postgres_url: str) -> None:
    """A client that asks again before it was answered."""
    with Scene(postgres_url) as scene:
        scene.given()
        by = By("sam", "twice", "request-1")
        answers = at_once(lambda _i: scene.app.commands.pause(scene.id, by))
        assert len({str(a) for a in answers}) == 1
        assert scene.journal({"pause"}) == ["pause"]
        plan = make_plan(numbers=scene.add_numbers(1), name="once")
        again = By("sam", "twice", "request-2")
        started = at_once(lambda _i: scene.app.commands.start(plan, again).id)
        assert len(set(started)) == 1
