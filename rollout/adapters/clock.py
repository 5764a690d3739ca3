"""The only module that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Wall time read once, then carried forward by the boot clock.

    A wall clock that is set forward or back while we run must neither shorten a hold nor close a
    write horizon early, so `now` follows elapsed time, not the wall, until the next start.
    """

    def __init__(self) -> None:
        self._anchor_wall = datetime.now(UTC)
        self._anchor_boot = self.boot()

    def now(self) -> datetime:
        return self._anchor_wall + timedelta(seconds=self.boot() - self._anchor_boot)

    def boot(self) -> float:
        return time.clock_gettime(_BOOT)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)
