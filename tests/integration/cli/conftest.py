"""A sandbox for commands to talk to, and a plan file beside them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine
from tests.support.inside import Inside
from tests.support.plans import PLAN


@pytest.fixture
def retell() -> Iterator[Sandbox]:
    """A Retell-compatible server that accepts one key only."""
    with Sandbox(key="key_of_a_test") as server:
        server.add_ready_world(calls_per_hour=0)
        yield server


@pytest.fixture
def rollout(command_line: CommandLine, retell: Sandbox) -> CommandLine:
    """The program, pointed at the sandbox, with plan.yaml in its folder."""
    command_line.use(retell.url)
    command_line.write("plan.yaml", PLAN)
    return command_line


@pytest.fixture
def equipped(rollout: CommandLine, sqlite_template: Path) -> CommandLine:
    """The program in a folder that has a database."""
    shutil.copy(sqlite_template, rollout.folder / "rollout.db")
    return rollout


@pytest.fixture
def quiet() -> Iterator[Sandbox]:
    """The ready-made world without callers."""
    with Sandbox() as server:
        server.add_ready_world(calls_per_hour=0)
        yield server


@pytest.fixture
def inside(
    quiet: Sandbox, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inside:
    made = Inside(tmp_path, monkeypatch, capsys)
    made.use(quiet.url)
    made.environment["ROLLOUT_DATABASE_URL"] = sqlite_url
    return made
