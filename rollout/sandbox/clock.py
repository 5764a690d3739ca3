"""The sandbox's own clock: wall time, or faster, or stopped and moved by hand.

It reads the machine's time itself because it stands in for somebody else's computer.
"""

import time


class SandboxClock:
    """Seconds since the epoch, `speed` times as fast as real time. Not locked: the world's lock guards it.

    With speed 1 and no advance it equals wall time; with speed 0 it stops until `advance`.
    """

    def __init__(self, speed: float = 1.0, epoch: float | None = None) -> None:
        if speed < 0:
            raise ValueError(f"speed {speed} is negative: write 0 for a clock that is moved by hand, or more")
        self.speed = speed
        self._base = time.time() if epoch is None else epoch
        self._mark = time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, on this clock."""
        return self._base + (time.monotonic() - self._mark) * self.speed

    def set_speed(self, speed: float) -> None:
        """Continue from the present instant at another speed."""
        if speed < 0:
            raise ValueError(f"speed {speed} is negative: write 0 for a clock that is moved by hand, or more")
        self._base, self._mark, self.speed = self.now(), time.monotonic(), speed

    def advance(self, seconds: float) -> None:
        """Jump forward; never back, because time stamps must rise."""
        if seconds < 0:
            raise ValueError(f"advance {seconds} is negative: the clock only moves forward")
        self._base += seconds


def wall() -> float:
    """Real seconds since the epoch, for the request log and for webhook signatures."""
    return time.time()


def milliseconds(seconds: float) -> int:
    """Retell's time stamps are whole milliseconds since the epoch."""
    return int(seconds * 1000)
