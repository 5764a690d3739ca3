"""Open or closed, against a clock read minute by minute; both changes of the clock in zones of every kind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.calendar.windows import (
    SEARCH,
    add_open_time,
    freeze_at,
    is_open,
    next_opening,
    open_time_between,
    spans,
    stays_up,
)
from rollout.domain.plan.calendar import Calendar
from tests.support import retreating

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)
WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NO_DAYS: frozenset[date] = frozenset()

# Zone and local days on which something happens there: the clock changes, a leap day, the end of a year.
ZONES = {
    "America/Los_Angeles": ["2026-03-08", "2026-11-01"],
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],  # by half an hour
    "America/St_Johns": ["2026-03-08", "2026-11-01", "2010-11-07"],  # in 2010 at one minute past midnight
    "Pacific/Chatham": ["2026-04-05", "2026-09-27"],  # 45 minutes off the hour
    "Asia/Kolkata": ["2026-06-01"],  # half an hour off, never changes
    "America/Havana": ["2026-03-08", "2026-11-01"],  # at midnight: a day without its first hour
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],  # put back for Ramadan
    "Pacific/Apia": ["2011-12-29"],  # the 30th never came
    "UTC": ["2026-06-30"],
}
ANYWHERE = ["2028-02-28", "2027-12-31"]
PLACES = [(zone, date.fromisoformat(day)) for zone, days in ZONES.items() for day in (*days, *ANYWHERE)]


def closes_at(cal: Calendar, holidays: frozenset[date], t: datetime) -> datetime | None:
    """The first closed instant at or after `t`, by `spans`; None if there is none within SEARCH."""
    return next((span.start for span in spans(cal, holidays, t, t + SEARCH) if not span.is_open), None)


def calendar(zone: str | None = "America/Los_Angeles", **given: Any) -> Calendar:
    return Calendar.model_validate({"zone": zone, **given})


def hours(opens: str, closes: str, *days: str) -> dict[str, Any]:
    return {"days": list(days) or WEEK, "from": opens, "to": closes}


def at(text: str, zone: str = "America/Los_Angeles", fold: int = 0) -> datetime:
    """A local time that exists, as an instant."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    instant = local.astimezone(UTC)
    assert instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == datetime.fromisoformat(text)
    return instant


OFFICE = calendar(windows=hours("09:00", "17:00", "mon", "tue", "wed", "thu", "fri"))


# ------------------------------------------------------------------ the oracle


def reads_open(cal: Calendar, holidays: frozenset[date], t: datetime) -> bool:
    """What a person with a wall clock, a diary and the list of hours would say; shares nothing with the module."""
    local = t.astimezone(ZoneInfo(cal.zone or "UTC"))
    today, clock = local.date().isoformat(), local.strftime("%H:%M")
    eve = (local.date() - DAY).isoformat()
    off = {day.isoformat() for day in holidays} if cal.holidays else set()
    for freeze in cal.freezes:
        if isinstance(freeze.begins, datetime) and isinstance(freeze.ends, datetime):
            if freeze.begins.timestamp() <= t.timestamp() < freeze.ends.timestamp():
                return False
        elif freeze.begins.isoformat() <= today <= freeze.ends.isoformat():
            return False
    if today in off:
        return False
    shifts = set()
    for window in cal.windows:
        over_midnight = window.closes <= window.opens
        for day in window.days:
            shifts.add((day.value, window.opens, "24:00" if over_midnight else window.closes, ""))
            if over_midnight:
                shifts.add((WEEK[(WEEK.index(day.value) + 1) % 7], "00:00", window.closes, "eve"))
    weekday = local.strftime("%a").lower()
    return not cal.windows or any(
        day == weekday and opens <= clock < closes and not (kind == "eve" and eve in off)
        for day, opens, closes, kind in shifts
    )


def by_the_minute(
    cal: Calendar, holidays: frozenset[date], start: datetime, end: datetime
) -> list[tuple[datetime, bool]]:
    """The instants at which a look once a minute sees a change, the first look included."""
    changes: list[tuple[datetime, bool]] = []
    t = start
    while t < end:
        state = reads_open(cal, holidays, t)
        if not changes or changes[-1][1] is not state:
            changes.append((t, state))
        t += MINUTE
    return changes


# ------------------------------------------------------------------ properties

clock_times = st.builds(
    lambda hour, minute: f"{hour:02}:{minute:02}",
    st.sampled_from([*range(24), 0, 1, 1, 2, 2, 3]),  # rather at night, when clocks change
    st.sampled_from([0, 0, 1, 15, 30, 45, 59]),
)


@st.composite
def window_of(draw: st.DrawFn) -> dict[str, Any]:
    opens = draw(clock_times)
    closes = draw(st.one_of(clock_times, st.just("24:00")).filter(lambda text: text != opens))
    return hours(opens, closes, *draw(st.lists(st.sampled_from(WEEK), min_size=1, max_size=7, unique=True)))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Calendar, frozenset[date], datetime]:
    """A calendar, its holidays, and a whole minute near a day on which something happens."""
    zone, day = draw(st.sampled_from(PLACES))
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    near = st.integers(-2, 2).map(lambda n: day + n * DAY)
    moments = st.integers(-2 * 1440, 2 * 1440).map(lambda n: midnight + n * MINUTE)
    freezes = []
    for kind in draw(st.lists(st.sampled_from(["days", "times"]), max_size=2)):
        first, last = sorted([draw(near), draw(near)])
        begins, length = draw(moments), draw(st.integers(1, 2000))
        ends = begins + length * MINUTE
        pair = (first, last) if kind == "days" else (begins.astimezone(ZoneInfo("Asia/Tokyo")), ends)
        freezes.append({"from": pair[0], "to": pair[1], "reason": "a freeze"})
    cal = calendar(
        zone,
        windows=draw(st.lists(window_of(), max_size=3)),
        freezes=freezes,
        holidays=draw(st.sampled_from([[], ["US"]])),
    )
    return cal, frozenset(draw(st.lists(near, max_size=2))), draw(moments)


often = settings(derandomize=True, deadline=None, max_examples=60)
some = settings(derandomize=True, deadline=None, max_examples=40)


@some
@given(scenes())
def test_spans_are_what_a_clock_read_every_minute_shows(scene: tuple[Calendar, frozenset[date], datetime]) -> None:
    cal, holidays, start = scene
    end = start + 30 * HOUR
    found = list(spans(cal, holidays, start, end))
    assert [(span.start, span.is_open) for span in found] == by_the_minute(cal, holidays, start, end)
    assert [span.end for span in found] == [*(span.start for span in found[1:]), end]


@often
@given(scenes(), st.integers(0, 59_999_999))
def test_the_next_opening_is_open_and_nothing_before_it_is(
    scene: tuple[Calendar, frozenset[date], datetime], micros: int
) -> None:
    cal, holidays, t = scene
    t += timedelta(microseconds=micros)
    opens = next_opening(cal, holidays, t)
    if opens is None:
        assert not any(reads_open(cal, holidays, t + n * 7 * HOUR) for n in range(300))
        return
    assert opens >= t
    assert opens.tzinfo is UTC
    assert reads_open(cal, holidays, opens)
    if opens > t:
        assert not reads_open(cal, holidays, opens - TICK)
    step = max(MINUTE, (opens - t) / 300)
    while t < opens:
        assert not reads_open(cal, holidays, t)
        t += step


@often
@given(scenes())
def test_it_closes_at_the_first_closed_instant(scene: tuple[Calendar, frozenset[date], datetime]) -> None:
    cal, holidays, t = scene
    closes = closes_at(cal, holidays, t)
    if closes is None:
        assert all(reads_open(cal, holidays, t + n * 7 * HOUR) for n in range(300))
        return
    assert not reads_open(cal, holidays, closes)
    assert closes == t or reads_open(cal, holidays, closes - TICK)
    assert open_time_between(cal, holidays, t, closes) == closes - t


@often
@given(scenes(), st.integers(0, 20_000), st.integers(0, 20_000))
def test_open_time_adds_up(scene: tuple[Calendar, frozenset[date], datetime], one: int, two: int) -> None:
    cal, holidays, a = scene
    b, c = a + one * MINUTE, a + (one + two) * MINUTE
    parts = open_time_between(cal, holidays, a, b), open_time_between(cal, holidays, b, c)
    assert open_time_between(cal, holidays, a, c) == sum(parts, timedelta(0))
    assert timedelta(0) <= parts[0] <= b - a


@often
@given(scenes(), st.integers(0, 6_000).map(lambda n: n * 7 * timedelta(seconds=1)))
def test_adding_open_time_is_the_inverse_of_counting_it(
    scene: tuple[Calendar, frozenset[date], datetime], open_: timedelta
) -> None:
    cal, holidays, start = scene
    end = add_open_time(cal, holidays, start, open_)
    if end is None:
        assert open_time_between(cal, holidays, start, start + SEARCH) < open_
        return
    assert open_time_between(cal, holidays, start, end) == open_
    if open_:
        assert open_time_between(cal, holidays, start, end - TICK) < open_
        assert is_open(cal, holidays, end - TICK)
    there = start + 3 * DAY
    counted = open_time_between(cal, holidays, start, there)
    back = add_open_time(cal, holidays, start, counted)
    assert back is not None
    assert back <= there
    assert open_time_between(cal, holidays, back, there) == timedelta(0)


# ------------------------------------------------------------------ hours and days


@pytest.mark.parametrize(
    ("when", "opens"),
    [
        ("2026-03-02 09:00", "2026-03-02 09:00"),  # Monday, at the very minute
        ("2026-03-02 16:59", "2026-03-02 16:59"),
        ("2026-03-02 17:00", "2026-03-03 09:00"),  # the closing minute is closed
        ("2026-03-06 17:00", "2026-03-09 09:00"),  # a weekend with the spring change in it
        ("2026-10-30 18:00", "2026-11-02 09:00"),  # and with the autumn one
        ("2028-02-28 17:00", "2028-02-29 09:00"),  # a leap day is a day
        ("2026-12-31 17:00", "2027-01-01 09:00"),
    ],
)
def test_office_hours(when: str, opens: str) -> None:
    assert next_opening(OFFICE, NO_DAYS, at(when)) == at(opens)


def test_a_weekend_with_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    friday, monday = at("2026-03-06 17:00"), at("2026-03-09 09:00")
    assert next_opening(OFFICE, NO_DAYS, friday) == monday == friday + 63 * HOUR
    friday, monday = at("2026-10-30 17:00"), at("2026-11-02 09:00")
    assert next_opening(OFFICE, NO_DAYS, friday) == monday == friday + 65 * HOUR


def test_over_midnight_the_night_belongs_to_the_day_on_which_it_opens() -> None:
    nights = calendar("Europe/London", windows=hours("22:00", "04:00", "fri"))
    saturday = at("2026-06-06 03:59", "Europe/London")
    assert is_open(nights, NO_DAYS, saturday)
    assert closes_at(nights, NO_DAYS, saturday) == at("2026-06-06 04:00", "Europe/London")
    assert not is_open(nights, NO_DAYS, at("2026-06-05 03:00", "Europe/London"))
    assert not is_open(nights, NO_DAYS, at("2026-06-06 22:00", "Europe/London"))


def test_until_24_and_from_00_make_one_span() -> None:
    days = calendar(windows=[hours("18:00", "24:00", "mon"), hours("00:00", "02:00", "tue")])
    monday = at("2026-06-01 12:00")
    assert next_opening(days, NO_DAYS, monday) == at("2026-06-01 18:00")
    assert closes_at(days, NO_DAYS, at("2026-06-01 18:00")) == at("2026-06-02 02:00")
    midnight = calendar(windows=hours("18:00", "00:00", "mon"))
    assert closes_at(midnight, NO_DAYS, at("2026-06-01 18:00")) == at("2026-06-02 00:00")


def test_without_windows_it_is_always_open() -> None:
    always = calendar(None)
    now = at("2026-06-01 12:00")
    assert is_open(always, NO_DAYS, now)
    assert closes_at(always, NO_DAYS, now) is None
    assert add_open_time(always, NO_DAYS, now, 8 * HOUR) == now + 8 * HOUR
    assert open_time_between(always, NO_DAYS, now, now - DAY) == timedelta(0)


# ------------------------------------------------------------------ clock changes


@pytest.mark.parametrize(
    ("zone", "day", "missing", "first"),
    [
        ("America/Los_Angeles", "2026-03-08", "02:30", "03:00"),
        ("Europe/Berlin", "2026-03-29", "02:15", "03:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:10", "02:30"),
        ("America/St_Johns", "2026-03-08", "02:59", "03:00"),
        ("Pacific/Chatham", "2026-09-27", "02:45", "03:45"),
        ("America/Havana", "2026-03-08", "00:00", "01:00"),
    ],
)
def test_a_window_that_begins_in_the_missing_hour_opens_at_the_first_instant_after_it(
    zone: str, day: str, missing: str, first: str
) -> None:
    cal = calendar(zone, windows=hours(missing, "06:00"))
    eve = at(f"{day} 12:00", zone) - 24 * HOUR
    assert next_opening(cal, NO_DAYS, eve) == at(f"{day} {first}", zone)


def test_a_window_inside_the_missing_hour_does_not_open_that_day() -> None:
    cal = calendar(windows=hours("02:10", "02:50"))
    assert next_opening(cal, NO_DAYS, at("2026-03-08 00:00")) == at("2026-03-09 02:10")


@pytest.mark.parametrize(
    ("zone", "day", "twice", "again"),
    [
        ("America/Los_Angeles", "2026-11-01", "01:30", timedelta(hours=1)),
        ("Europe/Berlin", "2026-10-25", "02:00", timedelta(hours=1)),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", timedelta(minutes=30)),
        ("America/St_Johns", "2026-11-01", "01:00", timedelta(hours=1)),
        ("Pacific/Chatham", "2026-04-05", "02:45", timedelta(hours=1)),
        ("America/Havana", "2026-11-01", "00:15", timedelta(hours=1)),
    ],
)
def test_an_opening_that_comes_twice_is_the_first(zone: str, day: str, twice: str, again: timedelta) -> None:
    cal = calendar(zone, windows=hours(twice, "09:00"))
    first, second = at(f"{day} {twice}", zone), at(f"{day} {twice}", zone, fold=1)
    assert second == first + again
    assert next_opening(cal, NO_DAYS, first - 2 * HOUR) == first
    assert is_open(cal, NO_DAYS, second)


def test_an_hour_that_is_repeated_is_open_twice() -> None:
    cal = calendar(windows=hours("01:00", "01:30"))
    day = at("2026-11-01 00:00"), at("2026-11-02 00:00")
    assert open_time_between(cal, NO_DAYS, *day) == HOUR
    assert [span.is_open for span in spans(cal, NO_DAYS, *day)] == [False, True, False, True, False]


def test_open_time_is_real_time() -> None:
    daily = calendar(windows=hours("00:00", "24:00"))
    assert open_time_between(daily, NO_DAYS, at("2026-03-08 00:00"), at("2026-03-09 00:00")) == 23 * HOUR
    assert open_time_between(daily, NO_DAYS, at("2026-11-01 00:00"), at("2026-11-02 00:00")) == 25 * HOUR
    nights = calendar(windows=hours("22:00", "06:00", "sat"))
    assert add_open_time(nights, NO_DAYS, at("2026-03-07 22:00"), 7 * HOUR) == at("2026-03-08 06:00")
    assert add_open_time(nights, NO_DAYS, at("2026-10-31 22:00"), 9 * HOUR) == at("2026-11-01 06:00")


def test_a_zone_half_an_hour_off() -> None:
    cal = calendar("Asia/Kolkata", windows=hours("09:00", "17:00"))
    assert next_opening(cal, NO_DAYS, datetime(2026, 6, 1, tzinfo=UTC)) == datetime(2026, 6, 1, 3, 30, tzinfo=UTC)


def test_a_year_of_office_hours_is_counted_exactly() -> None:
    year = at("2028-01-01 00:00"), at("2029-01-01 00:00")
    workdays = sum(1 for n in range(366) if (date(2028, 1, 1) + n * DAY).weekday() < 5)
    assert open_time_between(OFFICE, NO_DAYS, *year) == workdays * 8 * HOUR


# ------------------------------------------------------------------ holidays and freezes


def test_a_holiday_is_closed_all_day_and_so_is_the_night_that_would_open_on_it() -> None:
    thursday = frozenset({date(2026, 11, 26)})
    nights = calendar(windows=hours("22:00", "04:00", "wed", "thu", "fri"), holidays="US")
    assert closes_at(nights, thursday, at("2026-11-25 22:00")) == at("2026-11-26 00:00")
    assert next_opening(nights, thursday, at("2026-11-26 00:00")) == at("2026-11-27 22:00")
    only_holidays = calendar(holidays="US")
    assert closes_at(only_holidays, thursday, at("2026-11-20 00:00")) == at("2026-11-26 00:00")
    assert next_opening(only_holidays, thursday, at("2026-11-26 12:00")) == at("2026-11-27 00:00")


def test_a_freeze_in_days_includes_its_last_day_and_one_in_times_not_its_end() -> None:
    by_days = calendar(freezes={"from": "2026-11-26", "to": "2026-11-30", "reason": "Black Friday"})
    assert closes_at(by_days, NO_DAYS, at("2026-11-01 00:00")) == at("2026-11-26 00:00")
    assert next_opening(by_days, NO_DAYS, at("2026-11-26 00:00")) == at("2026-12-01 00:00")
    begins, ends = at("2026-11-26 10:00"), at("2026-11-26 12:30")
    by_times = calendar(None, freezes={"from": begins, "to": ends, "reason": "moving house"})
    assert closes_at(by_times, NO_DAYS, begins - 30 * DAY) == begins
    assert next_opening(by_times, NO_DAYS, begins) == ends
    freeze = freeze_at(by_times, begins)
    assert freeze is not None
    assert freeze.reason == "moving house"
    assert freeze_at(by_times, ends) is None


def test_a_calendar_that_never_opens_again_says_so_and_soon() -> None:
    for_ever = {"from": date(2026, 1, 1), "to": date.max, "reason": "for ever"}
    now = at("2026-06-01 12:00")
    for frozen in (calendar(freezes=for_ever), calendar(freezes=for_ever, windows=hours("09:00", "17:00"))):
        assert next_opening(frozen, NO_DAYS, now) is None
        assert add_open_time(frozen, NO_DAYS, now, HOUR) is None
        assert closes_at(frozen, NO_DAYS, now) == now
    always = {"from": date.min, "to": date.max, "reason": "always"}
    assert next_opening(calendar("Europe/Berlin", freezes=always), NO_DAYS, now) is None


def test_a_freeze_in_times_may_last_until_the_end_of_time() -> None:
    last = datetime.fromisoformat("9999-12-31T23:59:59-08:00")
    begins = at("2026-06-01 10:00")
    for more in ({}, {"windows": hours("09:00", "17:00")}):
        frozen = calendar(freezes={"from": begins, "to": last, "reason": "sold"}, **more)
        assert closes_at(frozen, NO_DAYS, begins - MINUTE) == begins
        assert next_opening(frozen, NO_DAYS, begins) is None


def test_no_time_has_no_spans() -> None:
    now = at("2026-06-01 12:00")
    assert list(spans(OFFICE, NO_DAYS, now, now)) == list(spans(OFFICE, NO_DAYS, now, now - DAY)) == []
    closed = at("2026-06-01 20:00")
    assert add_open_time(OFFICE, NO_DAYS, closed, timedelta(0)) == closed
    assert add_open_time(OFFICE, NO_DAYS, closed, TICK) == at("2026-06-02 09:00") + TICK


def test_of_two_freezes_the_one_listed_first_counts() -> None:
    whole = {"from": "2026-11-26", "to": "2026-11-30", "reason": "sale"}
    hour = {"from": "2026-11-27T10:00:00-08:00", "to": "2026-11-27T11:00:00-08:00", "reason": "moving house"}
    found = [freeze_at(calendar(freezes=both), at("2026-11-27 10:30")) for both in ([whole, hour], [hour, whole])]
    assert [freeze.reason for freeze in found if freeze] == ["sale", "moving house"]
    assert [
        freeze_at(calendar(freezes=whole), at(day)) is None for day in ("2026-11-25 23:59", "2026-11-26 00:00")
    ] == [True, False]


def test_a_promotion_while_it_is_closed_stands_until_the_opening() -> None:
    night, morning = at("2026-06-01 22:00"), at("2026-06-02 09:00")
    up = [stays_up(OFFICE, NO_DAYS, night, t) for t in (night - TICK, night, morning - TICK, morning, morning + DAY)]
    assert up == [False, True, True, False, False]
    assert not stays_up(OFFICE, NO_DAYS, None, night)
    for_ever = calendar(freezes={"from": date(2026, 1, 1), "to": date.max, "reason": "for ever"})
    assert stays_up(for_ever, NO_DAYS, night, night + 999 * DAY)


def test_a_date_that_comes_goes_and_comes_again() -> None:
    # In 2010 St John's put its clocks back at 00:01: Sunday lasted a minute, Saturday's last hour came again.
    zone = "America/St_Johns"
    cal = calendar(zone, windows=hours("00:00", "00:01", "sun"))
    evening, sunday = at("2010-11-06 22:00", zone), at("2010-11-07 00:00", zone)
    assert next_opening(cal, NO_DAYS, evening) == sunday
    found = list(spans(cal, NO_DAYS, evening, sunday + 10 * MINUTE))
    assert [span.start for span in found] == [evening, sunday, sunday + MINUTE]
    assert [span.is_open for span in found] == [False, True, False]
    again = at("2010-11-07 00:01", zone)
    assert again == sunday + HOUR + MINUTE
    assert next_opening(cal, NO_DAYS, sunday + MINUTE) == again - MINUTE


@pytest.mark.parametrize(
    ("raised", "now", "stays"),
    [
        (None, "2026-06-02 20:00", False),
        ("2026-06-02 20:00", "2026-06-02 19:00", False),
        ("2026-06-02 20:00", "2026-06-02 20:00", True),
        ("2026-06-02 20:00", "2026-06-03 08:59", True),
        ("2026-06-02 20:00", "2026-06-03 09:00", False),
        ("2026-06-02 20:00", "2026-06-03 20:00", False),  # nobody looked in between: it was open all the same
        ("2026-06-02 16:59", "2026-06-02 17:00", False),  # it was open when the person spoke
    ],
)
def test_how_long_a_promotion_at_night_stays(raised: str | None, now: str, stays: bool) -> None:
    assert stays_up(retreating.OFFICE, (), retreating.when(raised) if raised else None, retreating.when(now)) is stays
