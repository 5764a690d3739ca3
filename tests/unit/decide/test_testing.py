"""Testing the agent before the first step, decision by decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.agent_tests.state import AgentTests, CaseFailure, TestArm
from rollout.domain.decide.actions import Action, Begin, BeginBatch, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts, Opening, TestReport
from rollout.domain.lifecycle.machine import Event, Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.versions.documents import ResponseEngine
from tests.support.clock import START
from tests.support.values import plan, rollout

MINUTE = timedelta(minutes=1)
ARM = TestArm("canary", ResponseEngine("retell-llm", "llm_1", 7), ("case_a", "case_b"))
PLANNED = AgentTests((ARM,), 1)
BEGUN = replace(PLANNED, began_at=START)
CLOSED = Opening(False, START + timedelta(hours=9), "closed until nine")


def batch(passed: int = 0, failed: int = 0, errors: int = 0, complete: bool = True) -> BatchProgress:
    return BatchProgress("b1", complete, passed, failed, errors, 2)


RUNNING = BEGUN.with_batches([batch(complete=False)])


def pending(tests: AgentTests | None, **changes: Any) -> Rollout:
    asked = plan(tests={"runs": 1, "max_failed": 0.1, "deadline": "20m"})
    return rollout(phase=Phase.PENDING, started_at=None, plan=asked, tests=tests, **changes)


def decided(known: AgentTests | None, now: datetime = START, **facts: Any) -> Action:
    return decide(pending(known), Facts(**facts), now)


def recorded(action: Action, event: Event) -> AgentTests:
    assert isinstance(action, Record)
    assert action.event is event
    return action.values["tests"]


def test_first_it_is_recorded_that_they_begin() -> None:
    action = decided(PLANNED)
    assert recorded(action, Event.TESTS_PROGRESSED) == BEGUN
    assert action.why == "tests of canary: 2 runs, each case 1 times"


def test_without_tests_or_before_they_are_known_nothing_is_tested() -> None:
    assert isinstance(decide(pending(None, targets=()), Facts(), START), Begin)
    for known in (None, BEGUN):
        action = decide(replace(pending(known), plan=plan()), Facts(), START)
        assert isinstance(action, Record) and action.event is Event.BEGUN


def test_then_every_batch_is_begun_and_waited_for() -> None:
    assert decided(BEGUN) == BeginBatch(BEGUN.orders[0], "tests: 0 of 2 runs done")
    action = decided(RUNNING, tests=TestReport((batch(1, complete=False),)))
    assert action == Wait(
        START + timedelta(seconds=5), "step 1.1: 10 % canary", "tests: 1 of 2 runs done", WaitingFor.TESTS
    )


def test_a_batch_that_ended_is_recorded_once() -> None:
    two = replace(BEGUN, runs=2).with_batches([batch(complete=False), batch(complete=False)])
    report = TestReport((batch(2), batch(1, complete=False)))
    found = recorded(decided(two, tests=report), Event.TESTS_PROGRESSED)
    assert [b.is_complete for b in found.batches] == [True, False]
    assert isinstance(decided(found, tests=report), Wait)


def test_tests_that_passed_lead_to_the_first_step() -> None:
    found = recorded(decided(RUNNING, tests=TestReport((batch(2),))), Event.TESTS_PASSED)
    action = decided(found)
    assert isinstance(action, Record)
    assert action.event is Event.BEGUN


@pytest.mark.parametrize(
    ("ended", "outcome", "reason"),
    [
        (batch(1, 1), "failed", "tests failed: 1 of 2 runs failed; 0.1 of them may fail: Books a table (1 of 1)"),
        (batch(0, 0, 2), "unmeasurable", "tests: no run could be judged"),
        (batch(1, 0, 1), "unmeasurable", "tests: too many runs ended in an error at Retell"),
    ],
)
def test_only_tests_that_passed_lead_on(ended: BatchProgress, outcome: str, reason: str) -> None:
    failures = (CaseFailure("canary", "Books a table", 1, "no table"),) if ended.failed else ()
    action = decided(RUNNING, tests=TestReport((ended,), failures))
    assert recorded(action, Event.REFUSED).failures == failures
    assert isinstance(action, Record)
    assert action.values["tests"].verdict.outcome == outcome
    assert str(action.values["reason"]).startswith(reason)


def test_trouble_is_waited_for_until_the_deadline() -> None:
    action = decided(RUNNING, START + 19 * MINUTE, trouble="Retell cannot be reached: no answer")
    assert isinstance(action, Wait)
    assert (action.waiting_for, action.why) == (WaitingFor.RETELL, "Retell cannot be reached: no answer")
    action = decided(RUNNING, START + 20 * MINUTE - timedelta(seconds=1), trouble="no answer")
    assert isinstance(action, Wait)
    assert action.until == START + 20 * MINUTE
    action = decided(RUNNING, START + 20 * MINUTE, trouble="no answer")
    assert recorded(action, Event.REFUSED).verdict is not None
    assert action.why == "the tests had no result within 20m: no answer"


def test_no_wait_for_tests_goes_past_their_deadline() -> None:
    over, late = START + 20 * MINUTE, START + 20 * MINUTE - timedelta(seconds=1)
    running = decided(RUNNING, late, tests=TestReport((batch(1, complete=False),)))
    unsure = decided(replace(BEGUN, unsure=4, asked_at=late), late)
    for action, cause in ((running, WaitingFor.TESTS), (unsure, WaitingFor.RETELL)):
        assert isinstance(action, Wait)
        assert (action.until, action.waiting_for) == (over, cause)
    ended = decided(RUNNING, over)
    recorded(ended, Event.REFUSED)
    assert isinstance(ended, Record)
    assert ended.why == "the tests had no result within 20m: tests: 0 of 2 runs done"


def test_a_result_counts_also_after_the_deadline() -> None:
    action = decided(RUNNING, START + timedelta(hours=3), tests=TestReport((batch(2),)))
    recorded(action, Event.TESTS_PASSED)


def test_a_key_that_is_refused_is_told_as_one() -> None:
    action = decided(BEGUN, trouble="Retell refuses the API key (401)", key_refused=True)
    assert isinstance(action, Wait)
    assert action.waiting_for is WaitingFor.KEY


def test_a_request_that_retell_refuses_ends_it() -> None:
    action = decided(BEGUN, tests_refused="Retell says that the account cannot pay for tests (402)")
    recorded(action, Event.REFUSED)
    assert action.why == "the tests could not start: Retell says that the account cannot pay for tests (402)"


@pytest.mark.parametrize(("unsure", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8)])
def test_a_request_without_an_answer_is_repeated_later_and_later(unsure: int, minutes: int) -> None:
    tests = replace(BEGUN, unsure=unsure, asked_at=START)
    action = decided(tests)
    assert isinstance(action, Wait)
    assert (action.until, action.waiting_for) == (START + minutes * MINUTE, WaitingFor.RETELL)
    assert isinstance(decided(tests, START + minutes * MINUTE), BeginBatch)


def test_and_is_given_up_after_the_fifth() -> None:
    action = decided(replace(BEGUN, unsure=5, asked_at=START))
    recorded(action, Event.REFUSED)
    assert isinstance(action, Record)
    assert action.why.startswith("the tests could not start: Retell did not answer 5 requests for a batch")


def test_opening_hours_are_waited_for_before_tests_begin_and_after_they_passed_not_meanwhile() -> None:
    action = decided(PLANNED, opening=CLOSED)
    assert isinstance(action, Wait)
    assert action.waiting_for is WaitingFor.OPENING
    assert isinstance(decided(BEGUN, opening=CLOSED), BeginBatch)
    passed = recorded(decided(RUNNING, opening=CLOSED, tests=TestReport((batch(2),))), Event.TESTS_PASSED)
    action = decided(passed, opening=CLOSED)
    assert isinstance(action, Wait)
    assert action.waiting_for is WaitingFor.OPENING
