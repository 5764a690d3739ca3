"""The product on a database of its own and a clock that the test moves; nobody asks Retell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from rollout.app import App, build
from rollout.settings import Settings
from tests.support.clock import FakeClock
from tests.support.hand import Hand

NOBODY = cast(Any, object())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_app(sqlite_url: str, clock: FakeClock) -> Iterator[Callable[..., App]]:
    """Makes a process of the service: settings by their names, and parts that stand in for Retell in `given`."""
    made: list[App] = []

    def make(given: dict[str, Any] | None = None, **settings: Any) -> App:
        parts = {"numbers": NOBODY, "agents": NOBODY, "calls": None, "owner": f"process-{len(made)}", **(given or {})}
        made.append(build(Settings(database_url=sqlite_url, **settings), clock=clock, **parts))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()


@pytest.fixture
def hand(app: App) -> Hand:
    return Hand(app.store)
