"""Calendars: which live rollouts use each, whether it is open now, and the year ahead as a strip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.domain.calendar import windows
from rollout.domain.calendar.day_spans import DaySpan, day_spans
from rollout.domain.calendar.wording import hours_text
from rollout.domain.errors import InputError
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.calendar import Calendar
from rollout.engine.calendars import ClosedDays, usable
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.dashboard.page_route import render, shown, visitor
from rollout.interfaces.dashboard.page_state import PageState

DAY_WIDTH = 3  # of a day in a strip
MONTHS_IN_STRIP = 3
STRIPS = 4


@dataclass(frozen=True, slots=True)
class StripBar:
    """Consecutive days of one kind, in a strip's coordinates; `text` says the same in words."""

    x: int
    width: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class MonthMark:
    """A month's beginning in a strip."""

    x: int
    name: str


@dataclass(frozen=True, slots=True)
class YearStrip:
    """A quarter of the year; `today` is where today lies, None: elsewhere."""

    width: int
    bars: Sequence[StripBar]
    months: Sequence[MonthMark]
    today: int | None
    label: str


@dataclass(frozen=True, slots=True)
class CalendarCard:
    """A calendar with all that is shown of it. `name` is "" for one that plans write themselves.

    `turns` is when it opens or closes next, None: not within two years. `trouble` says why it cannot be used.
    """

    name: str
    users: Sequence[Rollout]
    trouble: str = ""
    hours: str = ""
    holidays: Sequence[str] = ()
    freezes: Sequence[str] = ()
    is_open: bool = False
    turns: datetime | None = None
    strips: Sequence[YearStrip] = ()


def page(page_state: PageState, caller: Caller) -> dict[str, Any]:
    """Everything the page shows: the shared calendars by name, then those that live plans write themselves."""
    service = page_state.service
    now = service.app.store.now()
    named: dict[str, list[Rollout]] = defaultdict(list)
    own: dict[Calendar, list[Rollout]] = defaultdict(list)
    for r in service.live(caller):
        if r.plan.calendar is not None:
            named[r.plan.calendar].append(r)
        elif (calendar := r.plan.own_calendar) is not None:
            own[calendar].append(r)
    known, trouble = _shared(page_state)
    cards = [_card(name, known[name], named[name], now) for name in sorted(known)]
    missing = [] if trouble else sorted(named.keys() - known.keys())
    lost = "The file of calendars has none of this name, so it counts as closed: no step advances."
    cards = [*(CalendarCard(name, named[name], lost) for name in missing), *cards]
    cards += [_card("", calendar, users, now) for calendar, users in own.items()]
    return {"cards": cards, "trouble": trouble, "file": service.app.settings.calendars, "now": now}


def _shared(page_state: PageState) -> tuple[Mapping[str, Calendar], str]:
    try:
        return page_state.service.app.calendars.shared(), ""
    except InputError as error:
        return {}, error.message


def _card(name: str, calendar: Calendar, users: Sequence[Rollout], now: datetime) -> CalendarCard:
    try:
        closed = usable(calendar)[1]
    except InputError as error:
        return CalendarCard(name, users, error.message)
    span = next(windows.spans(calendar, closed, now, now + windows.SEARCH))
    return CalendarCard(
        name,
        users,
        "",
        hours_text(calendar),
        calendar.holidays,
        [f"{_end(f.begins)} to {_end(f.ends)}: {f.reason}" for f in calendar.freezes],
        span.is_open,
        None if span.end - now >= windows.SEARCH else span.end,
        strips(calendar, closed, now.astimezone(windows.zone_of(calendar)).date()),
    )


def _end(moment: date) -> str:
    text = f"{moment.day} {moment:%b %Y}"
    return f"{text} {moment:%H:%M %Z}" if isinstance(moment, datetime) else text


def strips(calendar: Calendar, closed: ClosedDays, today: date) -> list[YearStrip]:
    """The year from the beginning of this month, in four strips."""
    found, first = [], today.replace(day=1)
    for _ in range(STRIPS):
        end = _later(first, MONTHS_IN_STRIP)
        found.append(_strip(day_spans(calendar, closed.name, first, end), first, end, today))
        first = end
    return found


def _later(first: date, months: int) -> date:
    """The first day of the month so many months later."""
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def _strip(spans: Sequence[DaySpan], first: date, end: date, today: date) -> YearStrip:
    def x(day: date) -> int:
        return (day - first).days * DAY_WIDTH

    months = [MonthMark(x(m), f"{m:%b}") for m in (_later(first, i) for i in range(MONTHS_IN_STRIP))]
    bars = [StripBar(x(s.first), s.days * DAY_WIDTH, str(s.kind), _words(s)) for s in spans]
    told = "; ".join(bar.text for bar, s in zip(bars, spans, strict=True) if s.why) or "no holidays or freezes"
    label = f"{first:%B %Y} to {end - timedelta(days=1):%B %Y}: {told}"
    return YearStrip(x(end), bars, months, x(today) if first <= today < end else None, label)


def _words(span: DaySpan) -> str:
    days = f"{span.first.day} {span.first:%b}"
    if span.days > 1:
        days += f" to {span.last.day} {span.last:%b}"
    return f"{days}: {span.why or span.kind}"


def add(router: APIRouter) -> None:
    """Add the page."""

    @router.get("/calendars", **shown(Right.READ))
    async def calendars_page(request: Request) -> Response:
        """Every shared calendar, and those of live plans."""
        page_state: PageState = request.state.page_state
        caller = visitor(request).caller
        return await page_state.service.pools.run(
            "read", lambda: render(request, "calendars.html", **page(page_state, caller))
        )
