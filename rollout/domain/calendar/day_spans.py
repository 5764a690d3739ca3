"""A calendar day by day, for people who look at a year at once. Pure; what is open to the minute says windows.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from rollout.domain.calendar.windows import zone_of
from rollout.domain.plan.calendar import Calendar, Day, Freeze

_WEEK = tuple(Day)
_DAY = timedelta(days=1)


class DayKind(StrEnum):
    """A day as a whole: open for some of it at least, or closed and why; a freeze counts wherever it touches."""

    OPEN = "open"
    CLOSED = "closed"
    HOLIDAY = "holiday"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Days in a row that are alike, `last` included; `why` names the holiday or the freeze."""

    first: date
    last: date
    kind: DayKind
    why: str = ""

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1


def day_spans(calendar: Calendar, holiday: Callable[[date], str | None], first: date, end: date) -> list[DaySpan]:
    """The days from `first` up to, and without, `end`, in the calendar's zone. `holiday` names one; None: it is none."""
    found: list[DaySpan] = []
    day = first
    while day < end:
        kind, why = _kind(calendar, holiday, day)
        last = found[-1] if found else None
        if last is not None and (last.kind, last.why) == (kind, why):
            found[-1] = DaySpan(last.first, day, kind, why)
        else:
            found.append(DaySpan(day, day, kind, why))
        day += _DAY
    return found


def _kind(calendar: Calendar, holiday: Callable[[date], str | None], day: date) -> tuple[DayKind, str]:
    freeze = next((f for f in calendar.freezes if _touches(calendar, f, day)), None)
    if freeze is not None:
        return DayKind.FREEZE, freeze.reason
    if calendar.holidays and (name := holiday(day)) is not None:
        return DayKind.HOLIDAY, name
    is_open = not calendar.windows or any(_WEEK[day.weekday()] in w.days for w in calendar.windows)
    return (DayKind.OPEN if is_open else DayKind.CLOSED), ""


def _touches(calendar: Calendar, freeze: Freeze, day: date) -> bool:
    begins, ends = freeze.begins, freeze.ends
    if isinstance(begins, datetime) and isinstance(ends, datetime):
        zone = zone_of(calendar)
        midnight = datetime.combine(day, time(), zone)
        return begins < datetime.combine(day + _DAY, time(), zone) and ends > midnight
    return begins <= day <= ends
