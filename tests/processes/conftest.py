"""Stages on both databases, and the process that all others are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.sandbox import Sandbox
from tests.processes.nursery import Nursery
from tests.processes.stage import Stage, new_sandbox, new_stage


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where processes come from; none of them outlives the run."""
    with Nursery() as made:
        yield made


@pytest.fixture
def retell() -> Iterator[Sandbox]:
    """A sandbox with short limits."""
    with new_sandbox() as made:
        yield made


@pytest.fixture
def sqlite_stage(nursery: Nursery, retell: Sandbox, sqlite_url: str) -> Iterator[Stage]:
    """A stage on a SQLite file of its own."""
    with new_stage(nursery, sqlite_url, retell) as stage:
        yield stage


@pytest.fixture
def postgres_stage(nursery: Nursery, retell: Sandbox, postgres_url: str) -> Iterator[Stage]:
    """A stage on a PostgreSQL database of its own."""
    with new_stage(nursery, postgres_url, retell) as stage:
        yield stage


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stage(request: pytest.FixtureRequest) -> Stage:
    """The same test on both databases."""
    made: Stage = request.getfixturevalue(f"{request.param}_stage")
    return made
