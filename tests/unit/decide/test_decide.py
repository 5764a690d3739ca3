"""decide, rule by rule: what it does for each state of affairs, and which rule goes before which."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.decide.actions import Restore, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.protocol import Finding
from tests.support import retreating
from tests.support.clock import START
from tests.support.values import ONE, plan, rollout, said, write
from tests.unit.decide.situations import (
    CLOSED,
    HOLD,
    PASS,
    PENDING,
    READY,
    SECOND,
    SEEN,
    STRICT,
    UNDECIDED,
    UNMEASURABLE,
    WATCH,
    back,
    scan,
    standing,
    wait_of,
)


@pytest.mark.parametrize(
    "facts",
    [
        Facts(),
        Facts(verdict=PASS),
        Facts(verdict=UNDECIDED, opening=CLOSED),
        Facts(baseline_gone="gone", canary_gone="gone"),
        Facts(scan=scan(Finding.DRIFT)),
    ],
    ids=["plain", "gates-pass", "closed", "versions-gone", "drift"],
)
def test_a_rollback_writes_the_baseline_whatever_else_is_the_case(facts: Facts) -> None:
    r = back(promote_asked=True, deadline_at=START - SECOND, reason="drift")
    action = decide(r, facts, START)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [ONE]


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
        Facts(scan=scan(Finding.AS_EXPECTED)),
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


def test_no_wait_goes_past_the_deadline() -> None:
    soon = START + timedelta(minutes=5)
    assert wait_of(decide(standing(deadline_at=soon), Facts(), START)).until == soon
    assert wait_of(decide(standing(deadline_at=START + 9 * HOLD), Facts(), START)).until == START + HOLD
    for_a_person = standing(ago=HOLD, plan=STRICT, deadline_at=soon)
    assert wait_of(decide(for_a_person, Facts(canary_calls=50), START)).until == soon


def test_no_wait_goes_past_closing_time() -> None:
    for facts in (Facts(opening=retreating.DAY), Facts(opening=retreating.DAY, verdict=said("undecided"))):
        wait = decide(replace(retreating.standing(3), confirmed_at=START), facts, START)
        assert isinstance(wait, Wait)
        assert wait.until is not None
        assert wait.until <= START + retreating.HOUR
