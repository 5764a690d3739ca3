"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 2, 17, 0, tzinfo=UTC)  # a Monday


class FakeClock:
    """Implements rollout.engine.ports.Clock; `sleep` moves the time on and returns at once."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def boot(self) -> float:
        return 1_000.0 + self._passed

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Moves on; a clock never goes back."""
        with self._lock:
            self._passed += max(0.0, seconds)

    def to(self, moment: datetime) -> None:
        """Moves on to a moment, if it lies ahead."""
        self.advance((moment - self.now()).total_seconds())
