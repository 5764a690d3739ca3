"""Commands inside the test's own process, beside a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sandbox import Sandbox
from tests.support.inside import Inside


@pytest.fixture
def quiet() -> Iterator[Sandbox]:
    """The ready-made world without callers."""
    with Sandbox() as server:
        server.add_ready_world(calls_per_hour=0)
        yield server


@pytest.fixture
def inside(
    quiet: Sandbox,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Inside:
    made = Inside(tmp_path, monkeypatch, capsys)
    made.use(quiet.url)
    made.environment["ROLLOUT_DATABASE_URL"] = sqlite_url
    return made
