"""The tests of a rollout as values: the batches they need, what they amount to, and the way through JSON and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.domain.agent_tests.judgement import TestOutcome, TestVerdict
from rollout.domain.agent_tests.runs import BatchProgress, RunStatus, TestRun
from rollout.domain.agent_tests.state import AgentTests, CaseFailure, TestArm, failures_of
from rollout.domain.versions.documents import ResponseEngine
from tests.support.clock import START

NEW, OLD = ResponseEngine("retell-llm", "llm_1", 7), ResponseEngine("retell-llm", "llm_1", 6)
TWO_CASES = ("case_a", "case_b")
TESTS = AgentTests((TestArm("canary", NEW, TWO_CASES), TestArm("baseline", OLD, TWO_CASES)), 2)


def batch(number: int, passed: int = 0, failed: int = 0, errors: int = 0, complete: bool = True) -> BatchProgress:
    return BatchProgress(f"b{number}", complete, passed, failed, errors, passed + failed + errors)


def test_a_batch_for_each_run_of_each_version_in_order() -> None:
    assert [(order.arm, order.engine.version) for order in TESTS.orders] == [("canary", 7)] * 2 + [("baseline", 6)] * 2
    assert TESTS.total == 8
    begun = TESTS
    for number in range(4):
        assert begun.next_order == TESTS.orders[number]
        begun = begun.with_batches([*begun.batches, batch(number, complete=False)])
    assert begun.next_order is None
    assert not begun.is_complete


def test_more_cases_than_a_batch_takes_are_several_batches() -> None:
    many = AgentTests((TestArm("canary", NEW, tuple(f"c{i}" for i in range(1001))),), 1)
    assert [len(order.cases) for order in many.orders] == [1000, 1]


def test_the_counts_are_those_of_each_version() -> None:
    found = TESTS.with_batches([batch(1, 2), batch(2, 1, 1), batch(3, 0, 2), batch(4, 1, 0, 1)])
    assert (found.counts("canary").passed, found.counts("canary").failed) == (3, 1)
    assert (found.counts("baseline").failed, found.counts("baseline").errors) == (2, 1)
    assert found.is_complete
    assert TESTS.with_batches([batch(1, 2)]).counts("canary").passed == 2, "of those that began"


def test_a_run_that_a_batch_does_not_count_is_lost_and_not_passed() -> None:
    found = replace(TESTS, arms=TESTS.arms[:1]).with_batches([batch(1, 1), batch(2, 1)])
    assert found.judged(0.0).outcome is TestOutcome.UNMEASURABLE


@pytest.mark.parametrize(
    ("b", "c", "outcome"),
    [
        (batch(2, 2), batch(3, 2), TestOutcome.PASSED),
        (batch(2, 2), batch(3, 0, 2), TestOutcome.FAILED),
        (batch(2, 0, 0, 2), batch(3, 0, 2), TestOutcome.FAILED),
        (batch(2, 2), batch(3, 0, 0, 2), TestOutcome.UNMEASURABLE),
        (batch(2, 2), batch(3, 1, 0, complete=False), TestOutcome.RUNNING),
    ],
)
def test_of_several_variants_the_worst_decides(b: BatchProgress, c: BatchProgress, outcome: TestOutcome) -> None:
    tests = AgentTests((TestArm("b", NEW, TWO_CASES), TestArm("c", OLD, TWO_CASES)), 1).with_batches([b, c])
    assert tests.judged(0.0).outcome is outcome
    if outcome is not TestOutcome.RUNNING:
        assert tests.judged(0.0).reason.startswith("b: tests")


def test_a_version_is_held_against_the_baseline_where_the_plan_gives_no_limit() -> None:
    even = TESTS.with_batches([batch(1, 2), batch(2, 1, 1), batch(3, 2), batch(4, 1, 1)])
    found = even.judged(None)
    assert (found.outcome, found.reason) == (
        TestOutcome.PASSED,
        "tests passed: 1 of 4 runs failed; the baseline: 1 of 4 runs failed",
    )
    worse = TESTS.with_batches([batch(1, 0, 2), batch(2, 0, 2), batch(3, 2), batch(4, 2)])
    assert worse.judged(None).outcome is TestOutcome.FAILED


def test_how_far_they_are_counts_what_has_not_begun() -> None:
    assert TESTS.with_batches([batch(1, 1, 0, complete=False)]).judged(None).reason == "tests: 1 of 8 runs done"
    both = TESTS.with_batches([batch(1, 1, 1), batch(2, 0, 1, 1, complete=False)])
    assert both.judged(None).reason == "tests: 4 of 8 runs done"


def test_the_cases_that_failed_stand_in_the_reason_and_the_baselines_do_not() -> None:
    failed = tuple(CaseFailure("canary", f"case {i}", 2, "why") for i in range(6))
    tests = replace(TESTS, failures=(*failed, CaseFailure("baseline", "case x", 1, "why")))
    ended = tests.ended(TestVerdict(TestOutcome.FAILED, "tests failed"))
    assert ended.verdict is not None
    assert ended.verdict.reason == (
        "tests failed: case 0 (2 of 2), case 1 (2 of 2), case 2 (2 of 2), case 3 (2 of 2), case 4 (2 of 2) and 1 more"
    )
    five = replace(tests, failures=failed[:5]).ended(TestVerdict(TestOutcome.FAILED, "tests failed"))
    assert five.verdict is not None
    assert five.verdict.reason.endswith(", case 4 (2 of 2)")
    of_baseline = replace(tests, failures=tests.failures[-1:]).ended(TestVerdict(TestOutcome.FAILED, "tests failed"))
    assert of_baseline.verdict == TestVerdict(TestOutcome.FAILED, "tests failed")
    passed = tests.ended(TestVerdict(TestOutcome.PASSED, "tests passed"))
    assert passed.verdict is not None
    assert passed.verdict.reason == "tests passed"


def test_failures_are_by_case_the_canarys_and_the_most_frequent_first() -> None:
    def run(case: str, status: RunStatus = RunStatus.FAIL, why: str | None = "because") -> TestRun:
        return TestRun(case, f"name of {case}", status, why)

    found = failures_of(
        {
            "baseline": [run("a")],
            "canary": [run("a"), run("b", why=None), run("b"), run("c", RunStatus.PASS), run("d", RunStatus.ERROR)],
        }
    )
    assert found == (
        CaseFailure("canary", "name of b", 2, ""),
        CaseFailure("canary", "name of a", 1, "because"),
        CaseFailure("baseline", "name of a", 1, "because"),
    )


def test_of_many_failures_the_first_fifty_are_kept_and_their_texts_are_cut() -> None:
    runs = [TestRun(str(i), "n" * 201, RunStatus.FAIL, "w" * 301) for i in range(51)]
    found = failures_of({"canary": runs})
    assert len(found) == 50
    assert found[0] == CaseFailure("canary", "n" * 200, 1, "w" * 300)


def test_to_json_and_back() -> None:
    full = replace(
        TESTS.with_batches([batch(1, 1, 1)]),
        began_at=START,
        unsure=1,
        asked_at=START,
        verdict=TestVerdict(TestOutcome.FAILED, "tests failed"),
        failures=(CaseFailure("canary", "case", 1, "why"),),
    )
    assert AgentTests.from_json(full.to_json()) == full
    assert AgentTests.from_json(TESTS.to_json()) == TESTS
