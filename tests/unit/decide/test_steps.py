"""Going through the steps: what is unfinished, what is waited for, and the next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.decide.actions import Apply, Read, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Event, Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.protocol import Finding
from tests.support import hand_splits, retreating
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, plan, rollout, target, write
from tests.unit.decide.situations import (
    BOTH_SEEN,
    CLOSED,
    FAIL,
    HOLD,
    OPEN,
    PASS,
    POLL,
    SECOND,
    SEEN,
    STRICT,
    UNDECIDED,
    UNMEASURABLE,
    WATCH,
    record_of,
    scan,
    standing,
    wait_of,
)


def test_an_unwritten_step_is_applied() -> None:
    action = decide(rollout(), Facts(), START)
    assert isinstance(action, Apply)
    assert action.why == "step 1.1: 10 % canary"


def test_a_written_step_is_confirmed_and_the_hold_counts_from_there() -> None:
    action = record_of(decide(rollout(targets=(confirmed(),)), Facts(), START))
    assert (action.event, action.values) == (Event.CONFIRMED, {"confirmed_at": START})


def test_a_step_is_confirmed_only_when_every_number_is() -> None:
    r = rollout(targets=(confirmed(), target(TWO, ord=1)))
    action = decide(r, Facts(), START)
    assert isinstance(action, Apply)
    assert [t.number for t in action.targets] == [TWO]


def test_the_hold_is_waited_out() -> None:
    r = standing()
    action = wait_of(decide(r, Facts(), START + HOLD - SECOND))
    assert (action.until, action.next) == (START + HOLD, "step 1.2: 50 % canary")
    assert record_of(decide(r, SEEN, START + HOLD)).event is Event.ADVANCED


def test_every_number_is_looked_at_before_a_step_is_counted() -> None:
    r = standing(ago=HOLD, targets=(confirmed(), confirmed(TWO, ord=1)))
    first = decide(r, Facts(), START)
    assert isinstance(first, Read)
    assert first.numbers == (ONE, TWO)
    assert isinstance(decide(r, Facts(scan=scan(Finding.AS_EXPECTED)), START), Read), "one is not both"
    assert wait_of(decide(r, Facts(trouble="down"), START)).why == "down"
    blind = Facts(scan=scan(Finding.AS_EXPECTED, Blocked.UNREACHABLE), trouble="down")
    assert wait_of(decide(r, blind, START)).why == f"{TWO} cannot be read: down"
    edited = record_of(decide(r, Facts(scan=scan(Finding.AS_EXPECTED, Finding.DRIFT)), START))
    assert (edited.event, edited.values) == (Event.HELD, {"reason": "drift", "resume_phase": Phase.PROGRESSING})


def test_a_step_is_not_counted_beside_an_open_horizon() -> None:
    r = standing(ago=HOLD, writes=(applied(write(), START + SECOND),))
    wait = wait_of(decide(r, SEEN, START))
    assert (wait.until, "may still land" in wait.why) == (START + SECOND, True)


def test_one_step_a_pass() -> None:
    wait = wait_of(decide(standing(ago=HOLD), replace(SEEN, stepped=True), START))
    assert (wait.until, wait.why) == (START, "the hold of step 1.1 is over")


def test_the_calendar_may_lengthen_the_hold() -> None:
    until = START + timedelta(hours=20)
    assert wait_of(decide(standing(ago=HOLD), Facts(hold_until=until), START)).until == until


def test_the_next_step_follows_and_its_hold_is_not_begun() -> None:
    action = record_of(decide(standing(ago=HOLD), SEEN, START))
    assert action.values == {"wave": 1, "step": 2, "confirmed_at": None, "promote_asked": False}


def test_the_next_wave_begins_with_the_first_step() -> None:
    r = standing(3, timedelta(days=1), targets=(confirmed(step=3), target(TWO, ord=1, wave=2)))
    values = record_of(decide(r, BOTH_SEEN, START)).values
    assert (values["wave"], values["step"]) == (2, 1)
    second = rollout(position=Position(2, 1), targets=r.targets)
    action = decide(second, Facts(), START)
    assert isinstance(action, Apply)
    assert [t.number for t in action.targets] == [TWO]


ORDER: list[tuple[Facts, str]] = [
    (Facts(verdict=UNDECIDED, opening=CLOSED, canary_calls=3), "canary calls seen"),
    (Facts(verdict=UNDECIDED, opening=CLOSED, canary_calls=50), "not decided yet"),
    (Facts(verdict=UNMEASURABLE, opening=CLOSED, canary_calls=50), "no calls can be read"),
    (Facts(verdict=PASS, opening=CLOSED, canary_calls=50), "closed until nine"),
    (Facts(verdict=PASS, canary_calls=50), "somebody must promote it"),
]


@pytest.mark.parametrize(("facts", "why"), ORDER, ids=["calls", "undecided", "unmeasurable", "window", "approval"])
def test_a_person_is_asked_last(facts: Facts, why: str) -> None:
    assert why in wait_of(decide(standing(ago=HOLD, plan=STRICT), facts, START)).why
    early = decide(standing(ago=HOLD - SECOND, plan=STRICT), facts, START)
    assert "hold of 30m is running" in wait_of(early).why


def test_a_promotion_goes_over_everything_but_what_is_wrong() -> None:
    r = standing(plan=STRICT, promote_asked=True)
    assert record_of(decide(r, replace(SEEN, verdict=UNDECIDED, opening=CLOSED), START)).event is Event.ADVANCED
    assert record_of(decide(r, Facts(verdict=FAIL), START)).event is Event.FAILED


def test_gates_are_looked_at_again_while_the_hold_runs() -> None:
    assert wait_of(decide(standing(), Facts(verdict=PASS, watch=WATCH), START)).until == START + WATCH


def test_promoted_is_said_only_from_a_look_at_every_number() -> None:
    r = standing(3, timedelta(days=1))
    assert isinstance(decide(r, Facts(), START), Read)
    assert record_of(decide(r, Facts(scan=scan(Finding.AS_EXPECTED)), START)).event is Event.COMPLETED
    blind = wait_of(decide(r, Facts(scan=scan(Blocked.UNREACHABLE)), START))
    assert f"{ONE} cannot be read" in blind.why
    assert wait_of(decide(r, Facts(trouble="down"), START)).next == "promoted"


def test_promoted_is_said_only_from_a_look_begun_after_every_horizon() -> None:
    open_still = applied(write(step=3), START + timedelta(seconds=20))
    r = standing(3, timedelta(days=1), writes=(open_still,))
    early = Facts(scan=scan(Finding.AS_EXPECTED))
    assert not isinstance(decide(r, early, START), Record)
    late = Facts(scan=scan(Finding.AS_EXPECTED, began=open_still.horizon_until))
    assert record_of(decide(r, late, open_still.horizon_until)).event is Event.COMPLETED


def test_an_unknown_outcome_is_looked_into_before_anything_is_sent() -> None:
    r = rollout(position=Position(1, 2), targets=(confirmed(),), writes=(OPEN,))
    first = decide(r, Facts(), START)
    assert isinstance(first, Read)
    assert first.numbers == (ONE,)
    again = wait_of(decide(r, Facts(scan=scan(Finding.PENDING)), START))
    assert (again.until, again.why) == (START + POLL, "a write may still land; nothing is sent")


def test_an_open_horizon_keeps_its_own_number_back_and_no_other() -> None:
    closing = applied(write(step=2), START + timedelta(seconds=20))
    r = rollout(position=Position(1, 2), targets=(confirmed(), confirmed(TWO, ord=1)), writes=(closing,))
    action = decide(r, Facts(), START)
    assert isinstance(action, Apply)
    assert [t.number for t in action.targets] == [TWO]
    alone = rollout(position=Position(1, 2), targets=(confirmed(),), writes=(closing,))
    assert wait_of(decide(alone, Facts(), START)).until == closing.horizon_until
    later = applied(write(TWO, id="w2", step=2), START + timedelta(seconds=30))
    both = replace(r, writes=(closing, later))
    assert wait_of(decide(both, Facts(), START)).until == closing.horizon_until, "the first number is ready then"


@pytest.mark.parametrize(
    ("tries", "retry_after", "pause"), [(0, None, 5), (2, None, 20), (0, 60, 60), (0, 9_999, 300), (9, 7, 30)]
)
def test_trouble_with_retell_is_waited_out(tries: int, retry_after: float | None, pause: int) -> None:
    action = wait_of(decide(rollout(tries=tries), Facts(trouble="429", retry_after=retry_after), START))
    assert (action.until, action.why) == (START + timedelta(seconds=pause), "429")


def test_a_difference_that_the_scan_saw_is_read_first() -> None:
    assert isinstance(decide(standing(look_asked=True), Facts(), START), Read)
    seen = decide(standing(look_asked=True), Facts(scan=scan(Finding.AS_EXPECTED)), START)
    assert wait_of(seen).next.startswith("step 1.2")


def test_a_difference_that_could_not_be_read_is_looked_for_again_before_the_hold_ends() -> None:
    blind = Facts(scan=scan(Blocked.UNREACHABLE), trouble="503")
    wait = wait_of(decide(standing(look_asked=True), blind, START))
    assert (wait.until, wait.waiting_for) == (START + POLL, WaitingFor.RETELL)


def test_closing_time_is_recorded_with_what_was_stood() -> None:
    action = record_of(decide(retreating.standing(), Facts(opening=retreating.NIGHT), START))
    assert action.event is Event.RETREATED
    assert action.values == {"retreated": 2000, "turning_since": START, "stood": 3 * 3600.0}
    assert action.why == "retreat to 20 % until Tue 09:00 (outside the plan's hours)"


def test_what_was_stood_before_is_added_and_open_time_is_taken_from_the_calendar() -> None:
    r = retreating.standing(stood=60.0, back_at=START - retreating.HOUR)
    assert record_of(decide(r, Facts(opening=retreating.NIGHT), START)).values["stood"] == 3660.0
    facts = Facts(opening=retreating.NIGHT, stood=timedelta(minutes=10))
    assert record_of(decide(r, facts, START)).values["stood"] == 660.0


def test_on_its_way_up_nothing_more_was_stood() -> None:
    r = retreating.standing(stood=60.0, turning_since=START - retreating.HOUR, targets=(retreating.low(),))
    assert "stood" not in record_of(decide(r, Facts(opening=retreating.NIGHT), START)).values


@pytest.mark.parametrize(
    ("r", "opening"),
    [
        (retreating.standing(1), retreating.NIGHT),  # its step is below the retreat
        (retreating.standing(), retreating.SHUT),
        (retreating.standing(), retreating.DAY),
        (retreating.standing(promote_asked=True), retreating.NIGHT),  # a person has ended its bake
        (retreating.down(), retreating.SHUT),
    ],
)
def test_what_does_not_turn(r: Rollout, opening: Opening) -> None:
    action = decide(r, Facts(opening=opening), START)
    assert not (isinstance(action, Record) and action.event in (Event.RETREATED, Event.RETURNED)), action


def test_the_write_the_read_back_and_the_wait() -> None:
    r = retreating.standing(retreated=2000, turning_since=START)
    facts = Facts(opening=retreating.NIGHT)
    assert decide(r, facts, START) == Apply(r.outstanding, "retreat to 20 %")
    reached = record_of(decide(replace(r, targets=(retreating.low(),)), facts, START))
    assert (reached.event, reached.values) == (Event.REACHED, {"turning_since": None})
    why = "retreated to 20 % until Tue 09:00 (outside the plan's hours)"
    assert decide(retreating.down(), facts, START) == Wait(
        retreating.NIGHT.until, "back to 50 % canary", why, WaitingFor.OPENING
    )


def test_the_opening_the_write_back_and_the_rest_of_the_hold() -> None:
    r, facts = retreating.down(), Facts(opening=retreating.DAY)
    returned = record_of(decide(r, facts, START))
    assert (returned.event, returned.values) == (Event.RETURNED, {"retreated": None, "turning_since": START})
    r = Change(rollout=returned.values).applied_to(r, START)
    assert decide(r, facts, START) == Apply(r.targets, "step 1.2: 50 % canary, again")
    r = replace(r, targets=(retreating.at(2),))
    reached = record_of(decide(r, facts, START))
    assert reached.values == {"turning_since": None, "back_at": START}
    r = Change(rollout=reached.values).applied_to(r, START)
    assert r.hold_left == timedelta(0)
    assert record_of(decide(r, replace(facts, scan=retreating.SEEN), START)).event is Event.ADVANCED
    r = replace(r, stood=3600.0)
    wait = decide(r, Facts(opening=Opening(True, START + 8 * retreating.HOUR)), START)
    assert isinstance(wait, Wait)
    assert wait.until == START + retreating.HOUR


def test_the_next_step_begins_with_nothing_stood() -> None:
    r = retreating.standing(stood=7200.0, back_at=START - 9 * retreating.HOUR)
    action = record_of(decide(r, Facts(scan=retreating.SEEN, opening=retreating.DAY), START))
    assert action.event is Event.ADVANCED
    assert (action.values["stood"], action.values["back_at"]) == (None, None)


def test_nothing_is_promoted_while_it_is_down() -> None:
    r = retreating.down(
        position=Position(2, 3), targets=(retreating.low(step=3), retreating.low(TWO, 3, wave=2)), stood=1e6
    )
    assert isinstance(decide(r, Facts(opening=retreating.NIGHT), START), Wait)
    assert record_of(decide(r, Facts(opening=retreating.DAY), START)).event is Event.RETURNED


def test_closed_before_the_step_was_confirmed_it_is_written_at_the_opening() -> None:
    r = retreating.standing(confirmed_at=None, targets=(retreating.at(1),))
    closed = record_of(decide(r, Facts(opening=retreating.NIGHT), START))
    assert (closed.event, "stood" in closed.values) == (Event.RETREATED, False)
    r = replace(Change(rollout=closed.values).applied_to(r, START), turning_since=None)
    wait = decide(r, Facts(opening=retreating.NIGHT), START)
    assert isinstance(wait, Wait)
    assert wait.next == "step 1.2: 50 % canary"
    r = replace(r, retreated=None, turning_since=START, targets=(retreating.at(2),))
    assert record_of(decide(r, Facts(opening=retreating.DAY), START)).values == {
        "confirmed_at": START,
        "turning_since": None,
    }


def test_what_a_person_set_is_written() -> None:
    action = decide(hand_splits.by_hand(), Facts(), hand_splits.NOW)
    assert isinstance(action, Apply)
    assert [t.number for t in action.targets] == [ONE]
    assert action.why == "set by a person at 1.2: 30 % canary"


def test_its_read_back_is_recorded_and_the_hold_of_the_step_starts_anew() -> None:
    action = decide(hand_splits.there(confirmed_at=None), Facts(), hand_splits.NOW)
    assert isinstance(action, Record)
    assert (action.event, action.why) == (Event.CONFIRMED, "30 % canary on 1 number, read back")
    waits = decide(hand_splits.there(), Facts(), hand_splits.NOW + timedelta(minutes=1))
    assert isinstance(waits, Wait)
    assert (waits.until, waits.waiting_for) == (hand_splits.NOW + timedelta(hours=2), WaitingFor.HOLD)


def test_then_the_plan_goes_on_with_its_next_step() -> None:
    later = hand_splits.NOW + timedelta(hours=2)
    assert isinstance(decide(hand_splits.there(), Facts(), later), Read)
    action = decide(hand_splits.there(), hand_splits.seen(later), later)
    assert isinstance(action, Record)
    assert (action.event, action.values["step"], action.values["hand_split"]) == (Event.ADVANCED, 3, None)


def test_in_the_last_step_a_person_says_how_it_ends() -> None:
    in_hold = decide(hand_splits.there(3), Facts(), hand_splits.NOW + timedelta(minutes=1))
    assert isinstance(in_hold, Wait)
    assert (in_hold.next, in_hold.waiting_for) == ("promote, ship, stop or rollback", WaitingFor.HOLD)
    later = hand_splits.NOW + timedelta(days=2)
    waits = decide(hand_splits.there(3), hand_splits.seen(later), later)
    assert isinstance(waits, Wait)
    assert waits.waiting_for is WaitingFor.APPROVAL
    assert waits.why == "a person set 30 % canary in the last step: somebody must promote, ship, stop or roll it back"
    ends = decide(hand_splits.there(3, promote_asked=True), hand_splits.seen(later), later)
    assert isinstance(ends, Record)
    assert ends.event is Event.COMPLETED


def test_a_later_wave_goes_on_from_the_plan() -> None:
    later = hand_splits.NOW + timedelta(days=2)
    r = hand_splits.there(3, targets=(*hand_splits.there(3).targets, target(TWO, ord=1, wave=2)))
    action = decide(r, hand_splits.seen(later, ONE, TWO), later)
    assert isinstance(action, Record)
    assert (action.values["wave"], action.values["step"]) == (2, 1)
    moved = Change(rollout=action.values).applied_to(r, later)
    assert [t.number for t in moved.outstanding] == [ONE, TWO], "the first wave goes to the plan's last step"


def test_what_is_shipped_is_written_to_every_number_of_every_wave() -> None:
    action = decide(hand_splits.shipping(), Facts(), hand_splits.NOW)
    assert isinstance(action, Apply)
    assert ([t.number for t in action.targets], action.why) == ([ONE, TWO], "ship canary: 100 % canary")


def test_what_is_shipped_bakes_like_the_last_step_and_is_promoted_without_an_approval() -> None:
    waits = decide(hand_splits.shipped(), Facts(), hand_splits.NOW + timedelta(hours=23))
    assert isinstance(waits, Wait)
    assert (waits.waiting_for, waits.until) == (WaitingFor.HOLD, hand_splits.NOW + timedelta(days=1))
    asks = plan(steps=[{"weight": 0.1}, {"weight": 0.5}, {"weight": 1.0, "hold": "1d", "approve": True}])
    later = hand_splits.NOW + timedelta(days=1)
    ends = decide(hand_splits.shipped(plan=asks), hand_splits.seen(later, ONE, TWO), later)
    assert isinstance(ends, Record)
    assert (ends.event, ends.why) == (Event.COMPLETED, "canary is shipped: the bake is over")
