"""Fixtures that several groups of tests share."""

from __future__ import annotations

import gc
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.sandbox import Sandbox
from tests.support import logs, postgres
from tests.support.command_line import CommandLine, Forks
from tests.support.parts import missing
from tests.support.scene import Scene
from tests.support.scratch import scratch

# How long an example takes is the machine's business: a loaded one must not look like a fault.
hypothesis.settings.register_profile("rollout", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("rollout")

logs.begin()


def pytest_configure() -> None:
    """Signals do to the programs of a test what they do to an operator's, also where this run ignores them (`nohup`).

    What a process ignores, its children ignore.
    """
    for number, by_default in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, by_default)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running Retell-compatible server with the ready-made world, on a free port, by wall time."""
    with Sandbox() as server:
        server.add_ready_world()
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One PostgreSQL server for the whole run. In CI its absence fails; elsewhere it skips, with the reason."""
    manager = postgres.server()
    try:
        server = manager.__enter__()
    except postgres.NoServer as reason:
        missing(f"no PostgreSQL: {reason}")
    try:
        yield server
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A PostgreSQL database of its own, with the current schema."""
    url = postgres_server.lend()
    yield url
    postgres_server.give_back(url)


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where the system has one: SQLite waits for its disk at each commit."""
    folder = scratch("rollout-test-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(quick_folder: Path) -> Path:
    """A SQLite file with the current schema, to be copied."""
    path = quick_folder / "template.db"
    database = Database(f"sqlite:///{path}", SystemClock())
    migrate.upgrade(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    database.close()
    return path


@pytest.fixture
def sqlite_url(quick_folder: Path, sqlite_template: Path) -> Iterator[str]:
    """A SQLite database of its own, with the current schema."""
    folder = Path(tempfile.mkdtemp(dir=quick_folder))
    shutil.copy(sqlite_template, folder / "rollout.db")
    yield f"sqlite:///{folder / 'rollout.db'}"
    shutil.rmtree(folder)


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[Scene]:
    """The product in process, on a clock that the test moves, beside a sandbox with the ready-made world."""
    with Scene(sqlite_url) as made:
        yield made


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What commands are forked from."""
    made = Forks()
    yield made
    made.stop()


@pytest.fixture
def command_line(tmp_path: Path, forks: Forks) -> CommandLine:
    """`rollout` as a program of its own, in an empty folder and a clean environment."""
    folder, scratch = tmp_path / "work", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    return CommandLine(folder, scratch, forks)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lets a test marked `real_time` run again: on a machine that stalls, its own time limit may pass before what it
    measures. `-p no:rerunfailures` shows what fails the first time."""
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if item.get_closest_marker("real_time") is not None:
                item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: each full collection would walk it again, for a second on a loaded machine."""
    gc.collect()
    gc.freeze()
