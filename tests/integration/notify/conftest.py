"""Databases with the current schema, and services that take notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from jobs import notify
from jobs.notify import Notify
from rollout.adapters.store.repository import Store
from rollout.app import App, build
from rollout.settings import Settings
from tests.integration.notify.receiver import Receiver
from tests.support.hand import Hand


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest) -> str:
    """A database of its own with the current schema, by its address."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found


class Replicas:
    """Processes of the service on one database, as far as they tell people."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.apps: list[App] = []
        self.running: list[Notify] = []

    def another(self, *urls: str, **settings: Any) -> Notify:
        """One more replica with these addresses in its settings."""
        nobody = cast(Any, object())
        app = build(
            Settings(database_url=self.address, notify_urls=urls, **settings),
            numbers=nobody,
            agents=nobody,
            owner=f"replica-{len(self.apps)}",
        )
        self.apps.append(app)
        self.running.append(Notify(app))
        return self.running[-1]

    @property
    def store(self) -> Store:
        return self.apps[0].store

    @property
    def hand(self) -> Hand:
        return Hand(self.store)

    def close(self) -> None:
        for each in self.running:
            each.stop()
        for app in self.apps:
            app.close()


@pytest.fixture
def replicas(address: str) -> Iterator[Replicas]:
    made = Replicas(address)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def second() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries of a tenth of a second, so that a test need not wait for minutes."""
    monkeypatch.setattr(notify, "FIRST_WAIT", notify.FIRST_WAIT / 100)
    monkeypatch.setattr(notify, "LONGEST_WAIT", notify.FIRST_WAIT * 4)
