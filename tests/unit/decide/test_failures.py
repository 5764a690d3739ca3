"""Reasons to stop, in full: what is recorded of each, and the sentence that people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.decide.actions import Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.failures import hold
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Event, HeldReason, Phase
from rollout.domain.lifecycle.state import Position, Rollout, TargetState
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, entry, only, plan, rollout, said, target, write

NUMBERS = [f"+1415777444{i}" for i in range(4, 9)]  # ONE, TWO and three more
LATER = START + timedelta(minutes=1)
STABLE = BaselineTag(AGENT, "stable", 6)
LABELS = said("pass", "results of the canary go missing", "labels")


def standing(**changes: Any) -> Rollout:
    values = {"confirmed_at": START, "targets": (confirmed(),), **changes}
    return rollout(**values)


def seen(*findings: Finding | Blocked, **facts: Any) -> Facts:
    return Facts(look=NumberScan(START, dict(zip(NUMBERS, findings, strict=False)), Change()), **facts)


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
