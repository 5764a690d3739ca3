"""The rules for testing the agent before the first step: begin the batches, wait for their end, continue or stop.

The rollout starts only if the tests pass. Retell's own errors count as neither passed nor failed: the rollout waits
for a result until the plan's deadline for the tests, and then does not start.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rollout.domain.agent_tests.judgement import TestOutcome, TestVerdict
from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.calendar.durations import render
from rollout.domain.decide.actions import Action, BeginBatch, Record, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.timing import retry_pause
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.tests import Tests

MOST_UNSURE = 5
FIRST_PAUSE = timedelta(minutes=1)
"""After a request for a batch that got no answer; doubled each time, since each request may cost money."""
UNSURE = "tests: Retell did not answer the request for a batch, which may be running anyway"


def testing(r: Rollout, f: Facts, now: datetime, next_: str) -> Action | None:
    """The next thing to do for the tests; None: they passed, or there are none."""
    tests = r.tests
    if r.plan.tests is None or tests is None or tests.verdict is not None:
        return None
    if tests.began_at is None:
        begun = replace(tests, began_at=now)
        return Record(Event.TESTS_PROGRESSED, _described(tests), {"tests": begun})
    known = tests if f.tests is None else replace(tests, failures=f.tests.failures).with_batches(f.tests.batches)
    verdict = known.judged(r.plan.tests.max_failed)
    if verdict.outcome is not TestOutcome.RUNNING:
        return _end(known, verdict)
    over = tests.began_at + r.plan.tests.deadline
    if (why := _not_measured(known, f, r.plan.tests, now >= over)) is not None:
        return _end(known, TestVerdict(TestOutcome.UNMEASURABLE, why))
    if sum(b.is_complete for b in known.batches) > sum(b.is_complete for b in tests.batches):
        return Record(Event.TESTS_PROGRESSED, known.progress, {"tests": known})
    if f.trouble is not None:
        return Wait(min(now + retry_pause(r, f), over), next_, f.trouble, f.held_up_by())
    if (order := tests.next_order) is None:
        return Wait(min(now + f.poll, over), next_, verdict.reason, WaitingFor.TESTS)
    if tests.asked_at is not None:
        again = tests.asked_at + FIRST_PAUSE * 2 ** (tests.unsure - 1)
        if now < again:
            return Wait(min(again, over), next_, UNSURE, WaitingFor.RETELL)
    return BeginBatch(order, verdict.reason)


def _not_measured(tests: AgentTests, f: Facts, plan: Tests, is_over: bool) -> str | None:
    """The reason why there will be no result; None: there may still be one."""
    if f.tests_refused is not None:
        return f"the tests could not start: {f.tests_refused}"
    if tests.unsure >= MOST_UNSURE:
        return (
            f"the tests could not start: Retell did not answer {MOST_UNSURE} requests for a batch; one may be running "
            "anyway"
        )
    if is_over:
        return f"the tests had no result within {render(plan.deadline)}: {f.trouble or tests.progress}"
    return None


def _end(tests: AgentTests, verdict: TestVerdict) -> Record:
    ended = tests.ended(verdict)
    assert ended.verdict is not None
    why = ended.verdict.reason
    if verdict.outcome is TestOutcome.PASSED:
        return Record(Event.TESTS_PASSED, why, {"tests": ended})
    return Record(Event.REFUSED, why, {"reason": why, "tests": ended})


def _described(tests: AgentTests) -> str:
    names = " and ".join(arm.name for arm in tests.arms)
    return f"tests of {names}: {tests.total} runs, each case {tests.runs} times"
