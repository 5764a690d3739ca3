"""LISTEN and NOTIFY: what one process has committed wakes the others at once, on PostgreSQL.

Signals only save time: if one is lost, the others notice at their next look.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, exc, text

from rollout.adapters.store.engine import Database
from rollout.domain.backoff import Backoff

CHANNEL = "rollout"
LIMITS = "limits"  # Retell has throttled one of us
WAKE = "wake"  # something is due
_TAKEN = "taken:"  # a command took this rollout from its driver
_LOOK_SECONDS = 0.5  # between two looks whether to stop
_AGAIN_SECONDS = 1.0
_LONGEST_PAUSE = 5.0


def send(connection: Connection, signal: str) -> None:
    """Send a signal when the transaction commits. Does nothing on SQLite, which has one service."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"channel": CHANNEL, "signal": signal})


_NOTIFY = text("SELECT pg_notify(:channel, :signal)")


def taken(rollout_id: str, epoch: int) -> str:
    """The signal that a command gave this rollout a new epoch, and so took it from its driver."""
    return f"{_TAKEN}{epoch}:{rollout_id}"


def rollout_of(signal: str) -> tuple[str, int] | None:
    """The rollout that a signal says was taken, and its epoch now; None for any other signal."""
    if not signal.startswith(_TAKEN):
        return None
    epoch, _, rollout_id = signal.removeprefix(_TAKEN).partition(":")
    return (rollout_id, int(epoch)) if epoch.isdecimal() else None


class Listener:
    """A listener to the signals of all processes, our own among them, on a connection of its own."""

    def __init__(self, database: Database, heard: Callable[[str], None]) -> None:
        self._database, self._heard = database, heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen; do nothing on SQLite."""
        if not self._database.is_sqlite:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        backoff = Backoff(_AGAIN_SECONDS, _LONGEST_PAUSE)
        while not self._stopping.is_set():
            # The tick reports a database that is gone; this thread only tries again.
            with contextlib.suppress(exc.SQLAlchemyError, OSError, self._database.engine.dialect.loaded_dbapi.Error):
                self._listen(backoff)
            self._stopping.wait(backoff.failed(0.0))

    def _listen(self, backoff: Backoff) -> None:
        raw = self._database.engine.raw_connection()
        connection: Any = raw.driver_connection
        raw.detach()  # it keeps listening, and must not return to the pool
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            self._heard(WAKE)  # what was sent while nobody listened
            backoff.succeeded()
            while not self._stopping.is_set():
                for notice in connection.notifies(timeout=_LOOK_SECONDS):
                    self._heard(notice.payload)
        finally:
            connection.close()
