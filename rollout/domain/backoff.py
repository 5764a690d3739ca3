"""Growing pauses of a loop whose work fails: one, two, four times the first, up to a longest; none after a success."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """The next try of a loop. Times are seconds of one clock that never goes back."""

    first: float
    longest: float
    failures: int = 0  # in a row
    until: float | None = None

    def failed(self, now: float) -> float:
        """Note a failure; return the pause until the next try."""
        self.failures += 1
        pause = min(self.longest, self.first * 2.0 ** min(self.failures - 1, 30))
        self.until = now + pause
        return pause

    def succeeded(self) -> None:
        """Note a success: the next failure begins with the first pause again."""
        self.failures, self.until = 0, None

    def left(self, now: float) -> float:
        """Seconds until the next try; 0 when it may be made at once."""
        return 0.0 if self.until is None else max(0.0, self.until - now)
