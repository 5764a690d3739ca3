"""A plan's calendar as a rehearsal plays it: days since the first step, at which steps may advance or not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from rollout.domain.calendar.windows import next_opening, spans
from rollout.domain.plan.calendar import Calendar


@dataclass(frozen=True, slots=True)
class Hours:
    """`turns` in days, rising: it closes at the first, opens at the second, and so on. Without any: always open."""

    turns: tuple[float, ...] = ()

    def is_open(self, day: float) -> bool:
        return bisect_right(self.turns, day) % 2 == 0

    def stood(self, day: float) -> float:
        """Open days from the first step until `day`."""
        passed = [0.0, *self.turns[: bisect_right(self.turns, day)], day]
        return sum(end - begin for begin, end in zip(passed[::2], passed[1::2], strict=False))

    def turn(self, day: float) -> float:
        """The next closing or opening after `day`; infinity when it never does."""
        later = self.turns[bisect_right(self.turns, day) :]
        return later[0] if later else float("inf")


def hours(calendar: Calendar, holidays: Container[date], start: datetime, days: float) -> tuple[datetime | None, Hours]:
    """The beginning of a plan handed in at `start` (None: not within the calendar's search), and its hours."""
    begins = next_opening(calendar, holidays, start)
    if begins is None:
        return None, Hours()
    found = spans(calendar, holidays, begins, begins + timedelta(days=days))
    return begins, Hours(tuple((span.start - begins) / timedelta(days=1) for span in found)[1:])
