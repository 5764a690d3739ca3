"""Answers of the last second, sent again while nothing at all was committed to the database.

For SQLite, which says without a query whether anybody, of whatever process, has committed since it was last asked.
So a token that was revoked is refused at the next request here, too. Used by one thread at a time: the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable
from datetime import timedelta
from typing import NamedTuple

from rollout.access import Caller
from rollout.api.paper import Kept
from rollout.ports import Clock
from rollout.store.engine import Database

GOOD_FOR = timedelta(seconds=1)  # what an answer says of the time that has passed is no older than this


class Answer(NamedTuple):
    """What was sent, to whom, at which version of the database and when (seconds of Clock.boot)."""

    version: int
    at: float
    caller: Caller
    body: bytes


class Still:
    """One per process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._connection: sqlite3.Connection | None = None
        self._kept: Kept[Answer] = Kept()

    def version(self) -> int | None:
        """Changes with every commit; None: not known (PostgreSQL, or a database in trouble)."""
        if not self._database.is_sqlite:
            return None
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._database.engine.url.database or "",
                    timeout=0,
                    isolation_level=None,
                    check_same_thread=False,
                )
            found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return found
        except sqlite3.Error:
            return None

    def get(self, key: Hashable, version: int | None) -> Answer | None:
        """The answer to the same question of the same caller, if it is still what would be said."""
        kept = self._kept.get(key)
        if kept is None or version is None or kept.version != version:
            return None
        return kept if 0 <= self._clock.boot() - kept.at < GOOD_FOR.total_seconds() else None

    def put(self, key: Hashable, version: int | None, caller: Caller, body: bytes) -> None:
        """Keeps an answer that was made after `version` was asked for."""
        ends = caller.until
        if version is None or (ends is not None and ends <= self._clock.now() + GOOD_FOR):
            return
        self._kept.put(key, Answer(version, self._clock.boot(), caller, body), len(body))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
