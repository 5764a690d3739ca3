"""Calendars from a file and from the plan: what the driver is told, and what people are told when one is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rollout.adapters.planfile.calendar_file import CalendarFile, read_calendars
from rollout.domain.calendar.windows import SEARCH
from rollout.domain.calendar.wording import sentence
from rollout.domain.decide.facts import Opening
from rollout.domain.errors import InputError
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.calendars import Calendars, ClosedDays
from rollout.engine.ports import OpeningHours

EXAMPLE = Path(__file__).parents[3] / "config" / "calendars.example.toml"
LA = "America/Los_Angeles"
OFFICE: dict[str, Any] = {
    "zone": LA,
    "windows": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"},
}


def la(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(LA)).astimezone(UTC)


def rollout(confirmed: datetime | None = None, **more: Any) -> Rollout:
    document = {
        "version": 1,
        "name": "frontdesk-v7",
        "numbers": ["+14157774444"],
        "channels": ["inbound"],
        "canary": {"agent_id": "agent_frontdesk", "agent_version": 7},
        "steps": [{"weight": 0.5, "hold": "1h"}],
        **more,
    }
    now = la("2026-01-01 00:00")
    return Rollout(
        id="r",
        name="frontdesk-v7",
        plan=Plan.model_validate(document),
        phase=Phase.PROGRESSING,
        reason=None,
        position=Position(1, 1),
        epoch=1,
        created_at=now,
        updated_at=now,
        confirmed_at=confirmed,
    )


def write(path: Path, text: str, age: int = 0) -> Path:
    path.write_text(text)
    os.utime(path, (1_000_000_000 - age, 1_000_000_000 - age))
    return path


NINE_TO_FIVE = """
[office]
zone = "America/Los_Angeles"
windows = {days = ["mon", "tue", "wed", "thu", "fri"], from = "09:00", to = "17:00"}
"""


# ------------------------------------------------------------------ opening


def test_a_plan_without_hours_is_always_open() -> None:
    calendar: OpeningHours = Calendars()
    assert calendar.opening(rollout(), la("2026-06-07 03:00")) == Opening(True, None)
    assert calendar.hold_until(rollout(la("2026-06-07 03:00"))) is None


def test_open_until_closing_time() -> None:
    r = rollout(**OFFICE)
    assert Calendars().opening(r, la("2026-06-05 10:00")) == Opening(True, la("2026-06-05 17:00"))


def test_outside_the_hours() -> None:
    assert Calendars().opening(rollout(**OFFICE), la("2026-06-05 17:00")) == Opening(
        False,
        la("2026-06-08 09:00"),
        "outside the plan's hours (Mon-Fri 09:00-17:00 America/Los_Angeles); opens Mon 09:00",
    )


@pytest.mark.parametrize(
    ("freeze", "why"),
    [
        (
            {"from": "2026-11-26", "to": "2026-11-30", "reason": "Black Friday"},
            "freeze: Black Friday until the end of Mon 30 Nov; opens Tue 09:00 America/Los_Angeles",
        ),
        (
            {"from": "2026-11-26T12:00:00Z", "to": "2026-11-30T12:00:00-08:00", "reason": "moving house"},
            "freeze: moving house until Mon 12:00; opens Mon 12:00 America/Los_Angeles",
        ),
        (
            {"from": date(2026, 11, 1), "to": date.max, "reason": "for ever"},
            "freeze: for ever; no opening within two years",
        ),
        (
            {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-12:00", "reason": "all time"},
            "freeze: all time; no opening within two years",
        ),
    ],
)
def test_a_freeze_is_named(freeze: dict[str, Any], why: str) -> None:
    opening = Calendars().opening(rollout(freezes=freeze, **OFFICE), la("2026-11-27 10:00"))
    assert not opening.is_open
    assert opening.why == why


def test_a_holiday_is_named() -> None:
    opening = Calendars().opening(rollout(holidays="US-CA", **OFFICE), la("2026-11-26 10:00"))
    assert opening.until == la("2026-11-30 09:00")  # California rests on the Friday too
    assert opening.why == "holiday: Thanksgiving Day (US-CA); opens Mon 09:00 America/Los_Angeles"


def test_the_weight_to_retreat_to_is_told_while_closed_and_only_then() -> None:
    r = rollout(closing={"retreat": 0.05}, **OFFICE)
    calendars = Calendars()
    assert calendars.opening(r, la("2026-06-05 10:00")).retreat_to is None
    assert calendars.opening(r, la("2026-06-05 18:00")).retreat_to == 500
    assert calendars.opening(rollout(**OFFICE), la("2026-06-05 18:00")).retreat_to is None


def test_what_is_remembered_changes_no_answer() -> None:
    r, warm = rollout(holidays="US", **OFFICE), Calendars()
    start = la("2026-06-30 00:00")
    moments = [start + n * timedelta(minutes=47) for n in (*range(300), *range(300, 0, -7))]
    assert [warm.opening(r, t) for t in moments] == [Calendars().opening(r, t) for t in moments]


# ------------------------------------------------------------------ holds in open hours


def test_a_hold_in_open_hours() -> None:
    steps = [{"weight": 0.5, "hold": {"open": "12h"}}]
    r = rollout(la("2026-06-05 10:00"), steps=steps, **OFFICE)
    assert Calendars().hold_until(r) == la("2026-06-08 14:00")
    assert Calendars().hold_until(rollout(None, steps=steps, **OFFICE)) is None
    assert Calendars().hold_until(rollout(la("2026-06-05 10:00"), **OFFICE)) is None


def test_a_hold_that_cannot_end_is_not_over_after_its_elapsed_time() -> None:
    confirmed = la("2026-06-05 16:00")
    r = rollout(
        confirmed,
        steps=[{"weight": 0.5, "hold": {"open": "2h"}}],
        freezes={"from": date(2026, 6, 6), "to": date.max, "reason": "for ever"},
        **OFFICE,
    )
    assert Calendars().hold_until(r) == confirmed + SEARCH


# ------------------------------------------------------------------ named calendars


def test_the_example_file_is_read() -> None:
    assert sorted(read_calendars(EXAMPLE)) == ["freezes-only", "nights", "office"]
    opening = Calendars(CalendarFile(EXAMPLE)).opening(rollout(calendar="office"), la("2026-06-05 12:00"))
    assert opening.why == (
        "outside the hours of calendar office (Mon-Thu 09:00-17:00, Fri 09:00-12:00 America/Los_Angeles); "
        "opens Mon 09:00"
    )


def test_the_timetable_of_a_plan_with_a_named_calendar() -> None:
    r = rollout(calendar="office")
    now = la("2026-11-24 16:30")
    rows = Calendars(CalendarFile(EXAMPLE)).timetable(r.plan, now)
    assert sentence(rows, now) == "50 % Tue 16:30, promoted Tue 1 Dec 09:00 at the earliest (America/Los_Angeles)"
    assert Calendars(CalendarFile(EXAMPLE)).remaining(rollout(calendar="office"), now)[0].at == now


def test_a_calendar_that_does_not_exist() -> None:
    plan = rollout(calendar="offices").plan
    with pytest.raises(InputError) as caught:
        Calendars(CalendarFile(EXAMPLE)).of(plan)
    assert caught.value.message == (
        'calendar: there is no calendar "offices"; write office; known are: freezes-only, nights, office'
    )
    with pytest.raises(InputError, match=r"known in .*toml are: freezes-only, nights, office"):
        Calendars(CalendarFile(EXAMPLE)).of(rollout(calendar="bank").plan)
    with pytest.raises(InputError, match="no calendar file is set; set ROLLOUT_CALENDARS"):
        Calendars().of(plan)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "calendars.toml", NINE_TO_FIVE, age=60)
    calendars, r = Calendars(CalendarFile(path)), rollout(calendar="office")
    assert calendars.opening(r, la("2026-06-05 18:00")).until == la("2026-06-08 09:00")
    write(path, NINE_TO_FIVE.replace("17:00", "19:00"))
    assert calendars.opening(r, la("2026-06-05 18:00")) == Opening(True, la("2026-06-05 19:00"))


@pytest.mark.parametrize("text", [None, "[other]\nzone = 'UTC'\n", "[office", "[office]\nwindow = []\n"])
def test_a_calendar_lost_on_the_way_closes_and_raises_nothing(tmp_path: Path, text: str | None) -> None:
    path = write(tmp_path / "calendars.toml", NINE_TO_FIVE, age=60)
    calendars = Calendars(CalendarFile(path))
    r = rollout(
        la("2026-06-05 16:00"),
        calendar="office",
        steps=[{"weight": 0.5, "hold": {"open": "2h"}}],
        closing={"retreat": 0.1},
    )
    noon = la("2026-06-05 12:00")
    assert calendars.opening(r, noon).is_open
    path.unlink() if text is None else write(path, text)
    opening = calendars.opening(r, noon)
    assert not opening.is_open
    assert opening.until == noon + timedelta(minutes=1)
    assert "calendar" in opening.why
    assert opening.retreat_to is None
    if text is None or "other" not in text:  # by the hours last read, and never by elapsed time
        assert calendars.hold_until(r) == la("2026-06-08 10:00")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[office]\nzone = 'Mars/Base'\n", 'office: zone: there is no time zone "Mars/Base"'),
        ("[office]\nwindow = []\n", "office: window: there is no such key; write windows"),
        ("[office]\nwindows = {from = '09:00', to = '17:00'}\n", "windows are given without a time zone"),
        (
            "[office]\nzone = 'UTC'\nwindows = {from = 09:00:00, to = '17:00'}\n",
            'windows[0].from: "09:00:00" is not a time of day; write hours and minutes',
        ),
        ("office = 'UTC'\n", 'office: "UTC" is not a calendar; write a table'),
        ("[office\n", "this is not TOML"),
        (
            "[office]\nzone='UTC'\nholidays='US-CALI'\n",
            "office: holidays: no holidays are known for US-CALI; write US-CA",
        ),
        ("[office]\nzone='UTC'\nholidays='XX'\n", "for XX; write an ISO 3166 code, for example US or US-CA"),
        (
            "[office]\nzone='UTC'\nfreezes={from=2026-12-01T09:00:00, to=2026-12-02T09:00:00, reason='x'}\n",
            "has no UTC offset",
        ),
    ],
)
def test_what_is_wrong_in_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path / "calendars.toml", text)
    with pytest.raises(InputError) as caught:
        Calendars(CalendarFile(path)).of(rollout(calendar="office").plan)
    assert complaint in caught.value.message
    assert str(path) in caught.value.message


def test_an_unknown_region_in_the_plan_is_refused_by_checks_and_closed_for_the_driver() -> None:
    r = rollout(holidays="US-CALI", **OFFICE)
    with pytest.raises(InputError, match="US-CALI"):
        Calendars().of(r.plan)
    assert not Calendars().opening(r, la("2026-06-05 12:00")).is_open


# ------------------------------------------------------------------ holidays


def test_holidays_of_any_year_and_of_each_region() -> None:
    closed = ClosedDays(("US-CA", "GB-SCT"))
    assert date(2026, 12, 25) in closed
    assert closed.name(date(2026, 11, 30)) == "Saint Andrew's Day (GB-SCT)"
    assert closed.name(date(2021, 12, 31)) == "New Year's Day (observed) (US-CA)"  # the year before its own
    assert date(2049, 7, 5) in closed  # the 4th is a Sunday
    assert date(2026, 3, 3) not in closed
    assert "2026-12-25" not in closed


# ------------------------------------------------------------------ closing time


def test_what_is_said_of_a_retreat_is_until_when_why_and_the_hours() -> None:
    opening = Calendars().opening(rollout(closing={"retreat": 0.05}, **OFFICE), la("2026-06-05 18:00"))
    hours = "Mon-Fri 09:00-17:00 America/Los_Angeles"
    assert opening.retreat_why == f"until Mon 09:00 (outside the plan's hours); {hours}"
    frozen = rollout(
        closing={"retreat": 0.05}, freezes={"from": "2026-06-05", "to": "2026-06-05", "reason": "sale"}, **OFFICE
    )
    opening = Calendars().opening(frozen, la("2026-06-05 10:00"))
    assert opening.retreat_why.endswith("; America/Los_Angeles")
    assert Calendars().opening(rollout(**OFFICE), la("2026-06-05 18:00")).retreat_why == ""


def test_a_rollout_that_was_raised_while_it_is_closed_stays_up_until_the_next_closing() -> None:
    closed = la("2026-06-05 18:00")
    r = replace(rollout(closing={"retreat": 0.05}, **OFFICE), raised_at=closed)
    opening = Calendars().opening(r, closed + timedelta(hours=1))
    assert (opening.is_open, opening.retreat_to) == (False, None)
    assert Calendars().opening(r, la("2026-06-08 18:00")).retreat_to == 500


@pytest.mark.parametrize(
    ("freeze", "why"),
    [
        (
            {"from": "2026-12-24", "to": "2027-01-03", "reason": "holidays"},
            "freeze: holidays until the end of Sun 3 Jan 2027; opens Mon 4 Jan 2027 00:00 UTC",
        ),
        (
            {"from": "2026-12-24T00:00:00Z", "to": "2026-12-26T12:30:00Z", "reason": "move"},
            "freeze: move until Sat 12:30; opens Sat 12:30 UTC",
        ),
    ],
)
def test_a_freeze_of_a_plan_without_a_zone_is_told_in_utc(freeze: dict[str, Any], why: str) -> None:
    zone: dict[str, Any] = {} if "T" in freeze["from"] else {"zone": "UTC"}
    opening = Calendars().opening(rollout(freezes=freeze, **zone), datetime(2026, 12, 24, 9, tzinfo=UTC))
    assert opening.why == why


# ------------------------------------------------------------------ open time that was stood

OPEN_HOLD = [{"weight": 0.5, "hold": {"open": "12h"}}]


def test_open_time_is_counted_where_the_plan_retreats() -> None:
    confirmed = la("2026-06-05 15:00")
    retreating: dict[str, Any] = {"steps": OPEN_HOLD, "closing": {"retreat": 0.05}, **OFFICE}
    r = rollout(confirmed, **retreating)
    stood = [Calendars().stood(r, la(text)) for text in ("2026-06-05 16:30", "2026-06-06 12:00", "2026-06-08 10:00")]
    assert stood == [timedelta(hours=1.5), timedelta(hours=2), timedelta(hours=3)]
    none = [
        rollout(confirmed, steps=OPEN_HOLD, **OFFICE),
        rollout(None, **retreating),
        replace(r, retreated=500),
        rollout(confirmed, closing={"retreat": 0.05}, **OFFICE),
        rollout(confirmed, **{**retreating, "holidays": "US-CALI"}),
    ]
    assert [Calendars().stood(each, la("2026-06-05 16:30")) for each in none] == [None] * 5


def test_a_hold_ends_with_what_was_left_of_it(tmp_path: Path) -> None:
    r = replace(rollout(la("2026-06-05 10:00"), steps=OPEN_HOLD, **OFFICE), stood=10 * 3_600)
    assert Calendars().hold_until(r) == la("2026-06-05 12:00")
    lost = rollout(la("2026-06-05 10:00"), steps=OPEN_HOLD, calendar="office")
    assert Calendars().hold_until(lost) is None
    unread = Calendars(CalendarFile(tmp_path / "none.toml"))
    assert unread.hold_until(lost) is None


# ------------------------------------------------------------------ what is known


def test_the_calendars_that_plans_can_name_are_those_of_the_file() -> None:
    assert Calendars().shared() == {}
    assert sorted(Calendars(CalendarFile(EXAMPLE)).shared()) == ["freezes-only", "nights", "office"]


def test_many_calendars_are_answered_right_however_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.engine.calendars._MOST_SPANS", 2)
    calendars = Calendars()
    plans = [rollout(zone="UTC", windows={"from": f"{hour:02}:00", "to": "20:00"}) for hour in range(5)]
    at = datetime(2026, 6, 5, 2, 30, tzinfo=UTC)
    for _ in range(2):
        assert [calendars.opening(r, at).is_open for r in plans] == [True, True, True, False, False]
        assert len(calendars._spans) <= 2


def test_the_rest_of_a_rollout_is_planned_by_its_calendar() -> None:
    rows = Calendars().remaining(rollout(la("2026-06-05 16:30"), **OFFICE), la("2026-06-05 16:40"))
    assert rows[-1].at == la("2026-06-08 09:00"), "the hold ends after closing time"
