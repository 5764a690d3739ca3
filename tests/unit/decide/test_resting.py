"""Paused, held and ended: what is still watched, recorded, and written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.decide.actions import Apply, Read, Restore, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.machine import Event, PausedBy, Phase
from rollout.domain.lifecycle.state import Position, Target, TargetState, Write
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.protocol import Finding
from tests.support import retreating
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, plan, rollout, target, write
from tests.unit.decide.situations import (
    BOTH_SEEN,
    FAIL,
    HELD,
    HOLD,
    OPEN,
    PASS,
    PAUSED,
    POLL,
    SECOND,
    WATCH,
    back,
    record_of,
    restored,
    scan,
    standing,
    wait_of,
)


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_a_number_that_is_gone_while_a_person_thinks_is_held_as_missing(phase: Phase) -> None:
    r = standing(phase=phase, plan=plan(on_failure="pause"), resume_phase=Phase.PROGRESSING)
    action = decide(r, Facts(scan=scan(Blocked.MISSING)), START)
    if phase is Phase.HELD:
        assert isinstance(action, Wait)
        return
    record = record_of(action)
    assert (record.event, record.values["reason"], record.values["resume_phase"]) == (Event.HELD, "missing", phase)


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
    alerted = standing(**PAUSED, reason="alert Drop (grafana): calls drop", paused_by=PausedBy.ALERT)
    by_alert = wait_of(decide(alerted, Facts(), START))
    assert (by_alert.next, by_alert.why) == ("resume", "paused by alert Drop (grafana): calls drop")
    held = wait_of(decide(standing(**HELD), Facts(), START))
    assert (held.next, held.why) == ("adopt, restore, rollback or stop", "held: drift")


def test_a_failure_cannot_order_what_would_be_refused() -> None:
    r = standing(phase=Phase.HELD, reason="rollback-impossible")
    assert isinstance(decide(r, Facts(verdict=FAIL), START), Wait)


def test_drift_while_paused_is_told() -> None:
    action = record_of(decide(standing(**PAUSED), Facts(scan=scan(Finding.DRIFT)), START))
    assert (action.event, action.values["resume_phase"]) == (Event.HELD, Phase.PAUSED)
    assert isinstance(decide(standing(**HELD), Facts(scan=scan(Finding.DRIFT)), START), Wait)


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
    assert wait_of(decide(r, Facts(scan=scan(Finding.PENDING)), START)).until == START + POLL


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_after_the_end_nothing_happens_by_itself(phase: Phase) -> None:
    step = 3 if phase is Phase.PROMOTED else 0
    known = confirmed(step=3) if step else restored()
    r = rollout(phase=phase, position=Position(1, 3), targets=(known,), confirmed_at=START)
    assert wait_of(decide(r, Facts(verdict=FAIL, baseline_gone="x"), START)).until is None


def test_after_the_end_a_difference_is_read() -> None:
    r = rollout(phase=Phase.ROLLED_BACK, targets=(restored(),), look_asked=True)
    assert isinstance(decide(r, Facts(), START), Read)
    seen = Facts(scan=scan(Finding.AS_EXPECTED))
    assert wait_of(decide(r, seen, START)).until is None


def test_our_own_late_write_reopens_a_rollback() -> None:
    r = rollout(phase=Phase.ROLLED_BACK, targets=(confirmed(step=-1),), look_asked=True)
    action = record_of(decide(r, Facts(scan=scan(Finding.LATE_OWN)), START))
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
    assert record_of(decide(over, Facts(scan=scan(Finding.AS_EXPECTED)), START)).event is Event.RESTORED


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
    assert isinstance(decide(r, Facts(scan=scan(Finding.LATE_OWN)), START), Wait)


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
    blind = Facts(scan=scan(Blocked.UNREACHABLE), trouble="503")
    assert wait_of(decide(r, blind, START)).until == START + 2 * POLL


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_a_difference_that_the_scan_saw_is_read_while_a_person_thinks(phase: Phase) -> None:
    r = standing(phase=phase, look_asked=True, targets=(confirmed(), confirmed(TWO, ord=1)))
    assert decide(r, Facts(), START) == Read((ONE, TWO), "the scan saw a difference")
    for facts in (Facts(trouble="503"), BOTH_SEEN):
        assert isinstance(decide(r, facts, START), Wait)
    assert isinstance(decide(replace(r, targets=()), Facts(), START), Wait)
    assert isinstance(decide(replace(r, look_asked=False), Facts(), START), Wait)


def test_a_failed_gate_goes_before_a_difference_that_cannot_be_read() -> None:
    blind = Facts(scan=scan(Blocked.UNREACHABLE), trouble="503", verdict=FAIL)
    assert record_of(decide(standing(**PAUSED, look_asked=True), blind, START)).event is Event.FAILED


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_after_the_end_an_unknown_write_is_looked_for_a_poll_later(phase: Phase) -> None:
    r = rollout(phase=phase, position=Position(1, 3), targets=(restored(),), writes=(OPEN,))
    assert isinstance(decide(r, Facts(), START), Read)
    pending = wait_of(decide(r, Facts(scan=scan(Finding.PENDING)), START))
    assert (pending.until, pending.why) == (START + POLL, "a write may still land")
    away = wait_of(decide(replace(r, tries=4), Facts(trouble="503"), START))
    assert (away.until, away.why) == (START + timedelta(seconds=30), "503")


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.HELD])
def test_people_hold_it_where_it_is(phase: Phase) -> None:
    for r in (retreating.standing(phase=phase, resume_phase=phase), retreating.down(phase=phase, resume_phase=phase)):
        for opening in (retreating.NIGHT, retreating.DAY):
            assert isinstance(decide(r, Facts(opening=opening), START), Wait)


def test_paused_on_the_way_what_was_read_back_is_still_recorded() -> None:
    r = retreating.down(phase=Phase.PAUSED, turning_since=START)
    assert record_of(decide(r, Facts(), START)).event is Event.REACHED
    wait = decide(replace(r, turning_since=None), Facts(), START)
    assert isinstance(wait, Wait)
    assert wait.why == "paused by a person; it stays at the retreat weight, 20 %"
