"""The calendars of plans: their own or shared ones, with holidays.

Implements `rollout.engine.ports.OpeningHours`. A calendar that cannot be used counts as closed, with the reason, and never
as an error: a rollback asks for the opening, too, and a fault in the hours must never block it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from rollout.domain.calendar import windows
from rollout.domain.calendar.public_holidays import UnknownRegion, holidays_of, require
from rollout.domain.calendar.timetable import TimetableRow, remaining, timetable
from rollout.domain.calendar.wording import hours_text, moment_text
from rollout.domain.decide.facts import Opening
from rollout.domain.errors import InputError
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.calendar import Calendar, Freeze
from rollout.domain.plan.fields import shown
from rollout.domain.plan.plan import Plan
from rollout.engine.ports import SharedCalendars

_LOOK_AGAIN = timedelta(minutes=1)  # after a calendar that cannot be used
_MOST_SPANS = 512


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """The holidays of some countries and regions, as a container of dates. A year is worked out when asked for."""

    regions: tuple[str, ...] = ()

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.name(day) is not None

    def name(self, day: date) -> str | None:
        """The holiday and its region: `Thanksgiving Day (US-CA)`; None on a day that is no holiday."""
        for region in self.regions:
            if (name := holidays_of(region, day.year).get(day)) is not None:
                return f"{name} ({region})"
        return None


class Calendars:
    """The calendar that a plan goes by, and what it says. Safe to share between threads.

    `shared` has the calendars that plans name.
    """

    def __init__(self, shared: SharedCalendars | None = None) -> None:
        self._shared = shared
        self._spans: dict[Calendar, windows.OpenSpan] = {}

    # -------------------------------------------------------------- for checks and for show

    def shared(self) -> Mapping[str, Calendar]:
        """Every calendar that plans can name; none without a file of them. InputError when it cannot be read."""
        return {} if self._shared is None else self._shared.load()

    def of(self, plan: Plan) -> tuple[Calendar, ClosedDays]:
        """The plan's calendar and its holidays; InputError if one cannot be used, with what to write instead.

        A plan without any is always open.
        """
        if plan.calendar is None:
            return usable(plan.own_calendar or Calendar())
        return usable(self._named(plan.calendar))

    def timetable(self, plan: Plan, now: datetime, *, waves: int = 1) -> list[TimetableRow]:
        """The earliest moment of each step of the plan; InputError as `of`."""
        calendar, closed = self.of(plan)
        return timetable(plan, calendar, closed, now, waves=waves)

    def remaining(self, rollout: Rollout, now: datetime) -> list[TimetableRow]:
        """The timetable of the rest of a rollout, and when at the earliest; InputError as `of`."""
        calendar, closed = self.of(rollout.plan)
        return remaining(rollout, calendar, closed, now)

    # -------------------------------------------------------------- for the driver

    def opening(self, rollout: Rollout, now: datetime) -> Opening:
        """The openness at `now`: may steps advance, why not, until when, and the weight to retreat to."""
        try:
            calendar, closed = self.of(rollout.plan)
            span = self._span(calendar, closed, now)
        except InputError as error:
            # Closed, and the weight stays: nobody said that these are hours to retreat in.
            return Opening(False, now + _LOOK_AGAIN, error.message)
        until = None if span.end - span.start == windows.SEARCH else span.end  # None: no change was found
        if span.is_open:
            return Opening(True, until)
        cause, hours, opens = _why_closed(rollout.plan, calendar, closed, now, until)
        retreat, retreat_why = rollout.plan.retreat, ""
        if retreat is not None:
            retreat_why = f"{opens.replace('opens', 'until')} ({cause}); {hours}"
            if windows.stays_up(calendar, closed, rollout.raised_at, now):
                retreat = None
        bracket = f" ({hours})" if cause.startswith("outside") else ""
        there = f" {calendar.zone or 'UTC'}" if not bracket and until is not None else ""
        return Opening(False, until, f"{cause}{bracket}; {opens}{there}", retreat, retreat_why)

    def stood(self, rollout: Rollout, now: datetime) -> timedelta | None:
        """Open time that a hold in open hours has counted since it last began to count, if the plan retreats.

        None for a hold that counts elapsed time, and for one that does not count now.
        """
        since = rollout.counts_since
        if rollout.plan.retreat is None or since is None or not rollout.plan.hold(rollout.position.step).open:
            return None
        try:
            calendar, closed = self.of(rollout.plan)
        except InputError:
            return None
        return windows.open_time_between(calendar, closed, since, now)

    def hold_until(self, rollout: Rollout) -> datetime | None:
        """The end of a hold in open hours; None for a hold that counts elapsed time.

        A hold that is not over within `windows.SEARCH` gives the end of that search: not before then.
        """
        hold = rollout.plan.hold(rollout.position.step)
        since = rollout.counts_since
        if not hold.open or since is None:
            return None
        try:
            calendar, closed = self.of(rollout.plan)
        except InputError:
            # `opening` says closed for the same reason; if the file changes between the two calls, the hours of the
            # calendar that was read last still count.
            known = self._shared.last_read(rollout.plan.calendar or "") if self._shared else None
            if known is None:
                return None
            calendar, closed = known, ClosedDays(known.holidays)
        until = windows.add_open_time(calendar, closed, since, rollout.hold_left)
        return until or since + windows.SEARCH

    def _span(self, calendar: Calendar, closed: ClosedDays, now: datetime) -> windows.OpenSpan:
        """The span around `now`, remembered until it is over: thousands of rollouts ask every few seconds."""
        span = self._spans.get(calendar)
        if span is None or not span.start <= now < span.end:
            span = next(windows.spans(calendar, closed, now, now + windows.SEARCH))
            if len(self._spans) >= _MOST_SPANS:
                self._spans = {}
            self._spans[calendar] = span
        return span

    def _named(self, name: str) -> Calendar:
        problem = f"calendar: there is no calendar {shown(name)}"
        if self._shared is None:
            raise InputError(
                f"{problem}, because no calendar file is set; set ROLLOUT_CALENDARS, or write windows and zone"
            )
        known = self._shared.load()
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, 1)
        names = ", ".join(sorted(known)) or "none"
        place = self._shared.place
        advice = f"write {near[0]}; known are: {names}" if near else f"known in {place} are: {names}"
        raise InputError(f"{problem}; {advice}")


def usable(calendar: Calendar) -> tuple[Calendar, ClosedDays]:
    """With its holidays, once every region is known to have some."""
    for region in calendar.holidays:
        try:
            require(region)
        except UnknownRegion as error:
            raise InputError(f"holidays: {error}") from None
    return calendar, ClosedDays(calendar.holidays)


# ------------------------------------------------------------------ words


def _why_closed(
    plan: Plan, calendar: Calendar, closed: ClosedDays, now: datetime, opens: datetime | None
) -> tuple[str, str, str]:
    """The reason that it is closed, the hours (or the zone), and when it opens, in the calendar's zone, for `show`."""
    local = now.astimezone(windows.zone_of(calendar)).date()
    opening = "no opening within two years"
    if opens is not None:
        opening = f"opens {moment_text(opens, calendar.zone or 'UTC', now)}"
    zone = calendar.zone or "UTC"
    if (freeze := windows.freeze_at(calendar, now)) is not None:
        until = f" until {_end_text(freeze, calendar, now)}" if opens is not None else ""
        return f"freeze: {freeze.reason}{until}", zone, opening
    if (holiday := closed.name(local)) is not None:
        return f"holiday: {holiday}", zone, opening
    whose = "the plan's hours" if plan.calendar is None else f"the hours of calendar {plan.calendar}"
    return f"outside {whose}", hours_text(calendar), opening


def _end_text(freeze: Freeze, calendar: Calendar, now: datetime) -> str:
    ends = freeze.ends
    if isinstance(ends, datetime):
        return moment_text(ends, calendar.zone or "UTC", now)
    year = f" {ends.year}" if ends.year != now.year else ""
    return f"the end of {ends:%a} {ends.day} {ends:%b}{year}"
