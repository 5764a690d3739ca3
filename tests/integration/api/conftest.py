"""One service for all tests of a module; tests use their own numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.api.live import Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("api")) as found:
        yield found


@pytest.fixture(autouse=True)
def _forgiven(request: pytest.FixtureRequest) -> None:
    """Wrong tokens of one test are not held against the next."""
    if "service" in request.fixturenames:
        request.getfixturevalue("service").server.service.attempts.forget()
