"""decide, rule by rule: what it does for each state of affairs, and which rule goes before which."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.decide.actions import Action, Apply, Begin, Read, Record, Restore, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Event, PausedBy, Phase, allows
from rollout.domain.lifecycle.state import Kind, Position, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, only, plan, rollout, said, target, write

SECOND = timedelta(seconds=1)
HOLD = timedelta(minutes=30)
POLL, WATCH = timedelta(seconds=5), timedelta(seconds=30)
FAIL = said("fail", "the canary is worse")
UNDECIDED = said("undecided", "not decided yet")
UNMEASURABLE = said("unmeasurable", "no calls can be read")
PASS = said("pass", "proven")
SPLIT = said("pass", "the calls do not follow the weights", "split")
CLOSED = Opening(False, START + timedelta(hours=9), "closed until nine")


def look(*findings: Finding | Blocked, began: datetime = START) -> NumberScan:
    """A look at ONE, TWO, ... with these findings."""
    return NumberScan(began, dict(zip((ONE, TWO), findings, strict=False)), Change())


SEEN = Facts(look=look(Finding.AS_EXPECTED))
BOTH_SEEN = Facts(look=look(Finding.AS_EXPECTED, Finding.AS_EXPECTED))


def standing(step: int = 1, ago: timedelta = timedelta(), **changes: Any) -> Rollout:
    """A rollout whose step was confirmed this long ago."""
    values: dict[str, Any] = {
        "position": Position(1, step),
        "confirmed_at": START - ago,
        "targets": (confirmed(step=step),),
        **changes,
    }
    return rollout(**values)


def restored(number: str = ONE, **changes: Any) -> Target:
    return target(number, **{"state": TargetState.RESTORED, "written": True, **changes})


def back(**changes: Any) -> Rollout:
    """A rollback that was ordered now, its number still at the first step."""
    values: dict[str, Any] = {
        "phase": Phase.ROLLING_BACK,
        "rollback_at": START,
        "targets": (confirmed(),),
        "confirmed_at": START,
        **changes,
    }
    return rollout(**values)


def wait_of(action: Action) -> Wait:
    assert isinstance(action, Wait), action
    return action


def record_of(action: Action) -> Record:
    assert isinstance(action, Record), action
    return action


# ------------------------------------------------------------------ undoing

UNSETTLED = write(step=0, kind=Kind.BASELINE, id="b1")
SETTLED_LATER = applied(UNSETTLED, START + timedelta(seconds=20))


@pytest.mark.parametrize(
    "facts",
    [
        Facts(),
        Facts(verdict=PASS),
        Facts(verdict=UNDECIDED, opening=CLOSED),
        Facts(baseline_gone="gone", canary_gone="gone"),
        Facts(look=look(Finding.DRIFT)),
    ],
    ids=["plain", "gates-pass", "closed", "versions-gone", "drift"],
)
def test_a_rollback_writes_the_baseline_whatever_else_is_the_case(facts: Facts) -> None:
    r = back(promote_asked=True, deadline_at=START - SECOND, reason="drift")
    action = decide(r, facts, START)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [ONE]


def test_a_rollback_waits_for_no_horizon_before_its_first_write() -> None:
    assert isinstance(decide(back(writes=(write(step=2),)), Facts(), START), Restore)


def taken(times: int, number: str = ONE, last: datetime = START) -> tuple[Write, ...]:
    """So many writes of the baseline that Retell took by a definite 200, the last of them now."""
    return tuple(
        write(
            number,
            0,
            id=f"t{number}{i}",
            kind=Kind.BASELINE,
            at=last - i * SECOND,
            answered=200,
            outcome=WriteOutcome.APPLIED,
            horizon_until=last,
        )
        for i in reversed(range(times))
    )


@pytest.mark.parametrize(("times", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (50, 60)])
def test_the_pauses_grow_while_another_hand_writes_over_the_baseline(times: int, seconds: int) -> None:
    r = back(rollback_at=START - timedelta(hours=1), writes=taken(times))
    wait = wait_of(decide(r, Facts(trouble="outcome not known"), START))
    assert wait.until == START + timedelta(seconds=seconds)
    assert (f"another program or person writes {ONE}" in wait.why) is (times >= 3)
    assert isinstance(decide(r, Facts(), START + timedelta(seconds=seconds)), Restore)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_a_number_is_told_as_fought_over_once_at_the_third_time(times: int) -> None:
    r = back(rollback_at=START - timedelta(hours=1), writes=taken(times))
    assert r.contested_numbers([ONE, TWO]) == [ONE] * (times == 3)


def test_a_number_that_is_fought_over_holds_up_no_other() -> None:
    r = back(targets=(confirmed(), confirmed(TWO, ord=1)), writes=taken(5))
    action = decide(replace(r, rollback_at=START - timedelta(hours=1)), Facts(), START + SECOND)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [TWO]


def test_trouble_is_waited_out_unless_retell_took_every_baseline() -> None:
    refused = write(TWO, 0, id="b2", kind=Kind.BASELINE, answered=422, outcome=WriteOutcome.NOT_APPLIED)
    numbers = (confirmed(), confirmed(TWO, ord=1))
    away = Facts(trouble="503")
    r = back(targets=numbers, writes=(*taken(1), refused), rollback_at=START - SECOND, tries=2)
    assert wait_of(decide(r, away, START)).until == START + 4 * POLL
    both = replace(r, writes=(*taken(1), *taken(1, TWO)))
    assert wait_of(decide(both, away, START)).until == START + SECOND
    untried = replace(r, writes=taken(1))
    assert wait_of(decide(untried, away, START)).until == START + 4 * POLL


def test_what_was_taken_before_this_rollback_was_ordered_does_not_count() -> None:
    earlier = taken(5, last=START - SECOND)
    assert isinstance(decide(back(writes=earlier), Facts(), START), Restore)


def test_numbers_that_were_never_tried_go_before_one_that_retell_refused() -> None:
    numbers = [f"+1415777{i:04d}" for i in range(40)]
    refused = write(numbers[0], 0, at=START - POLL, answered=422, outcome=WriteOutcome.NOT_APPLIED, horizon_until=START)
    r = back(
        rollback_at=START - timedelta(minutes=1),
        targets=tuple(confirmed(n, ord=i) for i, n in enumerate(numbers)),
        writes=(refused,),
    )
    action = decide(r, Facts(), START)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [*numbers[1:], numbers[0]]


def test_a_rollback_covers_what_was_ever_written_and_nothing_else() -> None:
    written = target(written=True)  # its write's outcome is not known
    action = decide(back(targets=(written, target(TWO, ord=1))), Facts(), START)
    assert isinstance(action, Restore)
    assert action.targets == (written,)


def test_a_rollback_writes_a_number_again_a_poll_later_at_the_earliest() -> None:
    r = back(writes=(UNSETTLED,))
    assert wait_of(decide(r, Facts(), START + SECOND)).until == START + POLL
    assert isinstance(decide(r, Facts(), START + POLL), Restore)
    later = write(TWO, 0, kind=Kind.BASELINE, id="b2", at=START + SECOND)
    two = back(targets=(confirmed(), confirmed(TWO, ord=1)), writes=(UNSETTLED, later))
    waits = wait_of(decide(two, Facts(), START + 2 * SECOND))
    assert (waits.until, waits.why) == (START + POLL, "2 numbers not at the baseline yet"), "it is back for the first"
    assert waits.waiting_for is WaitingFor.RETELL


@pytest.mark.parametrize(("tries", "pause"), [(0, 5), (1, 10), (2, 20), (3, 30), (40, 30)])
def test_a_rollback_is_retried_without_end_with_growing_pauses(tries: int, pause: int) -> None:
    action = wait_of(decide(back(tries=tries), Facts(trouble="Retell is down"), START))
    assert (action.until, action.why) == (START + timedelta(seconds=pause), "Retell is down")


def test_a_rollback_waits_no_longer_than_its_longest_pause_whatever_retell_asks() -> None:
    action = wait_of(decide(back(), Facts(trouble="429", retry_after=3_600), START))
    assert action.until == START + timedelta(seconds=30)


def test_the_read_back_is_recorded_with_the_time_it_took() -> None:
    action = record_of(decide(back(targets=(restored(),)), Facts(), START + 2 * SECOND))
    assert action.event is Event.READ_BACK
    assert action.values == {"restored_at": START + 2 * SECOND}
    assert "2.000 s after the order" in action.why


def test_rolled_back_is_said_only_from_a_look_begun_after_every_horizon() -> None:
    r = back(targets=(restored(),), restored_at=START, writes=(SETTLED_LATER,))
    over = SETTLED_LATER.horizon_until
    assert isinstance(decide(r, Facts(), START), Read)
    early = look(Finding.AS_EXPECTED, began=over - SECOND)
    assert wait_of(decide(r, Facts(look=early), over - SECOND)).next == "rolled_back"
    assert isinstance(decide(r, Facts(look=early), over), Read), "a look from before counts for nothing"
    late = look(Finding.AS_EXPECTED, began=over)
    assert record_of(decide(r, Facts(look=late), over)).event is Event.RESTORED


def test_another_rollouts_open_write_keeps_rolled_back_from_being_said() -> None:
    r = back(targets=(restored(),), restored_at=START, foreign_open=(write(rollout_id="other"),))
    action = decide(r, Facts(look=look(Finding.AS_EXPECTED)), START + SECOND)
    assert wait_of(action).next == "rolled_back"


@pytest.mark.parametrize("blocked", [Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE])
def test_rolled_back_is_not_said_blindly(blocked: Finding | Blocked) -> None:
    r = back(targets=(restored(),), restored_at=START)
    action = wait_of(decide(r, Facts(look=look(blocked), trouble="no answer"), START))
    assert f"{ONE} cannot be read" in action.why


def test_rolled_back_tells_what_was_left_alone_and_what_is_gone() -> None:
    r = back(
        targets=(restored(state=TargetState.FOREIGN), restored(TWO, ord=1, state=TargetState.MISSING)),
        restored_at=START,
    )
    why = record_of(decide(r, Facts(look=look(Finding.DRIFT, Blocked.MISSING)), START)).why
    assert why == (
        f"every number shows its baseline; changed by somebody since, and left as they are: {ONE}; gone: {TWO}"
    )
    plain = back(targets=(restored(), target(TWO, ord=1)), restored_at=START)
    assert record_of(decide(plain, SEEN, START)).why == "every number shows its baseline"
    nothing = back(targets=(target(),), restored_at=START)
    assert record_of(decide(nothing, SEEN, START)).why == "nothing had been written"


def test_a_rollback_of_nothing_is_over_at_once() -> None:
    r = back(targets=(target(),))
    assert record_of(decide(r, Facts(), START)).event is Event.READ_BACK


# ------------------------------------------------------------------ before the first step

PENDING: dict[str, Any] = {"phase": Phase.PENDING, "started_at": None}


def test_pending_begins_at_once() -> None:
    action = record_of(decide(rollout(**PENDING), Facts(), START))
    assert (action.event, action.values["started_at"]) == (Event.BEGUN, START)


def test_pending_waits_for_its_start() -> None:
    at = START + timedelta(hours=1)
    r = rollout(**PENDING, start_at=at, targets=())
    found = wait_of(decide(r, Facts(), START))
    assert (found.until, found.next) == (at, "check the numbers and begin")
    assert isinstance(decide(r, Facts(), at), Begin)
    known = wait_of(decide(replace(r, targets=(target(),)), Facts(), START))
    assert known.next == "step 1.1: 10 % canary"


def test_pending_waits_for_the_plan_before_it() -> None:
    r = rollout(**PENDING, plan=plan(after="frontdesk-v6"), targets=())
    for known in (None, False):
        found = wait_of(decide(r, Facts(after_promoted=known), START))
        assert (found.until, found.why) == (START + WATCH, "waiting for frontdesk-v6 to be promoted")
    assert isinstance(decide(r, Facts(after_promoted=True), START), Begin)


def test_pending_waits_for_its_window_and_for_retell() -> None:
    assert wait_of(decide(rollout(**PENDING), Facts(opening=CLOSED), START)).until == CLOSED.until
    away = wait_of(decide(rollout(**PENDING, targets=()), Facts(trouble="down"), START))
    assert (away.until, away.why, away.waiting_for) == (START + POLL, "down", WaitingFor.RETELL)


def test_the_deadline_counts_from_the_beginning() -> None:
    action = record_of(decide(rollout(**PENDING, plan=plan(deadline="7d")), Facts(), START))
    assert action.values["deadline_at"] == START + timedelta(days=7)


# ------------------------------------------------------------------ going through the steps


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
    assert isinstance(decide(r, Facts(look=look(Finding.AS_EXPECTED)), START), Read), "one is not both"
    assert wait_of(decide(r, Facts(trouble="down"), START)).why == "down"
    blind = Facts(look=look(Finding.AS_EXPECTED, Blocked.UNREACHABLE), trouble="down")
    assert wait_of(decide(r, blind, START)).why == f"{TWO} cannot be read: down"
    edited = record_of(decide(r, Facts(look=look(Finding.AS_EXPECTED, Finding.DRIFT)), START))
    assert (edited.event, edited.values) == (Event.HELD, {"reason": "drift", "resume_phase": Phase.PROGRESSING})


def test_a_step_is_not_counted_beside_an_open_horizon() -> None:
    r = standing(ago=HOLD, writes=(applied(write(), START + SECOND),))
    wait = wait_of(decide(r, SEEN, START))
    assert (wait.until, "may still land" in wait.why) == (START + SECOND, True)


def test_one_step_a_pass() -> None:
    wait = wait_of(decide(standing(ago=HOLD), replace(SEEN, stepped=True), START))
    assert (wait.until, wait.why) == (START, "the hold of step 1.1 is over")


def promoted_to(position: Position, *targets: Target, **changes: Any) -> Rollout:
    """A person promoted it to this position; these are its numbers."""
    return rollout(position=position, targets=targets, plan=plan([ONE, TWO], waves=[1]), **changes)


TWO_AT = {step: confirmed(TWO, step, ord=1, wave=2) if step else target(TWO, ord=1, wave=2) for step in range(4)}

IN_FORCE: list[tuple[str, Rollout, Position]] = [
    ("the next step, nothing written", promoted_to(Position(1, 2), confirmed()), Position(1, 1)),
    ("the last step, nothing written", promoted_to(Position(1, 3), confirmed()), Position(1, 1)),
    ("the next wave, nothing written", promoted_to(Position(2, 1), confirmed(step=3), TWO_AT[0]), Position(1, 3)),
    ("all waves at once, nothing written", promoted_to(Position(2, 3), confirmed(step=1), TWO_AT[0]), Position(1, 1)),
    ("one of two is written", promoted_to(Position(1, 2), confirmed(step=2), confirmed(TWO, 1, ord=1)), Position(1, 2)),
    ("one wave of two is written", promoted_to(Position(2, 1), confirmed(step=3), TWO_AT[1]), Position(2, 1)),
    (
        "what was written may still land",
        promoted_to(Position(1, 2), confirmed(), writes=(write(step=2),)),
        Position(1, 2),
    ),
    (
        "writes of the step before may land",
        promoted_to(Position(1, 3), confirmed(), writes=(write(step=2),)),
        Position(1, 2),
    ),
    (
        "writes of the first step may land",
        promoted_to(Position(1, 3), target(), writes=(write(step=1),)),
        Position(1, 1),
    ),
    ("it is to be written again", promoted_to(Position(1, 2), confirmed(step=-1)), Position(1, 2)),
    ("the first step", promoted_to(Position(1, 1), target()), Position(1, 1)),
    ("it is confirmed", promoted_to(Position(1, 2), confirmed(step=2), confirmed_at=START), Position(1, 2)),
]


@pytest.mark.parametrize(("r", "position"), [c[1:] for c in IN_FORCE], ids=[c[0] for c in IN_FORCE])
@pytest.mark.parametrize("finding", [Finding.DRIFT, Finding.TOUCHED])
def test_another_hand_is_answered_at_the_step_that_was_in_force(
    r: Rollout, position: Position, finding: Finding
) -> None:
    found = record_of(decide(r, Facts(look=look(finding)), START))
    assert found.event is Event.HELD
    assert Change(rollout=found.values).applied_to(r, START).position == position


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


READY = standing(ago=HOLD)
STRICT = plan(steps=[{"weight": 0.1, "hold": "30m", "min_calls": 50, "approve": True}, {"weight": 1.0}])
STOOD = standing(ago=HOLD, plan=STRICT)
GREEN = Facts(verdict=PASS, canary_calls=50)

WAITS: list[tuple[str, Rollout, Facts, str, WaitingFor]] = [
    ("too few calls", STOOD, Facts(canary_calls=49), "49 of 50 canary calls seen", WaitingFor.CALLS),
    ("calls not counted", STOOD, Facts(), "0 of 50 canary calls seen", WaitingFor.CALLS),
    ("undecided", READY, Facts(verdict=UNDECIDED), "not decided yet", WaitingFor.EVIDENCE),
    ("unmeasurable", READY, Facts(verdict=UNMEASURABLE), "no calls can be read", WaitingFor.EVIDENCE),
    ("closed", READY, Facts(opening=CLOSED), "closed until nine", WaitingFor.OPENING),
    ("closed, gates pass", READY, Facts(verdict=PASS, opening=CLOSED), "closed until nine", WaitingFor.OPENING),
    ("approval", STOOD, GREEN, "all conditions are met; somebody must promote it", WaitingFor.APPROVAL),
    ("hold", standing(), Facts(), "the hold of 30m is running", WaitingFor.HOLD),
    ("bake", standing(3), Facts(), "the bake of 1d is running", WaitingFor.HOLD),
    (
        "calls beside the weights, though a person went on",
        replace(READY, split_waived=True),
        Facts(verdict=said("undecided", "the calls do not follow", "split")),
        "the calls do not follow",
        WaitingFor.SPLIT,
    ),
    ("the key", rollout(), Facts(trouble="401", key_refused=True), "401", WaitingFor.KEY),
    ("Retell", rollout(), Facts(trouble="503"), "503", WaitingFor.RETELL),
    (
        "the key, to find out what a write did",
        rollout(writes=(write(),)),
        Facts(trouble="401", key_refused=True),
        "401",
        WaitingFor.KEY,
    ),
    (
        "a write that may still land",
        rollout(writes=(write(),)),
        Facts(look=look(Finding.AS_EXPECTED)),
        "a write may still land; nothing is sent",
        WaitingFor.HORIZON,
    ),
    ("its moment", rollout(**PENDING, start_at=START + HOLD), Facts(), "waiting for its start", WaitingFor.START),
    (
        "another's promotion",
        rollout(**PENDING, plan=plan(after="other")),
        Facts(after_promoted=False),
        "waiting for other to be promoted",
        WaitingFor.START,
    ),
    ("opening before the start", rollout(**PENDING), Facts(opening=CLOSED), "closed until nine", WaitingFor.OPENING),
    ("a pause", standing(phase=Phase.PAUSED), SEEN, "paused by a person", WaitingFor.PERSON),
    ("a hold by the service", standing(phase=Phase.HELD, why="look"), SEEN, "look", WaitingFor.PERSON),
    ("a rollback's key", back(), Facts(trouble="401", key_refused=True), "401", WaitingFor.KEY),
]


@pytest.mark.parametrize(
    ("r", "facts", "why", "cause"), [c[1:] for c in WAITS], ids=[c[0].replace(" ", "-") for c in WAITS]
)
def test_what_is_waited_for(r: Rollout, facts: Facts, why: str, cause: WaitingFor) -> None:
    wait = wait_of(decide(r, facts, START))
    assert (wait.why, wait.waiting_for) == (why, cause)
    if cause in (WaitingFor.CALLS, WaitingFor.EVIDENCE, WaitingFor.SPLIT):
        assert (wait.until, wait.next) == (
            START + WATCH,
            "step 1.2: " + ("100 %" if r is STOOD else "50 %") + " canary",
        )


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


def test_no_wait_goes_past_the_deadline() -> None:
    soon = START + timedelta(minutes=5)
    assert wait_of(decide(standing(deadline_at=soon), Facts(), START)).until == soon
    assert wait_of(decide(standing(deadline_at=START + 9 * HOLD), Facts(), START)).until == START + HOLD
    for_a_person = standing(ago=HOLD, plan=STRICT, deadline_at=soon)
    assert wait_of(decide(for_a_person, Facts(canary_calls=50), START)).until == soon


def test_gates_are_looked_at_again_while_the_hold_runs() -> None:
    assert wait_of(decide(standing(), Facts(verdict=PASS, watch=WATCH), START)).until == START + WATCH


# ------------------------------------------------------------------ the end


def test_promoted_is_said_only_from_a_look_at_every_number() -> None:
    r = standing(3, timedelta(days=1))
    assert isinstance(decide(r, Facts(), START), Read)
    assert record_of(decide(r, Facts(look=look(Finding.AS_EXPECTED)), START)).event is Event.COMPLETED
    blind = wait_of(decide(r, Facts(look=look(Blocked.UNREACHABLE)), START))
    assert f"{ONE} cannot be read" in blind.why
    assert wait_of(decide(r, Facts(trouble="down"), START)).next == "promoted"


def test_promoted_is_said_only_from_a_look_begun_after_every_horizon() -> None:
    open_still = applied(write(step=3), START + timedelta(seconds=20))
    r = standing(3, timedelta(days=1), writes=(open_still,))
    early = Facts(look=look(Finding.AS_EXPECTED))
    assert not isinstance(decide(r, early, START), Record)
    late = Facts(look=look(Finding.AS_EXPECTED, began=open_still.horizon_until))
    assert record_of(decide(r, late, open_still.horizon_until)).event is Event.COMPLETED


# ------------------------------------------------------------------ what is wrong goes first


@pytest.mark.parametrize(
    ("finding", "event", "reason"),
    [
        (Finding.DRIFT, Event.HELD, "drift"),
        (Finding.LATE_OWN, Event.HELD, "drift"),
        (Finding.TOUCHED, Event.HELD, "touched"),
        (Finding.AT_BASELINE, Event.RESTORED_OUTSIDE, "rolled back outside the service"),
        (Blocked.MISSING, Event.FAILED, f"{ONE} is gone: Retell does not know the number"),
    ],
    ids=["drift", "late-own", "touched", "at-baseline", "missing"],
)
def test_a_wrong_number_goes_before_everything_else(finding: Finding | Blocked, event: Event, reason: str) -> None:
    everything = Facts(
        look=look(finding), verdict=FAIL, baseline_gone="gone", canary_gone="gone", trouble="down", opening=CLOSED
    )
    r = standing(2, HOLD * 9, deadline_at=START, promote_asked=True)
    action = record_of(decide(r, everything, START))
    assert (action.event, action.values["reason"]) == (event, reason)


def test_a_number_that_keeps_showing_an_older_state_is_held_at_the_fifth_look() -> None:
    older = Facts(look=look(Finding.STALE), trouble="Retell shows an older state")
    assert isinstance(decide(standing(tries=4), older, START), Wait)
    held = record_of(decide(standing(tries=5), older, START))
    assert (held.event, held.values["reason"]) == (Event.HELD, "identity")


def test_rolled_back_outside_is_watched_as_a_rollback_while_a_write_may_land() -> None:
    r = standing(2, writes=(write(step=2),))
    action = record_of(decide(r, Facts(look=look(Finding.AT_BASELINE)), START))
    assert (action.event, action.values["reason"]) == (Event.FAILED, "rolled back outside the service")


@pytest.mark.parametrize("finding", [Finding.AS_EXPECTED, Finding.OTHER_FIELDS, Finding.APPLIED, Finding.PENDING])
def test_other_findings_hold_nothing_up(finding: Finding) -> None:
    action = decide(READY, Facts(look=look(finding)), START)
    assert record_of(action).event is Event.ADVANCED


def test_a_number_that_alone_is_back_at_its_baseline_is_drift() -> None:
    r = standing(targets=(confirmed(), confirmed(TWO, ord=1)))
    action = record_of(decide(r, Facts(look=look(Finding.AT_BASELINE, Finding.AS_EXPECTED)), START))
    assert (action.event, action.values["reason"]) == (Event.HELD, "drift")


WRONG: list[tuple[str, dict[str, Any], Facts, Event, str]] = [
    ("deadline", {"deadline_at": START}, Facts(baseline_gone="gone", verdict=FAIL), Event.HELD, "deadline"),
    (
        "baseline gone",
        {"targets": (target(),)},
        Facts(baseline_gone="b", canary_gone="c"),
        Event.HELD,
        "rollback-impossible",
    ),
    ("canary gone", {"targets": (target(),)}, Facts(canary_gone="c is gone", verdict=SPLIT), Event.FAILED, "c is gone"),
    ("rejected", {"targets": (target(state=TargetState.REJECTED),)}, Facts(verdict=FAIL), Event.HELD, "rejected"),
    ("gate failed", {}, Facts(verdict=FAIL, opening=CLOSED), Event.FAILED, "the canary is worse"),
    ("split alarm", {}, Facts(verdict=SPLIT), Event.HELD, "split"),
]


@pytest.mark.parametrize(
    ("changes", "facts", "event", "reason"), [c[1:] for c in WRONG], ids=[c[0].replace(" ", "-") for c in WRONG]
)
def test_what_is_wrong(changes: dict[str, Any], facts: Facts, event: Event, reason: str) -> None:
    action = record_of(decide(standing(**changes), facts, START))
    assert (action.event, action.values["reason"]) == (event, reason)
    assert allows(Phase.PROGRESSING, event)


def test_a_canary_that_vanished_after_its_last_write_is_left_to_the_gates() -> None:
    action = decide(standing(ago=HOLD), replace(SEEN, canary_gone="gone"), START)
    assert record_of(action).event is Event.ADVANCED


def test_a_rejected_split_whose_version_is_gone_is_a_failure() -> None:
    r = standing(targets=(confirmed(state=TargetState.REJECTED),))
    assert record_of(decide(r, Facts(canary_gone="v7 is gone"), START)).event is Event.FAILED


def test_the_deadline_may_roll_back() -> None:
    r = standing(plan=plan(on_deadline="rollback", deadline="1d"), deadline_at=START)
    action = record_of(decide(r, Facts(), START))
    assert (action.event, action.values["rollback_at"]) == (Event.FAILED, START)


def test_a_failure_may_pause_instead() -> None:
    r = standing(plan=plan(on_failure="pause"))
    action = record_of(decide(r, Facts(verdict=FAIL), START))
    assert action.event is Event.FAILURE_PAUSED
    assert action.values == {"reason": "the canary is worse", "paused_by": PausedBy.FAILURE}
    paused = decide(replace(r, phase=Phase.PAUSED, **action.values), Facts(), START)
    assert isinstance(paused, Wait)
    assert (paused.next, paused.why) == ("resume, rollback or stop", "the canary is worse"), "not: by a person"


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_a_number_that_is_gone_while_a_person_thinks_is_held_as_missing(phase: Phase) -> None:
    r = standing(phase=phase, plan=plan(on_failure="pause"), resume_phase=Phase.PROGRESSING)
    action = decide(r, Facts(look=look(Blocked.MISSING)), START)
    if phase is Phase.HELD:
        assert isinstance(action, Wait)
        return
    record = record_of(action)
    assert (record.event, record.values["reason"], record.values["resume_phase"]) == (Event.HELD, "missing", phase)


def test_what_a_person_waived_does_not_fail_again() -> None:
    waived = standing(ago=HOLD, waived=True)
    assert record_of(decide(waived, replace(SEEN, verdict=FAIL), START)).event is Event.ADVANCED
    split = standing(ago=HOLD, split_waived=True)
    assert record_of(decide(split, replace(SEEN, verdict=SPLIT), START)).event is Event.ADVANCED


# ------------------------------------------------------------------ what is unfinished

OPEN: Write = write(step=2)


def test_an_unknown_outcome_is_looked_into_before_anything_is_sent() -> None:
    r = rollout(position=Position(1, 2), targets=(confirmed(),), writes=(OPEN,))
    first = decide(r, Facts(), START)
    assert isinstance(first, Read)
    assert first.numbers == (ONE,)
    again = wait_of(decide(r, Facts(look=look(Finding.PENDING)), START))
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
    seen = decide(standing(look_asked=True), Facts(look=look(Finding.AS_EXPECTED)), START)
    assert wait_of(seen).next.startswith("step 1.2")


# ------------------------------------------------------------------ while people think

PAUSED: dict[str, Any] = {"phase": Phase.PAUSED}
HELD: dict[str, Any] = {"phase": Phase.HELD, "reason": "drift"}


@pytest.mark.parametrize("state", [PAUSED, HELD], ids=["paused", "held"])
def test_nothing_advances_while_a_person_thinks(state: dict[str, Any]) -> None:
    action = wait_of(decide(standing(ago=HOLD * 99, **state), Facts(verdict=PASS), START))
    assert action.until == START + WATCH
    assert wait_of(decide(standing(ago=HOLD * 99, **state), Facts(), START)).until is None


@pytest.mark.parametrize("state", [PAUSED, HELD], ids=["paused", "held"])
def test_the_failing_side_of_the_gates_is_watched_all_the_same(state: dict[str, Any]) -> None:
    assert record_of(decide(standing(**state), Facts(verdict=FAIL), START)).event is Event.FAILED
    assert isinstance(decide(standing(**state, waived=True), Facts(verdict=FAIL), START), Wait)
    on_pause = standing(**state, plan=plan(on_failure="pause"))
    assert isinstance(decide(on_pause, Facts(verdict=FAIL), START), Wait)


def test_whoever_thinks_is_told_what_to_answer() -> None:
    paused = wait_of(decide(standing(**PAUSED, reason="lunch"), Facts(), START))
    assert (paused.next, paused.why) == ("resume", "paused by a person: lunch")
    held = wait_of(decide(standing(**HELD), Facts(), START))
    assert (held.next, held.why) == ("adopt, restore, rollback or stop", "held: drift")


def test_a_failure_cannot_order_what_would_be_refused() -> None:
    r = standing(phase=Phase.HELD, reason="rollback-impossible")
    assert isinstance(decide(r, Facts(verdict=FAIL), START), Wait)


def test_drift_while_paused_is_told() -> None:
    action = record_of(decide(standing(**PAUSED), Facts(look=look(Finding.DRIFT)), START))
    assert (action.event, action.values["resume_phase"]) == (Event.HELD, Phase.PAUSED)
    assert isinstance(decide(standing(**HELD), Facts(look=look(Finding.DRIFT)), START), Wait)


def test_stop_ends_it_once_nothing_can_land_any_more() -> None:
    closing = applied(write(), START + timedelta(seconds=20))
    r = standing(**PAUSED, stop_asked=True, writes=(closing,))
    assert wait_of(decide(r, Facts(), START)).until == closing.horizon_until
    assert record_of(decide(standing(**PAUSED, stop_asked=True), Facts(), START)).event is Event.ENDED
    last = applied(write(TWO, id="w2"), START + timedelta(seconds=30))
    r = standing(**PAUSED, stop_asked=True, writes=(closing, last))
    assert wait_of(decide(r, Facts(), START)).until == last.horizon_until


def test_a_step_written_when_the_pause_came_is_confirmed_all_the_same() -> None:
    r = rollout(**PAUSED, targets=(confirmed(),))
    assert record_of(decide(r, Facts(), START)).event is Event.CONFIRMED
    unwritten = [
        replace(r, targets=t, started_at=s) for t, s in (((), START), ((target(),), START), ((target(),), None))
    ]
    for waits in (*unwritten, replace(r, **HELD)):
        assert isinstance(decide(waits, Facts(), START), Wait)


def test_an_unknown_outcome_is_looked_into_while_paused() -> None:
    r = standing(**PAUSED, writes=(OPEN,))
    assert isinstance(decide(r, Facts(), START), Read)
    assert wait_of(decide(r, Facts(look=look(Finding.PENDING)), START)).until == START + POLL


# ------------------------------------------------------------------ after the end


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_after_the_end_nothing_happens_by_itself(phase: Phase) -> None:
    step = 3 if phase is Phase.PROMOTED else 0
    known = confirmed(step=3) if step else restored()
    r = rollout(phase=phase, position=Position(1, 3), targets=(known,), confirmed_at=START)
    assert wait_of(decide(r, Facts(verdict=FAIL, baseline_gone="x"), START)).until is None


def test_after_the_end_a_difference_is_read() -> None:
    r = rollout(phase=Phase.ROLLED_BACK, targets=(restored(),), look_asked=True)
    assert isinstance(decide(r, Facts(), START), Read)
    seen = Facts(look=look(Finding.AS_EXPECTED))
    assert wait_of(decide(r, seen, START)).until is None


def test_our_own_late_write_reopens_a_rollback() -> None:
    r = rollout(phase=Phase.ROLLED_BACK, targets=(confirmed(step=-1),), look_asked=True)
    action = record_of(decide(r, Facts(look=look(Finding.LATE_OWN)), START))
    assert action.event is Event.REOPENED


def test_what_a_later_rollout_has_is_neither_watched_nor_undone_by_itself() -> None:
    taken = confirmed(TWO, step=-1, state=TargetState.SUPERSEDED)
    ended = rollout(phase=Phase.ROLLED_BACK, targets=(taken,), look_asked=True)
    assert wait_of(decide(ended, Facts(), START)).until is None
    undone = target(state=TargetState.RESTORED, written=True)
    reopened = back(targets=(confirmed(step=-1), taken))
    action = decide(reopened, Facts(), START)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [ONE]
    over = back(targets=(undone, taken), restored_at=START)
    assert record_of(decide(over, Facts(look=look(Finding.AS_EXPECTED)), START)).event is Event.RESTORED


def test_our_own_late_write_after_promoted_is_written_over() -> None:
    r = rollout(phase=Phase.PROMOTED, position=Position(1, 3), targets=(confirmed(step=-1),))
    assert isinstance(decide(r, Facts(), START), Apply)


@pytest.mark.parametrize(
    ("target_", "writes"),
    [
        (confirmed(step=-1, state=TargetState.SUPERSEDED), ()),  # a later rollout has the number
        (confirmed(step=2), ()),  # an edit, and no write of ours
        (confirmed(step=-1), (applied(write(step=2), START + SECOND),)),  # a write may still land
        (confirmed(step=-1, state=TargetState.DRIFTED), ()),  # edited since: it would be looked at without end
        (confirmed(step=-1, state=TargetState.MISSING), ()),
        (confirmed(step=-1, state=TargetState.REJECTED), ()),
    ],
    ids=["superseded", "an-edit", "an-open-write", "edited-since", "missing", "rejected"],
)
def test_after_promoted_nothing_but_our_own_late_write_is_written_over(
    target_: Target, writes: tuple[Write, ...]
) -> None:
    r = rollout(phase=Phase.PROMOTED, position=Position(1, 3), targets=(target_,), writes=writes)
    assert isinstance(decide(r, Facts(), START), Wait)
    assert isinstance(decide(r, Facts(look=look(Finding.LATE_OWN)), START), Wait)


@pytest.mark.parametrize(
    ("writes", "facts"),
    [((), Facts(trouble="503")), ((applied(write(step=2), START + SECOND),), Facts())],
    ids=["retell-is-away", "a-write-may-land"],
)
def test_a_late_write_after_promoted_that_cannot_be_written_over_yet_is_not_forgotten(
    writes: tuple[Write, ...], facts: Facts
) -> None:
    r = rollout(phase=Phase.PROMOTED, position=Position(1, 3), targets=(confirmed(step=-1),), writes=writes)
    assert wait_of(decide(r, facts, START)).until == START + POLL


def test_after_the_end_an_unknown_write_on_a_later_rollouts_number_is_looked_for() -> None:
    superseded = confirmed(TWO, state=TargetState.SUPERSEDED)
    r = rollout(phase=Phase.STOPPED, targets=(confirmed(), superseded), writes=(write(TWO, id="w2"),))
    action = decide(r, Facts(), START)
    assert isinstance(action, Read)
    assert action.numbers == (ONE, TWO)


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD, Phase.PROMOTED, Phase.ROLLED_BACK])
def test_a_difference_that_could_not_be_read_is_looked_for_again(phase: Phase) -> None:
    r = standing(3, phase=phase, look_asked=True, tries=1)
    if phase is Phase.ROLLED_BACK:
        r = replace(r, targets=(restored(),))
    blind = Facts(look=look(Blocked.UNREACHABLE), trouble="503")
    assert wait_of(decide(r, blind, START)).until == START + 2 * POLL


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_a_difference_that_the_scan_saw_is_read_while_a_person_thinks(phase: Phase) -> None:
    r = standing(phase=phase, look_asked=True, targets=(confirmed(), confirmed(TWO, ord=1)))
    assert decide(r, Facts(), START) == Read((ONE, TWO), "the scan saw a difference")
    for facts in (Facts(trouble="503"), BOTH_SEEN):
        assert isinstance(decide(r, facts, START), Wait)
    assert isinstance(decide(replace(r, targets=()), Facts(), START), Wait)
    assert isinstance(decide(replace(r, look_asked=False), Facts(), START), Wait)


def test_a_difference_that_could_not_be_read_is_looked_for_again_before_the_hold_ends() -> None:
    blind = Facts(look=look(Blocked.UNREACHABLE), trouble="503")
    wait = wait_of(decide(standing(look_asked=True), blind, START))
    assert (wait.until, wait.waiting_for) == (START + POLL, WaitingFor.RETELL)


def test_a_failed_gate_goes_before_a_difference_that_cannot_be_read() -> None:
    blind = Facts(look=look(Blocked.UNREACHABLE), trouble="503", verdict=FAIL)
    assert record_of(decide(standing(**PAUSED, look_asked=True), blind, START)).event is Event.FAILED


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_after_the_end_an_unknown_write_is_looked_for_a_poll_later(phase: Phase) -> None:
    r = rollout(phase=phase, position=Position(1, 3), targets=(restored(),), writes=(OPEN,))
    assert isinstance(decide(r, Facts(), START), Read)
    pending = wait_of(decide(r, Facts(look=look(Finding.PENDING)), START))
    assert (pending.until, pending.why) == (START + POLL, "a write may still land")
    away = wait_of(decide(replace(r, tries=4), Facts(trouble="503"), START))
    assert (away.until, away.why) == (START + timedelta(seconds=30), "503")


# ------------------------------------------------------------------ variants


def test_every_variant_is_named_in_the_reason() -> None:
    several = plan(
        canary=None,
        variants={"b": {"agent_id": "agent_b", "agent_version": 1}, "c": {"agent_id": "agent_c", "agent_version": 2}},
        steps=[{"weights": {"b": 0.2, "c": 0.05}, "hold": "1d"}],
    )
    action = decide(rollout(plan=several), Facts(), START)
    assert isinstance(action, Apply)
    assert action.why == "step 1.1: 20 % b, 5 % c"
    assert [t.baseline for t in action.targets] == [only(6)]
