"""A timetable in words, and how times, hours and weights are said to people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from rollout.domain.calendar.timetable import Happens, TimetableRow
from rollout.domain.lifecycle.state import Position
from rollout.domain.plan.calendar import Calendar, Day, Window

_WEEK = tuple(Day)
_FIRST = Position(1, 1)
_WORDS = {Happens.DECISION: "the A/B test is decided", Happens.PROMOTED: "promoted", Happens.DEADLINE: "the deadline"}


def sentence(rows: Sequence[TimetableRow], now: datetime) -> str:
    """The timetable in one line: `10 % Tue 09:00, 50 % Tue 11:00 at the earliest, then 100 % Wed 09:00, ...`."""
    parts: list[str] = []
    said = 0  # the part that says "at the earliest", once for all that follow it
    for down, group in groupby(rows, lambda row: row.happens in (Happens.RETREAT, Happens.RETURN)):
        if down:
            then = "then " if said and len(parts) == said else ""
            parts.append(then + _nights_text(list(group), now))
            continue
        for row in group:
            said = _add_part(parts, said, row, now)
    zone = f" ({rows[0].zone})" if rows else ""
    return ", ".join(parts) + zone


def _nights_text(rows: Sequence[TimetableRow], now: datetime) -> str:
    """The weight's nights while one step holds: its first closing, and how often that comes again."""
    first = rows[0]
    if first.happens is Happens.RETURN:
        again = f"again {weight_text(first.weights)} {_when(first, now)}"
        return f"{again}, {_nights_text(rows[1:], now)}" if rows[1:] else again
    until = f"to {_when(rows[1], now)}" if rows[1:] else "on"
    more = (len(rows) + 1) // 2 - 1
    times = "" if not more else " and once more" if more == 1 else f" and {more} times more"
    return f"{weight_text(first.weights)} from {_when(first, now)} {until}{times}"


def _when(row: TimetableRow, now: datetime) -> str:
    return "not within two years" if row.at is None else moment_text(row.at, row.zone, now)


def event_text(row: TimetableRow) -> str:
    """An event without its time: `10 %`, `promoted`."""
    return weight_text(row.weights) if row.happens is Happens.STEP else _WORDS[row.happens]


def _add_part(parts: list[str], said: int, row: TimetableRow, now: datetime) -> int:
    text = f"{event_text(row)} {_when(row, now)}"
    fixed = row.happens is Happens.STEP and row.position == _FIRST and not row.needs
    if not said and not fixed and row.at is not None:
        text, said = f"{text} at the earliest", len(parts) + 1
    elif said and len(parts) == said:
        text = f"then {text}"
    parts.append(text)
    return said


def moment_text(at: datetime, zone: str, now: datetime) -> str:
    """A time in its zone, as short as it is clear: `Tue 09:00`, and from a week on `Mon 14 Dec 2026 09:00`."""
    local, today = at.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    text = f"{local:%a}"
    if not 0 <= (local.date() - today).days < 7:
        text += f" {local.day} {local:%b}"
        if local.year != today.year:
            text += f" {local.year}"
    text += f" {local:%H:%M}" if not (local.second or local.microsecond) else f" {local:%H:%M:%S}"
    if _repeats(local):
        text += f" {local:%Z}"  # without it, nobody can tell the first 01:30 from the second
    return text


def _repeats(local: datetime) -> bool:
    """True if the clock shows this time twice that day."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def hours_text(calendar: Calendar) -> str:
    """The open hours in words: `Mon-Thu 09:00-17:00, Fri 09:00-12:00 America/Los_Angeles`."""
    hours = ", ".join(f"{_days_text(w)} {w.opens}-{w.closes}" for w in calendar.windows)
    return f"{hours or 'always'} {calendar.zone}" if calendar.zone else hours or "always"


def _days_text(window: Window) -> str:
    chosen = sorted(_WEEK.index(day) for day in window.days)
    if len(chosen) == len(_WEEK):
        return "daily"
    runs: list[list[int]] = []
    for day in chosen:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    names = [day.value.title() for day in _WEEK]
    return "+".join(f"{names[run[0]]}-{names[run[-1]]}" if len(run) > 1 else names[run[0]] for run in runs)


def weight_text(weights: Mapping[str, int]) -> str:
    """Weights as people read them: `10 %`; with variants `20 % b + 20 % c`."""
    if set(weights) == {"canary"}:
        return f"{weights['canary'] / 100:g} %"
    return " + ".join(f"{points / 100:g} % {name}" for name, points in weights.items())
