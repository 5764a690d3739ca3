"""The tests of an agent: which versions and cases a plan means, and batches that run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rollout.domain.agent_tests.judgement import TestOutcome
from rollout.domain.agent_tests.runs import BatchProgress, RunStatus, TestCase, TestRun
from rollout.domain.agent_tests.state import AgentTests, TestArm
from rollout.domain.decide.facts import TestReport
from rollout.domain.errors import KeyRefused, NotReachable, PreflightRefused
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.tests import Tests
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.agent_tests import POLL, TestPlanning, plan_tests, poll, run_by_hand
from tests.support.clock import FakeClock
from tests.support.values import AGENT, plan
from tests.unit.engine.account import DOWN, NO_KEY, version

LLM = f"llm_{AGENT}"
WITHOUT = "write max_failed, for example 0.1, and no compare"
REFUSED = Failure(Trouble.REJECTED, "no such case", 422)
LOST = Failure(Trouble.UNKNOWN, "the connection was closed")


class Retell:
    """Implements rollout.engine.ports.BatchTests. `results` are what each look at a batch shows, the last one for ever."""

    def __init__(self, *cases: str) -> None:
        self.known: Any = tuple(TestCase(case, case.upper()) for case in cases)
        self.listed: list[str | None] = []
        self.begun: list[tuple[tuple[str, ...], int | None]] = []
        self.answers: list[Failure] = []
        self.results: list[Any] = [BatchProgress("", True, 1, 0, 0, 1)]
        self.looks: list[str] = []
        self.shown: Any = (TestRun("case_a", "Case A", RunStatus.FAIL, "it hung up"),)

    def cases(self, engine: ResponseEngine) -> Any:
        self.listed.append(engine.engine_id)
        return self.known

    def begin(self, case_ids: Sequence[str], engine: ResponseEngine) -> BatchProgress | Failure:
        if self.answers:
            return self.answers.pop(0)
        self.begun.append((tuple(case_ids), engine.version))
        return BatchProgress(f"b{len(self.begun)}", False, 0, 0, 0, len(case_ids))

    def progress(self, batch_id: str) -> Any:
        self.looks.append(batch_id)
        found = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        return found if isinstance(found, Failure) else BatchProgress(batch_id, *_rest(found))

    def runs(self, batch_id: str) -> Any:
        return self.shown


def _rest(batch: BatchProgress) -> tuple[bool, int, int, int, int]:
    return batch.is_complete, batch.passed, batch.failed, batch.errors, batch.total


def with_tests(**tests: Any) -> Plan:
    return plan(tests={"cases": "all", "runs": 1, "max_failed": 0.25, **tests})


def planned(of: Plan, retell: Retell | None, served: Any = (), tried: Any = None) -> TestPlanning:
    return plan_tests(of, served or [version(6)], tried or {"canary": version(7)}, retell)


# ------------------------------------------------------------------ what is run


def test_every_case_of_the_engine_is_run_or_those_that_are_named() -> None:
    retell = Retell("case_b", "case_a")
    found = planned(with_tests(), retell)
    engine = ResponseEngine("retell-llm", LLM, 7)
    assert (found.arms, found.problems) == ([TestArm("canary", engine, ("case_a", "case_b"))], [])
    assert found.tests(with_tests(runs=4)) == AgentTests(tuple(found.arms), 4)
    assert planned(with_tests(cases=["case_b"]), retell).arms[0].cases == ("case_b",)
    assert planned(plan(), retell) == TestPlanning()
    assert planned(plan(), retell).tests(plan()) is None


def test_the_cases_of_an_engine_are_listed_once() -> None:
    retell = Retell("case_a")
    tried = {"b": version(7), "c": version(8)}
    assert [arm.name for arm in planned(with_tests(), retell, tried=tried).arms] == ["b", "c"]
    assert retell.listed == [LLM]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "has no response engine that can be read, which Retell cannot test: leave tests out"),
        (
            {"response_engine": {"type": "custom-llm"}},
            "has a response engine of type custom-llm, which Retell cannot test: leave tests out",
        ),
        (
            {"response_engine": {"type": "retell-llm", "llm_id": "llm_1"}},
            "does not say which version of llm_1 it has: leave tests out",
        ),
    ],
)
def test_an_engine_that_cannot_be_tested_is_refused(document: Any, said: str) -> None:
    found = planned(with_tests(), Retell("case_a"), tried={"canary": version(7, document=document)})
    assert (found.arms, found.problems) == ([], [f"tests: canary: {AGENT} version 7 {said}"])


def test_cases_that_do_not_exist_and_engines_without_any_are_refused() -> None:
    assert planned(with_tests(cases=["case_a", "case_x"]), Retell("case_a")).problems == [
        (
            f"tests: case_x is not a test case of canary's response engine {LLM}: it does not exist, or belongs to another "
            "engine; copy its id from the tests of this agent in Retell's dashboard"
        )
    ]
    assert planned(with_tests(), Retell()).problems == [
        f"tests: canary's response engine {LLM} has no test case: make one in Retell's dashboard, or leave tests out"
    ]
    assert planned(with_tests(), None).problems == ["tests: Retell's batch tests cannot be run here; leave tests out"]


@pytest.mark.parametrize(("failure", "error"), [(DOWN, NotReachable), (NO_KEY, KeyRefused), (REFUSED, None)])
def test_cases_that_cannot_be_listed_end_it_or_are_a_problem(failure: Failure, error: type[Exception] | None) -> None:
    retell = Retell()
    retell.known = failure
    if error is None:
        said = f"tests: the test cases of {LLM} cannot be listed: no such case"
        assert planned(with_tests(max_failed=None), retell).problems == [said]
    else:
        with pytest.raises(error):
            planned(with_tests(), retell)


def test_a_comparison_runs_the_baseline_with_the_same_cases() -> None:
    compared = with_tests(max_failed=None)
    found = planned(compared, Retell("case_a"), [version(6), version(6)])
    assert [(arm.name, arm.engine.version, arm.cases) for arm in found.arms] == [
        ("canary", 7, ("case_a",)),
        ("baseline", 6, ("case_a",)),
    ]
    several = planned(compared, Retell("case_a"), [version(5), version(6)])
    assert several.problems == [
        f"tests: the numbers serve 2 versions of response engines, and a comparison needs one: {WITHOUT}"
    ]
    other = planned(compared, Retell("case_a"), [version(6, "agent_other")])
    assert other.problems == [
        "tests: canary and the baseline have different response engines, whose test cases cannot be compared: "
        + WITHOUT
    ]
    custom = planned(compared, Retell("case_a"), [version(6, document={}), version(5)])
    assert [said.startswith(f"tests: baseline: {AGENT} version 6 has no") for said in custom.problems] == [True]


# ------------------------------------------------------------------ how far they are

ARM = TestArm("canary", ResponseEngine("retell-llm", LLM, 7), ("case_a",))
RUNNING, PASSED = BatchProgress("b1", False, 0, 0, 0, 1), BatchProgress("b1", True, 1, 0, 0, 1)
FAILED = BatchProgress("b2", True, 0, 1, 0, 1)


def of(*batches: BatchProgress) -> AgentTests:
    return AgentTests((ARM,), len(batches) or 2, batches=batches)


def test_batches_that_have_ended_are_not_asked_for_again_and_failed_cases_are_shown_at_the_end() -> None:
    retell = Retell()
    retell.results = [RUNNING, FAILED]
    second = BatchProgress("b2", False, 0, 0, 0, 1)
    first = poll(retell, of(PASSED, second))
    assert isinstance(first, TestReport)
    assert (retell.looks, first.failures) == (["b2"], ())
    report = poll(retell, of(PASSED, second))
    assert isinstance(report, TestReport)
    assert report.batches == (PASSED, FAILED)
    assert [(f.arm, f.case, f.failed, f.explanation) for f in report.failures] == [
        ("canary", "Case A", 1, "it hung up")
    ]
    retell.shown = DOWN
    assert poll(retell, of(PASSED, second)) is DOWN
    retell.results = [RUNNING]
    assert isinstance(poll(retell, of(FAILED, second)), TestReport), "cases are shown when every batch has ended"
    retell.results = [DOWN]
    assert poll(retell, of(second, PASSED)) is DOWN


def by_hand(retell: Retell, **wanted: Any) -> tuple[AgentTests, list[str], float]:
    clock, told = FakeClock(), list[str]()
    tests = Tests.model_validate({"max_failed": 0.25, "runs": 2, "deadline": "1m", **wanted})
    found = run_by_hand(retell, tests, AgentTests((ARM,), 2), clock, told.append)
    return found, told, clock.boot() - 1_000


def test_tests_by_hand_begin_every_batch_and_tell_how_far_they_are() -> None:
    retell = Retell()
    retell.results = [RUNNING, PASSED, PASSED]
    found, told, seconds = by_hand(retell)
    assert retell.begun == [(("case_a",), 7)] * 2
    assert told == [f"tests: {n} of 2 runs done" for n in (0, 0, 1, 2)]
    assert found.verdict is not None
    assert (found.verdict.outcome, seconds) == (TestOutcome.PASSED, POLL)


def test_tests_by_hand_that_fail_name_the_cases() -> None:
    retell = Retell()
    retell.results = [FAILED]
    found, *_ = by_hand(retell)
    assert found.verdict is not None
    assert found.verdict.outcome is TestOutcome.FAILED
    assert found.verdict.reason.endswith(": Case A (2 of 2)")


def test_looks_that_fail_are_repeated_until_the_deadline_and_then_say_why() -> None:
    retell = Retell()
    retell.results = [DOWN, DOWN, PASSED]
    assert by_hand(retell)[2] == 2 * POLL
    retell.results = [DOWN]
    found, _, seconds = by_hand(retell)
    assert found.verdict is not None
    assert (found.verdict.outcome, found.verdict.reason) == (
        TestOutcome.UNMEASURABLE,
        "the tests had no result in time: no answer",
    )
    assert seconds == 60
    retell.results = [DOWN, RUNNING]
    found, *_ = by_hand(retell)
    assert found.verdict is not None
    assert found.verdict.reason == "the tests had no result in time: tests: 0 of 2 runs done"


@pytest.mark.parametrize(
    ("failure", "error", "said"),
    [
        (REFUSED, PreflightRefused, "the tests could not start: no such case"),
        (NO_KEY, KeyRefused, "refuses the API key"),
        (LOST, NotReachable, "the connection was closed"),
        (DOWN, NotReachable, "no answer"),
    ],
)
def test_a_batch_that_cannot_begin_ends_it(failure: Failure, error: type[Exception], said: str) -> None:
    retell = Retell()
    retell.answers = [failure]
    with pytest.raises(error, match=said):
        by_hand(retell)
    retell.answers, retell.results = [], [NO_KEY]
    with pytest.raises(KeyRefused):
        by_hand(retell)
