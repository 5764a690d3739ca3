"""Closing time of a plan that retreats, as values: who is taken down, when, and what of a hold is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.exposition.rollout_metrics import _asked, _confirmed
from rollout.domain.calendar.timetable import Happens, remaining, timetable
from rollout.domain.calendar.windows import stays_up
from rollout.domain.calendar.wording import sentence
from rollout.domain.decide.actions import Action, Apply, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.gates.counting import WeightSpan
from rollout.domain.gates.observations import Observations
from rollout.domain.lifecycle.changes import Change, write_from_json, write_to_json
from rollout.domain.lifecycle.machine import Event, Phase
from rollout.domain.lifecycle.records import CallRecord
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.drift import NumberScan, absorb
from rollout.domain.writes.protocol import Finding, examine, is_ours, lists_at
from rollout.interfaces.dashboard import confirmations
from rollout.interfaces.dashboard.buttons import buttons
from rollout.interfaces.dashboard.page_state import Line
from rollout.interfaces.dashboard.weight_history import WeightPeriod, weight_history
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, Shown, confirmed, only, plan, rollout, said, target, write

HOUR = timedelta(hours=1)
HOURS: dict[str, Any] = {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}
LOW = plan([ONE, TWO], closing={"retreat": 0.2}, waves=[1], **HOURS)  # below its first step's 0.1 nothing happens
NIGHT = Opening(False, START + 16 * HOUR, "closed", 2000, "until Tue 09:00 (outside the plan's hours)")
SHUT = Opening(False, START + 16 * HOUR, "closed")  # closed, and a person or a broken calendar keeps the weight
DAY = Opening(True, START + HOUR)
SEEN = NumberScan(START, {ONE: Finding.AS_EXPECTED}, Change())


def low(number: str = ONE, step: int = 2, **changes: Any) -> Target:
    """A number at the retreat weight."""
    split = lists_at(LOW, only(6), step, 2000)
    return confirmed(number, step, LOW, split=split, retreated=2000, **changes)


def at(step: int, number: str = ONE, **changes: Any) -> Target:
    return confirmed(number, step, LOW, **changes) if step else target(number, **changes)


def standing(step: int = 2, **changes: Any) -> Rollout:
    """A rollout of LOW at 1.step, confirmed three hours ago."""
    values: dict[str, Any] = {
        "plan": LOW,
        "position": Position(1, step),
        "confirmed_at": START - 3 * HOUR,
        "targets": (at(step),),
        "started_at": START - 9 * HOUR,
        **changes,
    }
    return rollout(**values)


def down(**changes: Any) -> Rollout:
    """It retreated after two of its hours."""
    return standing(**{"retreated": 2000, "stood": 7200.0, "targets": (low(),), **changes})


def record_of(action: Action) -> Record:
    assert isinstance(action, Record), action
    return action


# ------------------------------------------------------------------ who is taken down


@pytest.mark.parametrize(
    ("retreated", "here", "position", "wanted"),
    [
        (None, at(2), (1, 2), (2, None)),
        (None, low(), (1, 2), (2, None)),  # opening: back to the step
        (2000, at(2), (1, 2), (2, 2000)),
        (2000, low(), (1, 2), (2, 2000)),
        (2000, low(step=2), (1, 3), (2, 2000)),  # it is as low as it can be: nothing is written twice
        (2000, at(1), (1, 1), (1, None)),  # 0.1 is less than the retreat
        (2000, at(1), (1, 2), (1, None)),  # the step was wanted and not written in time: it waits below
        (2000, at(0), (1, 2), (0, None)),
        (2000, at(2), (1, 3), (3, 2000)),
        (2000, at(0, wave=2), (1, 3), (0, None)),  # its wave has not come
        (2000, at(3), (2, 1), (3, 2000)),  # an earlier wave stands at the last step
        (2000, at(1, wave=2), (2, 1), (1, None)),
        (2000, at(-1), (1, 2), (2, 2000)),  # to be written again: at the retreat weight
        (2000, at(-1), (1, 1), (1, None)),
    ],
)
def test_where_a_number_is_wanted(
    retreated: int | None, here: Target, position: tuple[int, int], wanted: tuple[int, int | None]
) -> None:
    r = standing(position=Position(*position), retreated=retreated, targets=(here,))
    assert r.wanted(here) == wanted
    assert bool(r.outstanding) is (wanted != (here.step, here.retreated))


def test_only_a_wave_that_was_begun_or_stands_above_has_something_to_take_down() -> None:
    assert not standing(1).retreats
    assert standing(2).retreats
    second = standing(1, position=Position(2, 1), targets=(at(3), at(1, TWO, wave=2)))
    assert second.retreats, "the first wave stands at the last step"
    assert not standing(1, position=Position(1, 1), targets=(at(1), at(0, TWO, wave=2))).retreats


def test_a_plan_that_keeps_wants_what_it_wanted() -> None:
    r = rollout(position=Position(1, 2), targets=(confirmed(step=2),))
    assert (r.steps_above, r.retreats, r.is_down, r.outstanding) == (frozenset(), False, False, ())
    assert r.standing(2) == {"step": 2}


@pytest.mark.parametrize(
    ("retreated", "turning", "is_down"),
    [(None, None, False), (2000, START, False), (2000, None, True), (None, START, True)],
)
def test_what_was_read_back_last(retreated: int | None, turning: datetime | None, is_down: bool) -> None:
    here = low() if is_down else at(2)
    r = standing(retreated=retreated, turning_since=turning, targets=(here,))
    assert r.is_down is is_down
    assert r.weights == {"canary": 2000 if is_down else 5000}
    assert _confirmed(r) == {"canary": 0.2 if is_down else 0.5}
    assert _asked(r) == {"canary": 0.5 if retreated is None else 0.2}


def test_callers_get_the_retreat_weight_once_every_number_was_read_back_at_it_and_until_all_are_back() -> None:
    other = at(2, TWO, ord=1)
    way_down = standing(retreated=2000, turning_since=START, targets=(low(), other))
    assert way_down.weights == {"canary": 5000}
    way_up = standing(turning_since=START, targets=(low(), other))
    assert way_up.weights == {"canary": 2000}
    assert replace(way_up, targets=(at(2), other)).weights == {"canary": 5000}
    assert standing(1, retreated=2000, targets=(at(1),)).weights == {"canary": 1000}, "its step is below it"


def test_the_weights_of_a_number_to_be_written_again_are_nothing_and_no_error() -> None:
    assert standing(targets=(at(-1),)).weights == {}


# ------------------------------------------------------------------ what is decided


def test_closing_time_is_recorded_with_what_was_stood() -> None:
    action = record_of(decide(standing(), Facts(opening=NIGHT), START))
    assert action.event is Event.RETREATED
    assert action.values == {"retreated": 2000, "turning_since": START, "stood": 3 * 3600.0}
    assert action.why == "retreat to 20 % until Tue 09:00 (outside the plan's hours)"


def test_what_was_stood_before_is_added_and_open_time_is_taken_from_the_calendar() -> None:
    r = standing(stood=60.0, back_at=START - HOUR)
    assert record_of(decide(r, Facts(opening=NIGHT), START)).values["stood"] == 3660.0
    facts = Facts(opening=NIGHT, stood=timedelta(minutes=10))
    assert record_of(decide(r, facts, START)).values["stood"] == 660.0


def test_on_its_way_up_nothing_more_was_stood() -> None:
    r = standing(stood=60.0, turning_since=START - HOUR, targets=(low(),))
    assert "stood" not in record_of(decide(r, Facts(opening=NIGHT), START)).values


@pytest.mark.parametrize(
    ("r", "opening"),
    [
        (standing(1), NIGHT),  # its step is below the retreat
        (standing(), SHUT),
        (standing(), DAY),
        (standing(promote_asked=True), NIGHT),  # a person has ended its bake
        (down(), SHUT),
    ],
)
def test_what_does_not_turn(r: Rollout, opening: Opening) -> None:
    action = decide(r, Facts(opening=opening), START)
    assert not (isinstance(action, Record) and action.event in (Event.RETREATED, Event.RETURNED)), action


def test_the_write_the_read_back_and_the_wait() -> None:
    r = standing(retreated=2000, turning_since=START)
    facts = Facts(opening=NIGHT)
    assert decide(r, facts, START) == Apply(r.outstanding, "retreat to 20 %")
    reached = record_of(decide(replace(r, targets=(low(),)), facts, START))
    assert (reached.event, reached.values) == (Event.REACHED, {"turning_since": None})
    why = "retreated to 20 % until Tue 09:00 (outside the plan's hours)"
    assert decide(down(), facts, START) == Wait(NIGHT.until, "back to 50 % canary", why, WaitingFor.OPENING)


def test_the_opening_the_write_back_and_the_rest_of_the_hold() -> None:
    r, facts = down(), Facts(opening=DAY)
    returned = record_of(decide(r, facts, START))
    assert (returned.event, returned.values) == (Event.RETURNED, {"retreated": None, "turning_since": START})
    r = Change(rollout=returned.values).applied_to(r, START)
    assert decide(r, facts, START) == Apply(r.targets, "step 1.2: 50 % canary, again")
    r = replace(r, targets=(at(2),))
    reached = record_of(decide(r, facts, START))
    assert reached.values == {"turning_since": None, "back_at": START}
    r = Change(rollout=reached.values).applied_to(r, START)
    assert r.hold_left == timedelta(0)
    assert record_of(decide(r, replace(facts, look=SEEN), START)).event is Event.ADVANCED
    r = replace(r, stood=3600.0)
    wait = decide(r, Facts(opening=Opening(True, START + 8 * HOUR)), START)
    assert isinstance(wait, Wait)
    assert wait.until == START + HOUR


def test_the_next_step_begins_with_nothing_stood() -> None:
    r = standing(stood=7200.0, back_at=START - 9 * HOUR)
    action = record_of(decide(r, Facts(look=SEEN, opening=DAY), START))
    assert action.event is Event.ADVANCED
    assert (action.values["stood"], action.values["back_at"]) == (None, None)


def test_no_wait_goes_past_closing_time() -> None:
    for facts in (Facts(opening=DAY), Facts(opening=DAY, verdict=said("undecided"))):
        wait = decide(replace(standing(3), confirmed_at=START), facts, START)
        assert isinstance(wait, Wait)
        assert wait.until is not None
        assert wait.until <= START + HOUR


def test_nothing_is_promoted_while_it_is_down() -> None:
    r = down(position=Position(2, 3), targets=(low(step=3), low(TWO, 3, wave=2)), stood=1e6)
    assert isinstance(decide(r, Facts(opening=NIGHT), START), Wait)
    assert record_of(decide(r, Facts(opening=DAY), START)).event is Event.RETURNED


def test_closed_before_the_step_was_confirmed_it_is_written_at_the_opening() -> None:
    r = standing(confirmed_at=None, targets=(at(1),))
    closed = record_of(decide(r, Facts(opening=NIGHT), START))
    assert (closed.event, "stood" in closed.values) == (Event.RETREATED, False)
    r = replace(Change(rollout=closed.values).applied_to(r, START), turning_since=None)
    wait = decide(r, Facts(opening=NIGHT), START)
    assert isinstance(wait, Wait)
    assert wait.next == "step 1.2: 50 % canary"
    r = replace(r, retreated=None, turning_since=START, targets=(at(2),))
    assert record_of(decide(r, Facts(opening=DAY), START)).values == {"confirmed_at": START, "turning_since": None}


@pytest.mark.parametrize("r", [standing(), down()])
def test_a_failing_gate_and_the_deadline_go_before_closing_and_opening(r: Rollout) -> None:
    for opening in (NIGHT, DAY):
        facts = Facts(opening=opening, verdict=said("fail"))
        assert record_of(decide(r, facts, START)).event is Event.FAILED
        late = replace(r, deadline_at=START)
        assert record_of(decide(late, Facts(opening=opening), START)).event is Event.HELD


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_people_hold_it_where_it_is(phase: Phase) -> None:
    for r in (standing(phase=phase, resume_phase=phase), down(phase=phase, resume_phase=phase)):
        for opening in (NIGHT, DAY):
            assert isinstance(decide(r, Facts(opening=opening), START), Wait)


def test_paused_on_the_way_what_was_read_back_is_still_recorded() -> None:
    r = down(phase=Phase.PAUSED, turning_since=START)
    assert record_of(decide(r, Facts(), START)).event is Event.REACHED
    wait = decide(replace(r, turning_since=None), Facts(), START)
    assert isinstance(wait, Wait)
    assert wait.why == "paused by a person; it stays at the retreat weight, 20 %"


# ------------------------------------------------------------------ what is read


def test_a_retreat_that_turns_out_to_be_applied() -> None:
    lists = lists_at(LOW, only(6), 2, 2000)
    late = write(step=2, lists=lists, of=LOW, retreated=2000)
    r = standing(retreated=2000, turning_since=START, writes=(late,))
    look = absorb(r, {ONE: Shown(lists, 1_001)}, START, START)
    assert look.findings == {ONE: Finding.APPLIED}
    after = look.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated, after.state) == (2, 2000, TargetState.CONFIRMED)
    back = write(step=2, of=LOW, id="w2")
    r = replace(r, retreated=None, targets=(after,), writes=(back,))
    look = absorb(r, {ONE: Shown(back.lists, 1_002)}, START, START)
    after = look.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated) == (2, None)


def test_the_retreat_split_is_one_of_ours() -> None:
    lists = lists_at(LOW, only(6), 2, 2000)
    assert is_ours(at(2), lists, LOW)
    assert not is_ours(confirmed(step=2), lists, plan())
    assert examine(at(2), Shown(lists, 1_001), (), START, LOW).finding is Finding.LATE_OWN
    assert examine(low(), Shown(lists), (), START, LOW).finding is Finding.AS_EXPECTED


def test_a_rollback_leaves_nothing_of_it() -> None:
    r = down(phase=Phase.ROLLING_BACK, rollback_at=START)
    look = absorb(r, {ONE: Shown(only(6), 1_001)}, START, START)
    after = look.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated, after.state) == (0, None, TargetState.RESTORED)


def test_a_write_says_so_in_the_journal_and_others_say_nothing_new() -> None:
    low_write, usual = write(step=2, retreated=2000), write(step=2)
    assert write_from_json(write_to_json(low_write)) == low_write
    assert "retreated" not in write_to_json(usual)
    assert write_from_json(write_to_json(usual)) == usual


# ------------------------------------------------------------------ what is counted


def test_calls_belong_to_what_was_read_back_and_those_of_a_change_to_nothing() -> None:
    kinds = ["confirmed", "retreated", "reached", "returned", "reached"]
    turns = [
        (kind, START + hours * HOUR, json.dumps({"position": "2.1", "retreated": 2000 if hours == 2 else None}))
        for hours, kind in enumerate(kinds)
    ]
    seen = Observations((), turns, {}, None)
    hours = [START + i * HOUR for i in range(5)]
    assert seen.spans(LOW, "canary", 1) == [
        WeightSpan(hours[0], hours[1], 1.0, 4),
        WeightSpan(hours[2], hours[3], 0.2, -4),
        WeightSpan(hours[4], None, 1.0, 4),
    ]
    assert [span.weight for span in seen.spans(LOW, "canary", 2)] == [0.1, 0.1, 0.1], "it was left alone"
    calls = [CallRecord(str(i), AGENT, 7, ONE, "inbound", START + i * HOUR / 2, None, "ended") for i in range(10)]
    seen = replace(seen, calls=calls)
    r = standing(confirmed_at=START, position=Position(2, 1))
    assert seen.calls_in_step(r) == 2 + 2, "before the order, and after the weights were read back again"


# ------------------------------------------------------------------ what is said


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


TUESDAY = when("2026-06-02 10:00")
OFFICE = Calendar.model_validate(HOURS)


def test_the_sentence_tells_nights_once() -> None:
    p = plan(
        closing={"retreat": 0.05},
        **HOURS,
        steps=[{"weight": 0.05, "hold": "1h"}, {"weight": 0.5, "hold": "1h"}, {"weight": 1.0, "hold": "1d"}],
    )
    assert sentence(timetable(p, OFFICE, (), TUESDAY), TUESDAY) == (
        "5 % Tue 10:00, 50 % Tue 11:00 at the earliest, then 100 % Tue 12:00, "
        "5 % from Tue 17:00 to Wed 09:00 and 2 times more, promoted Fri 12:00 (UTC)"
    )


def test_what_remains_while_it_is_down() -> None:
    r = down(position=Position(1, 2), stood=1800.0, started_at=TUESDAY)
    rows = remaining(r, OFFICE, (), when("2026-06-02 20:00"))
    assert [(row.happens, row.at) for row in rows[:2]] == [
        (Happens.RETURN, when("2026-06-03 09:00")),
        (Happens.STEP, when("2026-06-03 10:30")),
    ]
    assert sentence(rows, when("2026-06-02 20:00")).startswith("again 50 % Wed 09:00, 100 % Wed 10:30 at the")


def test_what_remains_of_a_step_that_was_not_confirmed_in_time() -> None:
    r = down(confirmed_at=None, stood=None, started_at=TUESDAY, targets=(at(1),))
    (first, *_) = remaining(r, OFFICE, (), when("2026-06-02 20:00"))
    assert (first.happens, first.at, first.position) == (Happens.STEP, when("2026-06-03 09:00"), Position(1, 2))


def test_what_a_person_promoted_at_night_counts_from_then_on() -> None:
    night = when("2026-06-02 20:00")
    r = standing(3, confirmed_at=night, raised_at=night, started_at=TUESDAY, targets=(at(3),))
    r = replace(r, plan=plan(closing={"retreat": 0.2}, **HOURS), targets=(at(3),))
    rows = remaining(r, OFFICE, (), night + HOUR)  # 24 h: 13 until nine, 8 until 17:00, 3 the next day
    assert [(row.happens, row.at) for row in rows] == [
        (Happens.RETREAT, when("2026-06-03 17:00")),
        (Happens.RETURN, when("2026-06-04 09:00")),
        (Happens.PROMOTED, when("2026-06-04 12:00")),
    ]


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
    assert stays_up(OFFICE, (), when(raised) if raised else None, when(now)) is stays


def test_the_page_draws_it_and_promises_the_bodies_that_are_sent() -> None:
    def line(kind: str, hours: int, retreated: int | None = None) -> Line:
        return Line(hours, START + hours * HOUR, "service", kind, "", "1.2", False, retreated=retreated)

    lines = [
        line("intended", 0),
        line("confirmed", 1),
        line("retreated", 2, 2000),
        line("intended", 3, 2000),
        line("reached", 4, 2000),
        line("returned", 5),
        line("intended", 6),
        line("reached", 7),
    ]
    asked, read, stood, _ = weight_history(LOW, lines, START + 8 * HOUR)
    assert [m.weight for m in asked] == [0.5, 0.2, 0.5]
    assert [m.weight for m in read] == [0, 0.5, 0.2, 0.5]
    assert stood == [
        WeightPeriod("1.2", None, START + HOUR, START + 2 * HOUR),
        WeightPeriod("1.2", 2000, START + 4 * HOUR, START + 5 * HOUR),
        WeightPeriod("1.2", None, START + 7 * HOUR, START + 8 * HOUR),
    ]
    promoted = confirmations.intent(down(), "promote").orders[0].body
    assert '"weight": 1' in promoted
    unconfirmed = down(confirmed_at=None, targets=(at(1),))
    assert buttons(unconfirmed)[0].label.startswith("Write step 1.2 now")
    assert '"weight": 0.5' in confirmations.intent(unconfirmed, "promote").orders[0].body
    last = down(position=Position(1, 3), plan=one_wave(), targets=(low(step=3),))
    assert confirmations.intent(last, "promote").orders, "ending the bake at night writes its weights first"


def one_wave() -> Plan:
    return plan(closing={"retreat": 0.2}, **HOURS)
