"""Fixtures that several groups of tests share."""

from collections.abc import Iterator

import pytest

from rollout.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running Retell-compatible server with the ready-made world, on a free port, by wall time."""
    with Sandbox() as server:
        server.add_ready_world()
        yield server
