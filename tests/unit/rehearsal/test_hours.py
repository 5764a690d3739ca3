"""A rehearsal goes by the plan's calendar: its days are those of the timetable, and its first one is an opening."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.calendar.timetable import Happens
from rollout.domain.errors import InputError
from rollout.domain.rehearsal.hours import Hours, hours
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import rehearse
from tests.support.values import plan

THURSDAY = datetime(2026, 11, 26, 22, 10, tzinfo=UTC)
MORNINGS = {
    "windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "11:00"}],
    "zone": "Europe/Berlin",
}
STEPS = [{"weight": 0.1, "hold": "30m"}, {"weight": 0.5, "hold": {"open": "4h"}}, {"weight": 1.0, "hold": "1d"}]


def played(now: datetime = THURSDAY, calls: float = 800, **changes: Any) -> dict[str, Any]:
    # Many calls: what is looked at once in so many calls is then looked at often.
    return rehearse(plan(**changes), calls, calendars=Calendars(), now=now, runs=3)


def test_hours_are_counted_from_the_first_opening() -> None:
    begins, found = hours(plan(steps=STEPS, **MORNINGS).own_calendar, (), THURSDAY, 5)
    assert begins == datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
    assert found.turns == pytest.approx([2 / 24, 3, 3 + 2 / 24, 4, 4 + 2 / 24])
    assert [found.is_open(day) for day in (0, 0.08, 0.09, 2.9, 3, 4.5)] == [True, True, False, False, True, False]
    assert [found.stood(day) * 24 for day in (0, 1 / 24, 2, 3.5, 4.01)] == pytest.approx([0, 1, 2, 4, 4.24])
    assert (found.turn(0), found.turn(3.5), found.turn(99)) == (found.turns[0], 4.0, float("inf"))
    assert Hours().is_open(1e6)
    assert Hours().stood(2.5) == 2.5


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": STEPS, **MORNINGS},
        {**MORNINGS},
        {"steps": STEPS, **MORNINGS, "closing": {"retreat": 0.05}},
        {"steps": STEPS, **MORNINGS, "freezes": [{"from": "2026-11-27", "to": "2026-11-30", "reason": "sale"}]},
        {"steps": STEPS[:1] + STEPS[2:], "windows": [{"from": "22:00", "to": "06:00"}], "zone": "UTC"},
    ],
    ids=["open hold", "holds", "retreat", "freeze", "nights"],
)
def test_the_days_are_those_of_the_timetable(changes: dict[str, Any]) -> None:
    document = played(**changes)
    rows = Calendars().timetable(plan(**changes), THURSDAY)
    steps = [row for row in rows if row.happens in {Happens.STEP, Happens.PROMOTED}]
    assert datetime.fromisoformat(document["begins"]) == steps[0].at
    assert steps[0].at is not None
    assert steps[-1].at is not None
    days = (steps[-1].at - steps[0].at) / timedelta(days=1)
    # It looks once in 3 % more calls, and at every opening and closing: that late it may be, and never early.
    assert days <= document["scenarios"][0]["days_to_promote"] <= days * 1.04 + 0.01
    assert any("days count from " in note for note in document["notes"])
    assert ("The retreat is not modelled" in " ".join(document["notes"])) == ("closing" in changes)


def test_what_was_proven_while_closed_waits_for_the_opening_even_without_a_call() -> None:
    # One call in two days: no look but those at the openings falls into the hours.
    found = played(calls=0.5, steps=[{"weight": 0.1, "hold": "1d"}, {"weight": 1.0, "hold": "1d"}], **MORNINGS)
    assert found["scenarios"][0]["days_to_promote"] == pytest.approx(4)


def test_a_plan_without_hours_is_played_as_before() -> None:
    document = played()
    assert document["begins"] == THURSDAY.isoformat()
    assert document["notes"] == (
        "This plan has no gates: every step follows when its hold is over, whatever happens to the calls.",
    )
    later = datetime(2026, 12, 1, tzinfo=UTC)
    assert played(start=later.isoformat())["begins"] == later.isoformat()


def test_gates_that_pass_while_it_is_closed_wait() -> None:
    always = played(calls=400, gates={"profile": "standard"})
    mornings = played(calls=400, gates={"profile": "standard"}, **MORNINGS)
    assert mornings["scenarios"][0]["days_to_promote"] > always["scenarios"][0]["days_to_promote"] + 0.5


def test_a_calendar_that_cannot_be_used_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no calendar"):
        played(calendar="office")
    never = [{"from": "2026-01-01", "to": "9999-12-31", "reason": "sold"}]
    with pytest.raises(InputError, match="write hours in which steps may advance"):
        played(freezes=never, zone="UTC")
