"""Windows: when a calendar is open, when that changes, and how much open time lies between two instants.

Pure. Open is what a clock on the wall in the calendar's zone says: an instant is turned into local time, which
is always possible and unique, and looked up. So an hour that daylight saving repeats is open twice, one that it
leaves out never comes, and a window that begins in the missing hour opens at the first instant after it.
Instants are aware and come back in UTC; differences are taken in UTC alone, where an hour is an hour.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from rollout.domain.plan.calendar import Calendar, Day, Freeze

SEARCH = timedelta(days=732)  # how far ahead an opening is looked for: two years with a leap day, and one more
_STRETCH = timedelta(days=7)
_DAY = timedelta(days=1)
_WEEK = tuple(Day)


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """From `start` up to, and without, `end` the calendar is open throughout, or closed throughout."""

    start: datetime
    end: datetime
    is_open: bool


def zone_of(calendar: Calendar) -> tzinfo:
    """The calendar's zone; UTC for one that needs none (no hours, holidays or days)."""
    return UTC if calendar.zone is None else ZoneInfo(calendar.zone)


def is_open(calendar: Calendar, holidays: Container[date], t: datetime) -> bool:
    """True if steps may advance at the instant `t` (aware). `holidays` are dates in the calendar's zone.

    `holidays` count only when the calendar names a country or region. A window over midnight belongs to the day
    on which it opens: it does not open on a holiday, and it ends when one begins.
    """
    if freeze_at(calendar, t) is not None:
        return False
    local = t.astimezone(zone_of(calendar))
    day = local.date()
    if _is_holiday(calendar, holidays, day):
        return False
    if not calendar.windows:
        return True
    minute, eve = local.hour * 60 + local.minute, day - _DAY
    for window in calendar.windows:
        opens, closes = window.opens_minute, window.closes_minute
        today = _WEEK[day.weekday()] in window.days
        if closes > opens:
            if today and opens <= minute < closes:
                return True
        elif (today and minute >= opens) or (
            minute < closes and _WEEK[eve.weekday()] in window.days and not _is_holiday(calendar, holidays, eve)
        ):
            return True
    return False


def freeze_at(calendar: Calendar, t: datetime) -> Freeze | None:
    """The freeze that covers the instant `t`; of several the one listed first."""
    for freeze in calendar.freezes:
        begins, ends = freeze.begins, freeze.ends
        if isinstance(begins, datetime) and isinstance(ends, datetime):
            if begins <= t < ends:
                return freeze
        elif begins <= t.astimezone(zone_of(calendar)).date() <= ends:
            return freeze
    return None


def next_opening(calendar: Calendar, holidays: Container[date], t: datetime) -> datetime | None:
    """The first open instant at or after `t`: `t` itself when it is open, None if there is none within SEARCH."""
    if is_open(calendar, holidays, t):
        return t.astimezone(UTC)
    return next((span.start for span in spans(calendar, holidays, t, t + SEARCH) if span.is_open), None)


def stays_up(calendar: Calendar, holidays: Container[date], raised_at: datetime | None, t: datetime) -> bool:
    """True if a person's promotion at `raised_at`, while it was closed, still stands at `t`: until the opening."""
    if raised_at is None or t < raised_at:
        return False
    opens = next_opening(calendar, holidays, raised_at)
    return opens is None or t < opens


def open_time_between(calendar: Calendar, holidays: Container[date], a: datetime, b: datetime) -> timedelta:
    """Real time from `a` to `b` during which it is open; nothing when `b` is not after `a`."""
    spans_ = spans(calendar, holidays, a, b)
    return sum((span.end - span.start for span in spans_ if span.is_open), timedelta(0))


def add_open_time(calendar: Calendar, holidays: Container[date], start: datetime, open_: timedelta) -> datetime | None:
    """The first instant by which `open_` of open time has passed since `start`; None if not within SEARCH.

    When the time runs out just as it closes, that is the closing instant itself, not the next opening.
    """
    left = open_
    if left <= timedelta(0):
        return start.astimezone(UTC)
    for span in spans(calendar, holidays, start, start + SEARCH):
        if span.is_open:
            length = span.end - span.start
            if left <= length:
                return span.start + left
            left -= length
    return None


def spans(calendar: Calendar, holidays: Container[date], start: datetime, end: datetime) -> Iterator[OpenSpan]:
    """The time from `start` to `end` cut where it opens or closes: adjacent spans, open and closed in turn.

    Only candidates for a change are looked at, and each is judged by `is_open`: there is one definition of open.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if end <= start:
        return
    since, state = start, is_open(calendar, holidays, start)
    for turn in _turns(calendar, start, end):
        if is_open(calendar, holidays, turn) is not state:
            yield OpenSpan(since, turn, state)
            since, state = turn, not state
    yield OpenSpan(since, end, state)


# ------------------------------------------------------------------ inside


def _is_holiday(calendar: Calendar, holidays: Container[date], day: date) -> bool:
    return bool(calendar.holidays) and day in holidays


def _turns(calendar: Calendar, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every instant in [start, end) at which it may open or close, rising, and some at which it does not."""
    edges = [moment for moment in _freeze_edges(calendar, start, end) if start <= moment < end]
    if not (calendar.windows or calendar.holidays):
        yield from sorted(edges)
        return
    zone = zone_of(calendar)
    minutes = {0} | {m % 1440 for w in calendar.windows for m in (w.opens_minute, w.closes_minute)}
    times = [time(minute // 60, minute % 60) for minute in minutes]
    while start < end:
        until = min(start + _STRETCH, end)
        found = {*edges, *_shifts(zone, start, until)}
        # A day more on both sides: when the clock is put back over midnight, a date comes, goes and comes again.
        day, last = start.astimezone(zone).date() - _DAY, until.astimezone(zone).date() + _DAY
        while day <= last:
            found.update(moment for at in times for moment in _instants(day, at, zone))
            day += _DAY
        yield from sorted(moment for moment in found if start <= moment < until)
        start = until


def _instants(day: date, at: time, zone: tzinfo) -> tuple[datetime, datetime]:
    """The instants at which the clock shows this time: the same one twice, unless the hour is repeated.

    For a time that does not exist these are no such instants; the shift of the clock is then the candidate.
    """
    naive = datetime.combine(day, at)
    return (naive.replace(tzinfo=zone).astimezone(UTC), naive.replace(tzinfo=zone, fold=1).astimezone(UTC))


def _shifts(zone: tzinfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants in (start, end] at which the clock is put forward or back; at most one a day is seen."""
    start = start.replace(microsecond=0)
    while start < end:
        offset = start.astimezone(zone).utcoffset()
        if (start + _DAY).astimezone(zone).utcoffset() != offset:
            low, high = 0, 86_400  # seconds after start: before the shift, and not before it
            while high - low > 1:
                middle = (low + high) // 2
                if (start + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
                    low = middle
                else:
                    high = middle
            yield start + timedelta(seconds=high)
        start += _DAY


def _freeze_edges(calendar: Calendar, start: datetime, end: datetime) -> Iterator[datetime]:
    zone, near = zone_of(calendar), (start.date() - 2 * _DAY, end.date() + 2 * _DAY)
    for freeze in calendar.freezes:
        if isinstance(freeze.begins, datetime) and isinstance(freeze.ends, datetime):
            for moment in (freeze.begins, freeze.ends):
                if start <= moment < end:
                    yield moment.astimezone(UTC)
        else:
            first, last = freeze.begins, freeze.ends
            # "to: 9999-12-31" means forever: there is no day after it, and none is needed.
            for day in (first, last + _DAY if last < near[1] else last):
                if near[0] <= day <= near[1]:
                    yield from _instants(day, time(0), zone)
