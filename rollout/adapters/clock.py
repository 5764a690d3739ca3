"""The only module that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Wall time read once, then carried forward by the boot clock.

    A wall clock that is set forward or back while we run must neither shorten a hold nor close a
    write horizon early, so `now` follows elapsed time, not the wall. Small differences (NTP slewing)
    are taken over by `settle`, which the scheduler calls; a jump is reported there and not followed
    until the next start.
    """

    JUMP_SECONDS = 2.0

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

    def settle(self) -> float:
        """Follow the wall if it differs by less than a jump; return the difference in seconds."""
        boot, wall = self.boot(), datetime.now(UTC)
        ahead = (wall - self.now()).total_seconds()
        if abs(ahead) <= self.JUMP_SECONDS:
            self._anchor_wall, self._anchor_boot = wall, boot
        return ahead
