"""The timetable of a plan: its rows and its sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from rollout.domain.calendar.timetable import Happens, TimetableRow, remaining, timetable
from rollout.domain.calendar.wording import sentence
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from tests.support import retreating
from tests.unit.calendar.los_angeles import LA, TUESDAY, la

OFFICE: dict[str, Any] = {
    "zone": LA,
    "windows": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"},
}
NO_DAYS: frozenset[date] = frozenset()


def plan(*steps: dict[str, Any], **more: Any) -> Plan:
    return Plan.model_validate(
        {
            "version": 1,
            "name": "frontdesk-v7",
            "numbers": ["+14157774444"],
            "channels": ["inbound"],
            "canary": {"agent_id": "agent_frontdesk", "agent_version": 7},
            "steps": list(steps),
            **more,
        }
    )


def rows_of(p: Plan, now: datetime, **more: Any) -> list[TimetableRow]:
    return timetable(p, p.own_calendar, NO_DAYS, now, **more)


def standing(p: Plan, position: tuple[int, int], confirmed: datetime | None, **more: Any) -> Rollout:
    now = la("2026-06-02 08:00")
    values: dict[str, Any] = {"phase": Phase.PROGRESSING, "started_at": now, **more}
    return Rollout(
        id="r",
        name=p.name,
        plan=p,
        reason=None,
        position=Position(*position),
        epoch=1,
        created_at=now,
        updated_at=now,
        confirmed_at=confirmed,
        **values,
    )


STEPS: list[dict[str, Any]] = [
    {"weight": 0.1, "hold": "2h"},
    {"weight": 0.5, "hold": "8h"},
    {"weight": 1.0, "hold": "1d"},
]


# ------------------------------------------------------------------ rows


def test_each_step_waits_for_its_hold_and_then_for_the_opening() -> None:
    rows = rows_of(plan(*STEPS, **OFFICE), TUESDAY)
    assert [(row.at, row.happens, row.position) for row in rows] == [
        (la("2026-06-02 09:00"), Happens.STEP, (1, 1)),
        (la("2026-06-02 11:00"), Happens.STEP, (1, 2)),
        (la("2026-06-03 09:00"), Happens.STEP, (1, 3)),  # 19:00 is closed
        (la("2026-06-04 09:00"), Happens.PROMOTED, (1, 3)),
    ]
    assert [row.weights["canary"] for row in rows] == [1000, 5000, 10000, 10000]
    assert {row.zone for row in rows} == {LA}


def test_the_sentence() -> None:
    rows = rows_of(plan(*STEPS, **OFFICE), TUESDAY)
    assert sentence(rows, TUESDAY) == (
        "10 % Tue 09:00, 50 % Tue 11:00 at the earliest, then 100 % Wed 09:00, promoted Thu 09:00 (America/Los_Angeles)"
    )


def test_without_a_calendar_the_holds_alone_count_in_utc() -> None:
    rows = rows_of(plan(*STEPS), TUESDAY)
    assert [row.at for row in rows] == [TUESDAY + timedelta(hours=n) for n in (0, 2, 10, 34)]
    assert sentence(rows, TUESDAY) == (
        "10 % Tue 14:00, 50 % Tue 16:00 at the earliest, then 100 % Wed 00:00, promoted Thu 00:00 (UTC)"
    )


def test_a_hold_in_open_hours_stands_still_while_it_is_closed() -> None:
    p = plan({"weight": 0.1, "hold": {"open": "12h"}}, {"weight": 1.0, "hold": {"open": "4h"}}, **OFFICE)
    rows = rows_of(p, la("2026-06-05 10:00"))  # a Friday
    assert [row.at for row in rows] == [la("2026-06-05 10:00"), la("2026-06-08 14:00"), la("2026-06-09 10:00")]


def test_a_hold_that_ends_with_the_day_goes_on_in_the_morning() -> None:
    p = plan({"weight": 0.1, "hold": {"open": "8h"}}, {"weight": 1.0}, **OFFICE)
    assert [row.at for row in rows_of(p, la("2026-06-02 09:00"))][1:] == [la("2026-06-03 09:00")] * 2


def test_waves_go_through_all_steps_one_after_the_other() -> None:
    rows = rows_of(plan(*STEPS), TUESDAY, waves=2)
    assert [str(row.position) for row in rows] == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.3"]
    assert rows[3].at == TUESDAY + timedelta(hours=34)
    assert rows[-1].happens is Happens.PROMOTED


def test_a_hundred_waves_of_a_hundred_steps_are_walked() -> None:
    p = plan(*({"weight": 0.5, "hold": "1s"} for _ in range(100)))
    rows = rows_of(p, TUESDAY, waves=100)
    assert len(rows) == 10_001
    assert rows[-1].at == TUESDAY + timedelta(seconds=10_000)


def test_a_start_in_the_future_and_what_else_is_waited_for() -> None:
    p = plan(
        {"weight": 0.1, "hold": "1h", "min_calls": 50},
        {"weight": 1.0, "hold": "1h", "approve": True},
        start="2026-06-14T12:00:00Z",
        after="sales-desk-v4",
        **OFFICE,
    )
    rows = rows_of(p, TUESDAY)
    assert [row.needs for row in rows] == [
        ('"sales-desk-v4" promoted',),
        ("50 canary calls",),
        ("a person to promote it",),
    ]
    assert sentence(rows, TUESDAY) == (
        "10 % Mon 15 Jun 09:00 at the earliest, then 100 % Mon 15 Jun 10:00, promoted Mon 15 Jun 11:00 "
        "(America/Los_Angeles)"
    )


def test_a_deadline_that_comes_first_ends_the_list() -> None:
    rows = rows_of(plan(*STEPS, deadline="1d", **OFFICE), TUESDAY)
    assert [(row.happens, row.at) for row in rows[2:]] == [(Happens.DEADLINE, la("2026-06-03 09:00"))]
    assert sentence(rows, TUESDAY).endswith("then the deadline Wed 09:00 (America/Los_Angeles)")


@pytest.mark.parametrize("hold", ["1h", {"open": "1h"}])
def test_a_calendar_that_does_not_open_in_time_ends_the_list(hold: object) -> None:
    freeze = {"from": date(2026, 6, 3), "to": date.max, "reason": "for ever"}
    p = plan({"weight": 0.1, "hold": hold}, {"weight": 1.0}, freezes=freeze, **OFFICE)
    rows = rows_of(p, la("2026-06-02 16:30"))
    assert [row.at for row in rows] == [la("2026-06-02 16:30"), None]
    assert sentence(rows, TUESDAY) == "10 % Tue 16:30, 100 % not within two years (America/Los_Angeles)"
    assert [row.at for row in rows_of(p, la("2026-06-03 09:00"))] == [None]


def test_a_start_at_the_end_of_time_is_never() -> None:
    p = plan({"weight": 1.0}, start="9999-12-31T23:59:59-08:00", **OFFICE)
    assert [row.at for row in rows_of(p, TUESDAY)] == [None]


# ------------------------------------------------------------------ of a rollout under way


def test_what_remains_is_the_end_of_the_whole() -> None:
    p = plan(*STEPS, **OFFICE)
    whole = rows_of(p, TUESDAY)
    confirmed = la("2026-06-02 11:00")
    now = confirmed + timedelta(hours=3)
    assert remaining(standing(p, (1, 2), confirmed), p.own_calendar, NO_DAYS, now) == whole[2:]
    assert remaining(standing(p, (1, 2), None), p.own_calendar, NO_DAYS, confirmed) == whole[1:]
    pending = standing(p, (1, 1), None, phase=Phase.PENDING, started_at=None)
    assert remaining(pending, p.own_calendar, NO_DAYS, TUESDAY) == whole


def test_a_return_is_still_to_come_only_while_it_has_not_begun() -> None:
    p = plan(*STEPS, **OFFICE, closing={"retreat": 0.05})
    confirmed, night = la("2026-06-02 11:00"), la("2026-06-02 22:00")
    down = standing(p, (1, 2), confirmed, retreated=500)
    on_its_way_up = standing(p, (1, 2), confirmed, turning_since=la("2026-06-03 09:00"))
    of = {r: [row.happens for row in remaining(r, p.own_calendar, NO_DAYS, night)] for r in (down, on_its_way_up)}
    assert of[down] == [Happens.RETURN, *of[on_its_way_up]]
    assert of[on_its_way_up][0] is not Happens.RETURN


def test_what_is_overdue_is_due_now_or_at_the_opening() -> None:
    r = standing(plan(*STEPS, **OFFICE), (1, 1), la("2026-06-02 09:00"))
    noon, night = la("2026-06-02 12:00"), la("2026-06-02 22:00")
    assert remaining(r, r.plan.own_calendar, NO_DAYS, noon)[0].at == noon
    assert remaining(r, r.plan.own_calendar, NO_DAYS, night)[0].at == la("2026-06-03 09:00")
    asked = standing(r.plan, (1, 1), la("2026-06-02 09:00"), promote_asked=True)
    assert remaining(asked, r.plan.own_calendar, NO_DAYS, night)[0].at == night
    late = standing(r.plan, (1, 1), la("2026-06-02 09:00"), deadline_at=la("2026-06-02 20:00"))
    assert [row.happens for row in remaining(late, r.plan.own_calendar, NO_DAYS, night)] == [Happens.DEADLINE]


RETREATS = {**OFFICE, "closing": {"retreat": 0.05}}


def happenings(rows: list[TimetableRow]) -> list[tuple[datetime | None, str, int]]:
    return [(row.at, row.happens.value, row.weights["canary"]) for row in rows]


def test_a_hold_is_stood_over_the_nights_at_the_retreat_weight() -> None:
    p = plan({"weight": 0.1, "hold": "10h"}, {"weight": 0.5, "hold": "8h"}, {"weight": 1.0}, **RETREATS)
    assert happenings(rows_of(p, la("2026-06-02 09:00"))) == [
        (la("2026-06-02 09:00"), "step", 1000),
        (la("2026-06-02 17:00"), "retreat", 500),
        (la("2026-06-03 09:00"), "return", 1000),
        (la("2026-06-03 11:00"), "step", 5000),
        (la("2026-06-03 17:00"), "retreat", 500),
        (la("2026-06-04 09:00"), "return", 5000),
        (la("2026-06-04 11:00"), "step", 10_000),
        (la("2026-06-04 11:00"), "promoted", 10_000),
    ]


def test_a_hold_that_ends_as_it_closes_is_left_in_the_morning() -> None:
    p = plan({"weight": 0.1, "hold": "8h"}, {"weight": 1.0}, **RETREATS)
    assert happenings(rows_of(p, la("2026-06-02 09:00")))[1:4] == [
        (la("2026-06-02 17:00"), "retreat", 500),
        (la("2026-06-03 09:00"), "return", 1000),
        (la("2026-06-03 09:00"), "step", 10_000),
    ]


def test_only_a_weight_above_the_retreat_is_taken_down_and_from_the_second_wave_on_that_of_the_first() -> None:
    p = plan({"weight": 0.05, "hold": "10h"}, {"weight": 1.0}, **RETREATS)
    rows = rows_of(p, la("2026-06-02 09:00"), waves=2)
    assert [(row.happens, str(row.position)) for row in rows] == [
        (Happens.STEP, "1.1"),
        (Happens.STEP, "1.2"),
        (Happens.STEP, "2.1"),
        (Happens.RETREAT, "2.1"),
        (Happens.RETURN, "2.1"),
        (Happens.STEP, "2.2"),
        (Happens.PROMOTED, "2.2"),
    ]
    small = plan({"weight": 0.02, "hold": "10h"}, {"weight": 0.05}, **RETREATS)
    assert Happens.RETREAT not in [row.happens for row in rows_of(small, la("2026-06-02 09:00"), waves=2)]


@pytest.mark.parametrize(("deadline", "nights"), [("8h", 0), ("8h1s", 1), ("24h", 1), ("24h1s", 2)])
def test_nights_end_with_the_deadline(deadline: str, nights: int) -> None:
    p = plan({"weight": 0.1, "hold": "3d"}, {"weight": 1.0}, deadline=deadline, **RETREATS)
    found = [row.happens.value for row in rows_of(p, la("2026-06-02 09:00"))]
    assert found == ["step", *["retreat", "return"][:nights], "deadline"]


def test_a_calendar_that_closes_for_good_retreats_and_does_not_return() -> None:
    freeze = {"from": date(2026, 6, 3), "to": date.max, "reason": "for ever"}
    p = plan({"weight": 0.1, "hold": "10h"}, {"weight": 1.0}, freezes=freeze, **RETREATS)
    closed = remaining(standing(p, (1, 1), None), p.own_calendar, NO_DAYS, la("2026-06-03 12:00"))
    assert happenings(closed) == [(None, "step", 1000)]
    assert happenings(rows_of(p, la("2026-06-02 09:00"))) == [
        (la("2026-06-02 09:00"), "step", 1000),
        (la("2026-06-02 17:00"), "retreat", 500),
        (None, "step", 10_000),
    ]


@pytest.mark.parametrize(
    ("hold", "leaves"), [("13h", "2026-06-03 11:00"), ({"open": "2h"}, "2026-06-03 11:00")], ids=["time", "open hours"]
)
def test_a_step_that_a_person_promoted_at_night_stays_up_until_the_opening(hold: object, leaves: str) -> None:
    night = la("2026-06-02 22:00")
    p = plan({"weight": 0.1}, {"weight": 0.5, "hold": hold}, {"weight": 1.0}, **RETREATS)
    raised = standing(p, (1, 2), night, raised_at=night)
    assert happenings(remaining(raised, p.own_calendar, NO_DAYS, night))[0] == (la(leaves), "step", 10_000)


def test_what_has_been_stood_of_a_hold_is_not_stood_again() -> None:
    ten = la("2026-06-02 10:00")
    for hold, left in (("5h", 3), ({"open": "5h"}, 3)):
        p = plan({"weight": 0.1, "hold": hold}, {"weight": 1.0}, **RETREATS)
        r = standing(p, (1, 1), ten - timedelta(days=1), back_at=ten, stood=3600.0)
        rows = remaining(r, p.own_calendar, NO_DAYS, ten + timedelta(hours=1))
        assert happenings(rows)[0] == (ten + timedelta(hours=1 + left), "step", 10_000)


def test_a_step_that_is_being_written_at_night_goes_on_unless_the_plan_retreats() -> None:
    night, morning = la("2026-06-02 22:00"), la("2026-06-03 09:00")
    for written, at in ((OFFICE, night), (RETREATS, morning)):
        r = standing(plan(*STEPS, **written), (1, 2), None)
        assert happenings(remaining(r, r.plan.own_calendar, NO_DAYS, night))[0] == (at, "step", 5000)


def test_weights_that_a_person_set_are_those_that_return_and_at_the_end_a_person_says_how() -> None:
    p = plan({"weight": 0.1}, {"weight": 1.0, "hold": "2h"}, **RETREATS)
    split = {"number": 1, "wave": 1, "step": 2, "weights": {"canary": 3000}}
    down = standing(p, (1, 2), la("2026-06-02 16:00"), retreated=500, by_hand=[split], hand_split=1)
    rows = remaining(down, p.own_calendar, NO_DAYS, la("2026-06-02 22:00"))
    assert happenings(rows)[0] == (la("2026-06-03 09:00"), "return", 3000)
    assert rows[-1].needs == ("a person to say how it ends",)
    elsewhere = replace(down, by_hand=[{**split, "step": 1}])
    rows = remaining(elsewhere, p.own_calendar, NO_DAYS, la("2026-06-02 22:00"))
    assert happenings(rows)[0] == (la("2026-06-03 09:00"), "return", 10_000)
    assert rows[-1].needs == ()


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED, Phase.ROLLING_BACK])
def test_nothing_remains_of_what_ends(phase: Phase) -> None:
    r = standing(plan(*STEPS), (1, 1), TUESDAY, phase=phase)
    assert remaining(r, None, NO_DAYS, TUESDAY) == []
    assert sentence([], TUESDAY) == ""


AB: dict[str, Any] = {
    "canary": None,
    "variants": {"b": {"agent_id": "a", "agent_version": 8}, "c": {"agent_id": "a", "agent_version": 9}},
    "decide": {"after": "7d", "min_calls": 400},
}


def test_a_plan_that_decides_its_test_says_when_and_not_what_follows() -> None:
    half = {"weights": {"b": 0.25, "c": 0.25}, "hold": "1d"}
    p = Plan.model_validate({k: v for k, v in plan(half, **AB).canonical().items() if k != "canary"})
    rows = rows_of(p, TUESDAY)
    assert [(row.happens, row.at, row.needs) for row in rows[1:]] == [
        (Happens.DECISION, TUESDAY + timedelta(days=7), ("400 calls of every variant",))
    ]
    assert sentence(rows, TUESDAY).endswith("the A/B test is decided Tue 9 Jun 14:00 at the earliest (UTC)")
    again = standing(p, (1, 1), TUESDAY, back_at=TUESDAY + timedelta(days=7))
    assert remaining(again, None, NO_DAYS, TUESDAY)[0].at == TUESDAY + timedelta(days=14)
    split = {"number": 1, "wave": 1, "step": 1, "weights": {"b": 10_000}, "ships": "b"}
    shipped = standing(p, (1, 1), TUESDAY, by_hand=[split], hand_split=1)
    assert [row.happens for row in remaining(shipped, None, NO_DAYS, TUESDAY)] == [Happens.PROMOTED]


def test_a_test_is_decided_in_open_hours_and_after_its_hold() -> None:
    half = {"weights": {"b": 0.25, "c": 0.25}, "hold": "1d"}
    ab = {k: v for k, v in plan(half, **AB, **OFFICE).canonical().items() if k != "canary"}
    p = Plan.model_validate({**ab, "decide": {"after": "30h"}})
    decision = rows_of(p, la("2026-06-02 12:00"))[-1]
    assert (decision.happens, decision.at, decision.needs) == (Happens.DECISION, la("2026-06-04 09:00"), ())


def test_what_remains_while_it_is_down() -> None:
    r = retreating.down(position=Position(1, 2), stood=1800.0, started_at=retreating.TUESDAY)
    rows = remaining(r, retreating.OFFICE, (), retreating.when("2026-06-02 20:00"))
    assert [(row.happens, row.at) for row in rows[:2]] == [
        (Happens.RETURN, retreating.when("2026-06-03 09:00")),
        (Happens.STEP, retreating.when("2026-06-03 10:30")),
    ]
    assert sentence(rows, retreating.when("2026-06-02 20:00")).startswith(
        "again 50 % Wed 09:00, 100 % Wed 10:30 at the"
    )


def test_what_remains_of_a_step_that_was_not_confirmed_in_time() -> None:
    r = retreating.down(confirmed_at=None, stood=None, started_at=retreating.TUESDAY, targets=(retreating.at(1),))
    (first, *_) = remaining(r, retreating.OFFICE, (), retreating.when("2026-06-02 20:00"))
    assert (first.happens, first.at, first.position) == (
        Happens.STEP,
        retreating.when("2026-06-03 09:00"),
        Position(1, 2),
    )


def test_what_a_person_promoted_at_night_counts_from_then_on() -> None:
    night = retreating.when("2026-06-02 20:00")
    r = retreating.standing(
        3, confirmed_at=night, raised_at=night, started_at=retreating.TUESDAY, targets=(retreating.at(3),)
    )
    r = replace(r, plan=retreating.one_wave(), targets=(retreating.at(3),))
    rows = remaining(
        r, retreating.OFFICE, (), night + retreating.HOUR
    )  # 24 h: 13 until nine, 8 until 17:00, 3 the next day
    assert [(row.happens, row.at) for row in rows] == [
        (Happens.RETREAT, retreating.when("2026-06-03 17:00")),
        (Happens.RETURN, retreating.when("2026-06-04 09:00")),
        (Happens.PROMOTED, retreating.when("2026-06-04 12:00")),
    ]
