"""Fixtures of the simulation: logging off, and a scenario that is ended after its test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import logs

from .quiet import quiet
from .scenario import Scenario


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """Log lines for nobody are slow."""
    with logs.kept():
        quiet()
        yield


@pytest.fixture
def scenario() -> Iterator[Callable[..., Scenario]]:
    """Makes scenarios and closes them."""
    made: list[Scenario] = []

    def make(*args: Any, **how: Any) -> Scenario:
        made.append(Scenario(*args, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()
