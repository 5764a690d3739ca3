"""What one process commits wakes the others: LISTEN and NOTIFY on PostgreSQL."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from rollout.adapters.store import repository, signals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from tests.support.hand import Hand

Heard = queue.Queue[str]
BY = JournalEntry("pause", "cli:me", "a person")


@pytest.fixture
def heard(postgres_url: str) -> Iterator[tuple[Store, Heard]]:
    """A store, and what a listener in another process hears."""
    from rollout.adapters.clock import SystemClock

    here, there = Database(postgres_url, SystemClock()), Database(postgres_url, SystemClock())
    came: Heard = queue.Queue()
    listener = signals.Listener(there, came.put)
    listener.start()
    assert came.get(timeout=20) == signals.WAKE, "it looks at once: something may have been sent before"
    yield Store(here), came
    listener.stop()
    here.close()
    there.close()


@pytest.mark.postgres
def test_a_command_is_heard_with_its_epoch(heard: tuple[Store, Heard]) -> None:
    store, came = heard
    Hand(store).create("r1")
    assert came.get(timeout=20) == signals.WAKE
    store.change("r1", lambda r, now: (Change(rollout={"look_asked": True}), BY, "why"))
    signal = came.get(timeout=20)
    assert signals.rollout_of(signal) == ("r1", store.load("r1")[0].epoch)


@pytest.mark.postgres
def test_what_is_not_committed_is_not_heard(heard: tuple[Store, Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    store, came = heard
    Hand(store).create("r1")
    assert came.get(timeout=20) == signals.WAKE

    def refuse(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(repository, "at_rest", refuse)
    with pytest.raises(RuntimeError):
        store.change("r1", lambda r, now: (Change(rollout={"look_asked": True}), BY, "why"))
    store.wake(["r1"])
    assert came.get(timeout=20) == signals.WAKE
    assert came.empty()


@pytest.mark.postgres
def test_a_lost_connection_is_made_again(heard: tuple[Store, Heard]) -> None:
    store, came = heard
    with store.database.write() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
    assert came.get(timeout=20) == signals.WAKE, "it listens again, and looks at what it may have missed"
    store.wake([])
    assert came.get(timeout=20) == signals.WAKE


def test_on_sqlite_nothing_is_sent_and_nobody_listens(sqlite_url: str) -> None:
    from rollout.adapters.clock import SystemClock

    database = Database(sqlite_url, SystemClock())
    came: Heard = queue.Queue()
    listener = signals.Listener(database, came.put)
    listener.start()
    Store(database).wake([])
    time.sleep(0.1)
    listener.stop()
    database.close()
    assert came.empty()


@pytest.mark.parametrize("signal", ["", "wake", "limits", "taken:", "taken:x:r1", "something newer"])
def test_a_signal_that_is_not_understood_takes_nothing(signal: str) -> None:
    assert signals.rollout_of(signal) is None


def test_a_signal_comes_back_as_it_was_sent() -> None:
    assert signals.rollout_of(signals.taken("k7m2xwq4nd", 12)) == ("k7m2xwq4nd", 12)
