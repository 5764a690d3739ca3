"""Reasons to stop, in full: what is recorded of each, and the sentence that people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.decide.actions import Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.failures import hold, live_position
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Event, HeldReason, PausedBy, Phase, allows
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support import hand_splits, retreating
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, entry, only, plan, rollout, said, target, write
from tests.unit.decide.situations import CLOSED, FAIL, HOLD, READY, SEEN, SPLIT, record_of, scan, standing

NUMBERS = [f"+1415777444{i}" for i in range(4, 9)]  # ONE, TWO and three more
LATER = START + timedelta(minutes=1)
STABLE = BaselineTag(AGENT, "stable", 6)
LABELS = said("pass", "results of the canary go missing", "labels")


def seen(*findings: Finding | Blocked, **facts: Any) -> Facts:
    return Facts(scan=NumberScan(START, dict(zip(NUMBERS, findings, strict=False)), Change()), **facts)


def several(count: int) -> Rollout:
    return standing(targets=tuple(confirmed(number, ord=i) for i, number in enumerate(NUMBERS[:count])))


def recorded(r: Rollout, facts: Facts) -> Record:
    action = decide(r, facts, LATER)
    assert isinstance(action, Record), action
    return action


# ------------------------------------------------------------------ tags of the baseline


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_a_tag_that_was_moved_holds_it_with_what_became_of_the_tag(phase: Phase) -> None:
    tags = (STABLE.seen_at(8), replace(STABLE, tag="prod").seen_at(None), replace(STABLE, tag="old"))
    found = recorded(standing(phase=phase), Facts(tags=tags))
    assert (found.event, found.values) == (Event.HELD, {"reason": "drift", "resume_phase": phase, "tags": tags})
    assert found.why == (
        f"the tag stable of {AGENT}, which the baseline names, was moved from version 6 to 8: the baseline's callers get "
        f"that version now, and would get it after a rollback; the tag prod of {AGENT}, which the baseline names, was "
        "deleted (it pointed to version 6): a rollback to it would be refused"
    )


def test_tags_that_point_where_they_did_hold_nothing_and_are_watched() -> None:
    action = decide(standing(), Facts(tags=(STABLE.seen_at(6),)), START)
    assert isinstance(action, Wait)
    assert action.until == START + timedelta(seconds=30)


@pytest.mark.parametrize("changes", [{"phase": Phase.HELD}, {"phase": Phase.PAUSED, "stop_asked": True}])
def test_a_moved_tag_asks_nobody_who_is_asked_already(changes: dict[str, Any]) -> None:
    action = decide(standing(**changes), Facts(tags=(STABLE.seen_at(8),)), START)
    assert not (isinstance(action, Record) and action.event is Event.HELD)


def test_a_tag_that_was_moved_is_answered_without_restore() -> None:
    for tag, answers in ((STABLE.seen_at(8), "adopt, rollback or stop"), (STABLE, "adopt, restore, rollback or stop")):
        action = decide(standing(phase=Phase.HELD, reason="drift", tags=(tag,)), Facts(), START)
        assert isinstance(action, Wait)
        assert action.next == answers


# ------------------------------------------------------------------ gates


def test_results_that_go_missing_hold_it_until_a_person_goes_on() -> None:
    found = recorded(standing(), Facts(verdict=LABELS))
    assert (found.event, found.why) == (Event.HELD, "results of the canary go missing")
    assert found.values == {"reason": "labels", "resume_phase": Phase.PROGRESSING}
    assert isinstance(decide(standing(labels_waived=True), Facts(verdict=LABELS), LATER), Wait)
    assert recorded(standing(split_waived=True), Facts(verdict=LABELS)).event is Event.HELD


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, f"{NUMBERS[0]} is"),
        (2, f"{NUMBERS[0]}, {NUMBERS[1]} are"),
        (3, f"{NUMBERS[0]}, {NUMBERS[1]}, {NUMBERS[2]} are"),
        (5, f"{NUMBERS[0]}, {NUMBERS[1]}, {NUMBERS[2]} and 2 more are"),
    ],
)
def test_numbers_that_are_gone_are_named(count: int, names: str) -> None:
    found = recorded(several(count), seen(*[Blocked.MISSING] * count))
    assert found.why == f"{names} gone: Retell does not know the number"
    assert found.values == {"reason": found.why, "rollback_at": START}, "the order counts from the look"


def test_a_failure_of_a_number_pauses_where_the_plan_says_so() -> None:
    found = recorded(standing(plan=plan(on_failure="pause")), seen(Blocked.MISSING))
    assert found.event is Event.FAILURE_PAUSED


def test_what_somebody_rolled_back_is_recorded_as_each_number_shows_it() -> None:
    shown = {"inbound_agents": [entry("6", 1.0)]}
    targets = (
        confirmed(live=shown),
        confirmed(TWO, ord=1, state=TargetState.RESTORED, step=0, split=only(6), live=only(9)),
        target(NUMBERS[2], ord=2),
    )
    found = recorded(standing(targets=targets), seen(Finding.AT_BASELINE))
    assert found.event is Event.RESTORED_OUTSIDE
    assert found.values == {"reason": "rolled back outside the service", "rollback_at": START, "restored_at": START}
    assert found.targets == {
        ONE: {"state": TargetState.RESTORED, "step": 0, "split": shown},
        TWO: {"state": TargetState.RESTORED, "step": 0, "split": only(6)},
    }


def test_each_kind_of_edit_is_told_in_its_words() -> None:
    r = several(3)
    edited = recorded(r, seen(Finding.LATE_OWN, Finding.AS_EXPECTED, Finding.DRIFT))
    assert edited.why == f"{NUMBERS[0]}, {NUMBERS[2]} shows a split that this rollout did not write"
    touched = recorded(r, seen(Finding.AS_EXPECTED, Finding.TOUCHED))
    assert touched.why == f"{TWO} was updated by somebody, but nothing visible changed"
    older = recorded(replace(r, tries=5), seen(Finding.STALE))
    assert older.why == f"{ONE} keeps showing an older state: the number may have been created again"


def test_a_rejected_split_names_its_numbers() -> None:
    rejected = confirmed(TWO, ord=1, state=TargetState.REJECTED)
    found = recorded(standing(targets=(confirmed(), rejected)), Facts())
    assert (found.why, found.values["reason"]) == (f"Retell refuses the split for {TWO}", "rejected")
    gone = recorded(standing(targets=(confirmed(), rejected)), Facts(canary_gone="v7 is gone"))
    assert (gone.event, gone.why) == (Event.FAILED, "v7 is gone"), "it explains the refusal"


def test_what_is_held_once_more_leads_back_to_where_it_was_before_the_first_time() -> None:
    again = hold(standing(phase=Phase.HELD, resume_phase=Phase.PAUSED), HeldReason.POISON, "five crashes in a row")
    assert again == Record(Event.HELD, "five crashes in a row", {"reason": "poison", "resume_phase": Phase.PAUSED})


# ------------------------------------------------------------------ what is in force


def test_an_edit_while_the_first_writes_fly_is_answered_at_what_they_write() -> None:
    flying = standing(confirmed_at=None, targets=(target(written=True),), writes=(write(),))
    assert "step" not in recorded(flying, seen(Finding.DRIFT)).values
    gone_on = replace(flying, position=Position(1, 2))
    assert recorded(gone_on, seen(Finding.DRIFT)).values["step"] == 1
    nothing_sent = standing(confirmed_at=None, position=Position(1, 2), targets=(target(),))
    assert "step" not in recorded(nothing_sent, seen(Finding.DRIFT)).values


def test_an_edit_before_the_first_write_of_a_wave_is_answered_at_the_end_of_the_wave_before() -> None:
    targets = (confirmed(step=3), target(TWO, ord=1, wave=2))
    found = recorded(standing(confirmed_at=None, targets=targets, position=Position(2, 1)), seen(Finding.DRIFT))
    assert found.values == {"reason": "drift", "resume_phase": Phase.PROGRESSING, "wave": 1, "step": 3}
    begun = (confirmed(step=3), confirmed(TWO, ord=1, wave=2))
    later = recorded(standing(confirmed_at=None, targets=begun, position=Position(2, 2)), seen(Finding.DRIFT))
    assert (later.values["step"], "wave" in later.values) == (1, True), "of the wave that was begun last"


def test_a_number_ahead_of_the_position_takes_it_nowhere() -> None:
    ahead = standing(confirmed_at=None, targets=(confirmed(step=2),))
    assert "step" not in recorded(ahead, seen(Finding.DRIFT)).values


def test_a_hold_that_is_no_edit_keeps_the_position() -> None:
    ahead = standing(confirmed_at=None, position=Position(1, 2))
    assert recorded(ahead, seen(Finding.DRIFT)).values["step"] == 1
    assert "step" not in recorded(ahead, Facts(baseline_gone="v6 is gone")).values


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
    found = record_of(decide(r, Facts(scan=scan(finding)), START))
    assert found.event is Event.HELD
    assert Change(rollout=found.values).applied_to(r, START).position == position


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
        scan=scan(finding), verdict=FAIL, baseline_gone="gone", canary_gone="gone", trouble="down", opening=CLOSED
    )
    r = standing(2, HOLD * 9, deadline_at=START, promote_asked=True)
    action = record_of(decide(r, everything, START))
    assert (action.event, action.values["reason"]) == (event, reason)


def test_a_number_that_keeps_showing_an_older_state_is_held_at_the_fifth_look() -> None:
    older = Facts(scan=scan(Finding.STALE), trouble="Retell shows an older state")
    assert isinstance(decide(standing(tries=4), older, START), Wait)
    held = record_of(decide(standing(tries=5), older, START))
    assert (held.event, held.values["reason"]) == (Event.HELD, "identity")


def test_rolled_back_outside_is_watched_as_a_rollback_while_a_write_may_land() -> None:
    r = standing(2, writes=(write(step=2),))
    action = record_of(decide(r, Facts(scan=scan(Finding.AT_BASELINE)), START))
    assert (action.event, action.values["reason"]) == (Event.FAILED, "rolled back outside the service")


@pytest.mark.parametrize("finding", [Finding.AS_EXPECTED, Finding.OTHER_FIELDS, Finding.APPLIED, Finding.PENDING])
def test_other_findings_hold_nothing_up(finding: Finding) -> None:
    action = decide(READY, Facts(scan=scan(finding)), START)
    assert record_of(action).event is Event.ADVANCED


def test_a_number_that_alone_is_back_at_its_baseline_is_drift() -> None:
    r = standing(targets=(confirmed(), confirmed(TWO, ord=1)))
    action = record_of(decide(r, Facts(scan=scan(Finding.AT_BASELINE, Finding.AS_EXPECTED)), START))
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


def test_what_a_person_waived_does_not_fail_again() -> None:
    waived = standing(ago=HOLD, waived=True)
    assert record_of(decide(waived, replace(SEEN, verdict=FAIL), START)).event is Event.ADVANCED
    split = standing(ago=HOLD, split_waived=True)
    assert record_of(decide(split, replace(SEEN, verdict=SPLIT), START)).event is Event.ADVANCED


@pytest.mark.parametrize("r", [retreating.standing(), retreating.down()])
def test_a_failing_gate_and_the_deadline_go_before_closing_and_opening(r: Rollout) -> None:
    for opening in (retreating.NIGHT, retreating.DAY):
        facts = Facts(opening=opening, verdict=said("fail"))
        assert record_of(decide(r, facts, START)).event is Event.FAILED
        late = replace(r, deadline_at=START)
        assert record_of(decide(late, Facts(opening=opening), START)).event is Event.HELD


def test_drift_before_the_first_write_is_answered_at_what_was_in_force() -> None:
    assert hold(hand_splits.by_hand(), HeldReason.DRIFT, "").values["hand_split"] is None
    assert live_position(
        hand_splits.by_hand(1, targets=(replace(confirmed(), step=4, split=hand_splits.first_split()),))
    ) == (Position(1, 1), 1)
    promoted = replace(hand_splits.there(), position=Position(1, 3), hand_split=None, confirmed_at=None)
    assert live_position(promoted) == (Position(1, 2), 2)
    values = hold(promoted, HeldReason.DRIFT, "").values
    assert (values["wave"], values["step"], values["hand_split"]) == (1, 2, 2)
    assert "hand_split" not in hold(hand_splits.there(), HeldReason.DRIFT, "").values


def test_what_is_shipped_is_judged_like_the_last_step() -> None:
    failed = decide(hand_splits.shipped(), Facts(verdict=said("fail", "too many calls break")), hand_splits.NOW)
    assert isinstance(failed, Record)
    assert failed.event is Event.FAILED


def test_drift_before_a_shipped_split_is_written_leads_back_to_what_was_in_force() -> None:
    values = hold(hand_splits.shipping(), HeldReason.DRIFT, "").values
    assert (values["wave"], values["step"], values["hand_split"]) == (1, 1, None)
    half = hand_splits.shipping(targets=(hand_splits.shipped().targets[0], target(TWO, ord=1, wave=2)))
    assert "hand_split" not in hold(half, HeldReason.DRIFT, "").values, "it was begun: restore writes it to the rest"


def test_drift_while_a_whole_wave_shows_what_is_shipped_keeps_it() -> None:
    half = hand_splits.shipping(targets=(hand_splits.shipped().targets[0], target(TWO, ord=1, wave=2)))
    assert live_position(half) == (Position(2, 3), 1)
