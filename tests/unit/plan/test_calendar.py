# ruff: noqa: E501 - the tables hold whole sentences
"""Hours, holidays and freezes of a plan: what may be written, and what it is told to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.adapters.planfile import build_plan
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.steps import Hold
from tests.unit.plan.plan_documents import OFFICE, complaints, document


def test_a_calendar_in_the_plan() -> None:
    plan = build_plan(
        document(
            **OFFICE,
            holidays="US-CA",
            freezes={"from": "2026-12-24", "to": "2026-12-26", "reason": "holidays"},
            closing={"retreat": 0.05},
            steps=[{"weight": 0.1, "hold": {"open": "8h"}}],
        )
    )
    assert plan.hold(1) == Hold(28_800.0, open=True)
    calendar = plan.own_calendar
    assert calendar is not None
    assert calendar.zone == "America/Los_Angeles"
    assert calendar.holidays == ("US-CA",)
    (window,) = calendar.windows
    assert (window.opens_minute, window.closes_minute, len(window.days)) == (540, 1020, 7)
    assert calendar.freezes[0].by_days
    assert plan.canonical()["closing"] == {"retreat": 0.05}


@pytest.mark.parametrize(
    ("written", "has_one"),
    [
        ({}, False),
        ({"zone": "UTC"}, False),
        ({"zone": "UTC", "windows": {"from": "09:00", "to": "17:00"}}, True),
        ({"zone": "UTC", "holidays": "US"}, True),
        ({"zone": "UTC", "freezes": {"from": "2026-12-24", "to": "2026-12-24", "reason": "x"}}, True),
    ],
    ids=["nothing", "zone", "windows", "holidays", "freezes"],
)
def test_hours_holidays_and_freezes_are_a_calendar_and_a_zone_alone_is_none(
    written: dict[str, Any], has_one: bool
) -> None:
    assert (build_plan(document(**written)).own_calendar is not None) is has_one


def test_a_window_opens_and_closes_at_minutes_of_the_day() -> None:
    calendar = build_plan(
        document(zone="UTC", windows=[{"from": "09:05", "to": "17:30"}, {"from": "00:00", "to": "24:00"}])
    )
    assert [(w.opens_minute, w.closes_minute) for w in calendar.windows] == [(545, 1050), (0, 1440)]


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ({}, False),
        ({"windows": {"from": "09:00", "to": "17:00"}}, True),
        ({"windows": {"from": "09:00", "to": "17:00"}, "zone": "UTC"}, False),
        ({"freezes": {"from": "2026-12-24T10:00:00Z", "to": "2026-12-24T11:00:00Z", "reason": "x"}}, False),
    ],
    ids=["nothing", "no zone", "zone", "times"],
)
def test_a_shared_calendar_needs_a_zone_for_its_days_and_hours(written: dict[str, Any], refused: bool) -> None:
    if refused:
        with pytest.raises(ValidationError, match="windows are given without a time zone"):
            Calendar.model_validate(written)
    else:
        Calendar.model_validate(written)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"windows": [{"from": "09:00", "to": "17:00"}]},
            "windows: windows are given without a time zone; write the time zone, too, for example zone: America/Los_Angeles",
        ),
        (
            {"zone": "Los Angeles"},
            'zone: there is no time zone "Los Angeles"; write an IANA time zone, for example America/Los_Angeles',
        ),
        (
            {"zone": "../../etc/passwd"},
            'zone: there is no time zone "../../etc/passwd"; write an IANA time zone, for example America/Los_Angeles',
        ),
        (
            OFFICE | {"windows": [{"from": "9:00", "to": "17:00"}]},
            'windows[0].from: "9:00" has one digit of hours; write "09:00"',
        ),
        (
            OFFICE | {"windows": [{"from": "09:00", "to": "09:00"}]},
            "windows[0].to: the window is empty: it opens and closes at 09:00; write a later time",
        ),
        (
            OFFICE | {"windows": [{"days": ["monday"], "from": "09:00", "to": "10:00"}]},
            'windows[0].days[0]: "monday" is not known here; write mon',
        ),
        (OFFICE | {"holidays": "us"}, 'holidays[0]: "us" is not a country or region; write US'),
        (
            OFFICE | {"freezes": {"from": "2026-12-24", "to": "2026-12-23", "reason": "x"}},
            "freezes[0].to: the freeze ends before it begins; write an end after its beginning",
        ),
        (
            OFFICE | {"freezes": {"from": "2026-12-24", "to": "2026-12-25T00:00:00Z", "reason": "x"}},
            "freezes[0].to: one end is a day and the other a time; write both as days or both as times",
        ),
        ({"closing": "retreat"}, 'closing: "retreat" is not known here; write keep, or {retreat: 0.1}'),
        *(
            (
                {"steps": [{"weight": 0.1}], **written},
                f"{key}: {key} are given without a time zone; write the time zone, too, for example zone: America/Los_Angeles",
            )
            for key, written in (
                ("holidays", {"holidays": "US"}),
                ("freezes", {"freezes": {"from": "2026-12-24", "to": "2026-12-24", "reason": "x"}}),
            )
        ),
        *(
            (
                {"zone": zone},
                f"zone: there is no time zone {json.dumps(zone)}; write an IANA time zone, for example {guess}",
            )
            for zone, guess in (
                ("new york", "America/New_York"),
                ("Germany/Berlin", "Europe/Berlin"),
                ("Europe/Berln", "Europe/Berlin"),
                ("x" * 10, "America/Los_Angeles"),
                (8, "America/Los_Angeles"),
            )
        ),
        *(
            (
                OFFICE | {"windows": [{"from": odd, "to": "17:00"}]},
                f'windows[0].from: {said} is not a time of day; write hours and minutes, for example "09:00" or "17:30"',
            )
            for odd, said in (("24:01", '"24:01"'), ("09:60", '"09:60"'), (540, "540"))
        ),
        (
            OFFICE | {"windows": [{"from": "24:00", "to": "17:00"}]},
            'windows[0].from: a window cannot open at 24:00; write "00:00" of the next day',
        ),
        (
            OFFICE | {"windows": [{"days": ["mon", "tue", "mon"], "from": "09:00", "to": "17:00"}]},
            "windows[0].days: a day is named twice; name each day once",
        ),
        *(
            (OFFICE | {"holidays": odd}, f"holidays[0]: {said} is not a country or region; write {advice}")
            for odd, said, advice in (
                ("us-ca", '"us-ca"', "US-CA"),
                ("Us", '"Us"', "for example US or US-CA"),
                ([5], "5", "for example US or US-CA"),
            )
        ),
        *(
            (
                {"freezes": {"from": "2026-12-24T10:00:00Z", "to": to, "reason": "x"}},
                "freezes[0].to: the freeze ends before it begins; write an end after its beginning",
            )
            for to in ("2026-12-24T10:00:00Z", "2026-12-24T09:59:59Z", "2026-12-24T10:30:00+01:00")
        ),
        ({"closing": 5}, "closing: 5 is not known here; write keep, or {retreat: 0.1}"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
