"""The store's database under simulation: a real SQLite file, with switches, crashes and lost connections.

Tasks are switched only between transactions: SQLite has one writer at a time anyway. The database's clock
is the world's, as PostgreSQL's is when replicas share it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database, Opener
from rollout.domain.errors import NotReachable
from tests.support.scratch import scratch

from .world import Crashed, SimClock, World


@lru_cache(maxsize=1)
def folder() -> Path:
    """Where the files are: memory, where the system has a file system in memory."""
    path = scratch("rollout-sim-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@lru_cache(maxsize=1)
def _template() -> sqlite3.Connection:
    path = folder() / f"template-{os.getpid()}.db"
    database = Database(f"sqlite:///{path}", SystemClock())
    migrate.upgrade(database)
    database.close()
    source = sqlite3.connect(path)
    memory = sqlite3.connect(":memory:")
    source.backup(memory)
    source.close()
    return memory


class File:
    """One database file that every history starts anew; statements stay compiled from one to the next."""

    def __init__(self) -> None:
        self.path = folder() / f"history-{os.getpid()}.db"
        self.url = f"sqlite:///{self.path}"
        self.engine: Engine = Opener(self.url).engine()

        @event.listens_for(self.engine, "connect")
        def _fast(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")

        self.raw = sqlite3.connect(self.path, isolation_level=None)

    def renew(self) -> None:
        """An empty database with the current schema."""
        _template().backup(self.raw)

    def one(self, query: str, *values: object) -> Any:
        """The first row of a query outside the simulation, or None."""
        return self.raw.execute(query, values).fetchone()

    def all(self, query: str, *values: object) -> list[Any]:
        return self.raw.execute(query, values).fetchall()


@lru_cache(maxsize=1)
def shared_file() -> File:
    """The file of this test process."""
    return File()


class SimDatabase(Database):
    """One process's connection to the shared file."""

    def __init__(self, file: File, world: World, clock: SimClock) -> None:
        super().__init__(file.url, clock, file.engine)
        self._world = world

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        world = self._world
        world.step("before a transaction")
        lost = self._fault("database_refuses", "database: refused (B1, B2)")
        if lost:
            raise NotReachable("the database cannot be used: it is not there")
        dies = (
            world.current is not None
            and world.current.process.can_crash
            and not world.calm
            and world.weather.crashes(world.rng)
        )
        world.in_transaction = True
        try:
            with super().write(urgent=urgent) as connection:
                yield connection
                if dies:
                    raise Crashed
        except Crashed:
            if dies and world.current is not None:
                world.in_transaction = False
                world.hit("crash: in a transaction, before its commit (C2)")
                world.crash(world.current.process)
            raise
        finally:
            world.in_transaction = False
        world.committed()
        if self._fault("database_ack_lost", "database: a commit is not confirmed (B3)"):
            world.unconfirmed()
            raise NotReachable("the database cannot be used: the connection was lost")
        world.step("after a transaction")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        world = self._world
        if world.in_transaction:
            with super().read() as connection:
                yield connection
            return
        world.step("before a read")
        if self._fault("database_refuses", "database: refused (B1, B2)"):
            raise NotReachable("the database cannot be read: it is not there")
        world.in_transaction = True
        try:
            with super().read() as connection:
                yield connection
        finally:
            world.in_transaction = False

    def now(self, connection: Connection | None = None) -> datetime:
        if connection is None:
            self._world.step("clock")
        return self._world.moment()

    def _fault(self, kind: str, name: str) -> bool:
        world = self._world
        if world.calm or world.current is None or not world.current.process.can_crash:
            return False
        chance = getattr(world.weather, kind)
        if chance and world.rng.random() < chance:
            world.hit(name)
            return True
        return False
