"""A calendar day by day: what each day counts as, and that the strips leave no day out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.calendar.day_spans import DayKind, day_spans
from rollout.domain.calendar.windows import is_open, zone_of
from rollout.domain.plan.calendar import Calendar

WORKDAYS = {"windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}], "zone": "UTC"}
HOLIDAYS = {date(2026, 12, 25): "Christmas Day"}
DAY = timedelta(days=1)


def kinds(calendar: Calendar, first: date, days: int) -> list[tuple[str, str]]:
    found = []
    for span in day_spans(calendar, HOLIDAYS.get, first, first + days * DAY):
        found += [(str(span.kind), span.why)] * span.days
    return found


def of(**more: Any) -> Calendar:
    return Calendar.model_validate({**WORKDAYS, **more})


def test_a_week_is_two_spans() -> None:
    spans = day_spans(of(), HOLIDAYS.get, date(2026, 11, 30), date(2026, 12, 7))
    assert [(s.first.day, s.last.day, s.kind, s.days) for s in spans] == [
        (30, 4, DayKind.OPEN, 5),
        (5, 6, DayKind.CLOSED, 2),
    ]


def test_a_freeze_goes_before_a_holiday_and_a_holiday_before_the_hours() -> None:
    christmas = date(2026, 12, 25)
    freeze = {"from": "2026-12-24", "to": "2026-12-25", "reason": "year's end"}
    assert kinds(of(), christmas, 1) == [("open", "")], "no holidays without a region"
    assert kinds(of(holidays="US"), christmas, 1) == [("holiday", "Christmas Day")]
    assert kinds(of(holidays="US", freezes=[freeze]), date(2026, 12, 23), 4) == [
        ("open", ""),
        ("freeze", "year's end"),
        ("freeze", "year's end"),
        ("closed", ""),
    ]


def test_a_day_is_open_if_any_window_opens_on_it_and_always_without_windows() -> None:
    both = [{"days": ["mon"], "from": "09:00", "to": "17:00"}, {"days": ["tue"], "from": "10:00", "to": "11:00"}]
    monday = date(2026, 11, 30)
    assert [kind for kind, _ in kinds(of(windows=both), monday, 3)] == ["open", "open", "closed"]
    assert kinds(of(windows=[]), monday, 7) == [("open", "")] * 7


def test_a_freeze_in_times_counts_on_each_day_it_touches_in_the_zone() -> None:
    freeze = {"from": "2026-12-18T18:00:00-08:00", "to": "2026-12-20T00:00:00-08:00", "reason": "x"}
    calendar = of(zone="America/Los_Angeles", freezes=[freeze])
    assert [kind for kind, _ in kinds(calendar, date(2026, 12, 17), 4)] == ["open", "freeze", "freeze", "closed"]
    whole = {"from": "2026-12-18T00:00:00-08:00", "to": "2026-12-19T00:00:00-08:00", "reason": "x"}
    calendar = of(zone="America/Los_Angeles", freezes=[whole])
    assert [kind for kind, _ in kinds(calendar, date(2026, 12, 17), 3)] == ["open", "freeze", "closed"]


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Australia/Lord_Howe"])
@given(start=st.dates(date(2026, 1, 1), date(2027, 12, 1)), days=st.integers(1, 40))
def test_spans_join_and_agree_with_the_minute(zone: str, start: date, days: int) -> None:
    calendar = of(zone=zone)
    spans = day_spans(calendar, HOLIDAYS.get, start, start + days * DAY)
    assert spans[0].first == start and spans[-1].last == start + (days - 1) * DAY
    for before, after in pairwise(spans):
        assert after.first == before.last + DAY and (before.kind, before.why) != (after.kind, after.why)
    for span in spans:
        noon = datetime.combine(span.first, time(12), zone_of(calendar)).astimezone(UTC)
        assert is_open(calendar, frozenset(HOLIDAYS), noon) is (span.kind is DayKind.OPEN)
