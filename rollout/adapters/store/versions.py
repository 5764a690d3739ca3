"""Whether anything at all was committed since: a value that changes with every commit, of whatever process.

Asked on the event loop, before every read that could be answered by what was answered a moment ago. SQLite knows
without a query. PostgreSQL is asked which transactions a new snapshot sees (`pg_current_snapshot`): equal snapshots
see the same rows. Requests that come while that question is under way share the next one, so that an answer is
never older than the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol

from sqlalchemy import exc

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.telemetry.logs import Logger
from rollout.domain.errors import NotReachable

PATIENCE = 1.0  # seconds until PostgreSQL's answer is not waited for any more
_AGAIN = 1.0  # seconds between two attempts to connect
_QUESTION = b"SELECT pg_current_snapshot()::text"
_REAL = SystemClock()
_log = Logger(__name__)

Run = Callable[[Callable[[], Any]], Awaitable[Any]]


class Versions(Protocol):
    """Used by one event loop."""

    async def now(self) -> Hashable | None:
        """The version at a moment after this was called; None: not known, so nothing may be taken for unchanged."""
        ...

    def close(self) -> None: ...


def versions(database: Database, run: Run) -> Versions:
    """For this database. `run` does blocking work in a thread."""
    return SqliteVersions(database) if database.is_sqlite else PostgresVersions(database, run)


class SqliteVersions:
    """By the file's own count of commits, which costs some microseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = None

    async def now(self) -> Hashable | None:
        try:
            if self._connection is None:
                file = self._database.file
                assert file is not None
                self._connection = file.connect(wait=0)
            found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return found
        except (sqlite3.Error, NotReachable):
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresVersions:
    """By a connection of its own, which is only spoken to from the event loop.

    libpq is used below psycopg's cursors: one question without parameters, several hundred times a second.
    """

    def __init__(self, database: Database, run: Run) -> None:
        self._database, self._run = database, run
        self._errors = (exc.SQLAlchemyError, OSError, database.engine.dialect.dbapi.Error)  # type: ignore[union-attr]
        self._connection: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[None] | None = None
        self._again_at = 0.0
        self._asked: list[asyncio.Future[str | None]] = []  # who waits for the answer under way
        self._waiting: list[asyncio.Future[str | None]] = []  # who came later, and waits for the next
        self._found: str | None = None
        self._late: asyncio.TimerHandle | None = None
        self._closed = False

    async def now(self) -> Hashable | None:
        self._loop = asyncio.get_running_loop()
        if self._connection is None:
            if self._opening is None and not self._closed and _REAL.boot() >= self._again_at:
                self._opening = self._loop.create_task(self._open())
            return None
        found: asyncio.Future[str | None] = self._loop.create_future()
        self._waiting.append(found)
        if not self._asked:
            self._ask()
        return await found

    async def _open(self) -> None:
        """Connects in a thread; until then nothing is known."""
        try:
            connection = await self._run(self._connect)
            self._running().add_reader(connection.fileno(), self._readable)
            self._connection = connection
        except Exception as error:  # noqa: BLE001 - whatever it was: answers are made anew, and it is tried again
            _log.debug("PostgreSQL is not asked whether anything was committed", error=str(error))
        finally:
            self._opening, self._again_at = None, _REAL.boot() + _AGAIN

    def _connect(self) -> Any:
        raw = self._database.engine.raw_connection()
        connection: Any = raw.driver_connection
        raw.detach()  # it is watched by the event loop for good, and must not come back to the pool
        connection.rollback()
        return connection

    def _ask(self) -> None:
        self._asked, self._waiting = self._waiting, []
        try:
            self._connection.pgconn.send_query(_QUESTION)
            self._connection.pgconn.flush()
        except self._errors:
            self._lose()
        else:
            self._late = self._running().call_later(PATIENCE, self._lose)

    def _readable(self) -> None:
        libpq = self._connection.pgconn
        try:
            libpq.consume_input()
            while not libpq.is_busy():
                result = libpq.get_result()
                if result is None:  # the whole answer is in
                    self._answer(self._found)
                    return
                value = result.get_value(0, 0)
                self._found = value.decode() if value is not None else None
        except self._errors:
            self._lose()

    def _answer(self, found: str | None) -> None:
        if self._late is not None:
            self._late.cancel()
        asked, self._asked, self._found = self._asked, [], None
        for waiter in asked:
            if not waiter.done():
                waiter.set_result(found)
        if self._waiting and self._connection is not None:
            self._ask()

    def _lose(self) -> None:
        """The connection is of no use any more: nobody is kept waiting for it."""
        connection, self._connection = self._connection, None
        self._asked += self._waiting
        self._waiting = []
        if connection is not None:
            with contextlib.suppress(*self._errors, ValueError):
                self._running().remove_reader(connection.fileno())
            connection.close()
        self._answer(None)

    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def close(self) -> None:
        """Once the event loop has ended."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
