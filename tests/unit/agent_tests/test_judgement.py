"""What test runs say: by a limit, by the baseline, and never passed by runs that Retell could not finish."""

import pytest

from rollout.domain.agent_tests.judgement import RunCounts, TestOutcome, judge
from rollout.domain.agent_tests.runs import BatchProgress

PASSED, FAILED, UNMEASURABLE = TestOutcome.PASSED, TestOutcome.FAILED, TestOutcome.UNMEASURABLE


def runs(passed: int, failed: int, errors: int = 0) -> RunCounts:
    return RunCounts(passed, failed, errors, passed + failed + errors)


@pytest.mark.parametrize(
    ("canary", "limit", "outcome"),
    [
        (runs(30, 0), 0.0, PASSED),
        (runs(29, 1), 0.0, FAILED),
        (runs(27, 3), 0.1, PASSED),
        (runs(26, 4), 0.1, FAILED),
        (runs(0, 30), 1.0, PASSED),
        (runs(27, 2, 1), 0.1, PASSED),  # were the error a failure, it would be 3 of 30
        (runs(27, 0, 3), 0.1, PASSED),
        (runs(26, 3, 1), 0.1, UNMEASURABLE),
        (runs(0, 29, 1), 0.1, FAILED),
        (runs(0, 0, 30), 0.1, UNMEASURABLE),
        (runs(0, 0, 30), 1.0, UNMEASURABLE),
        (runs(0, 0), 0.1, UNMEASURABLE),
    ],
)
def test_by_a_limit(canary: RunCounts, limit: float, outcome: TestOutcome) -> None:
    for baseline in (None, runs(30, 0), runs(0, 0, 30)):
        assert judge(canary, baseline, limit).outcome is outcome


@pytest.mark.parametrize(
    ("canary", "baseline", "outcome"),
    [
        (runs(30, 0), runs(30, 0), PASSED),
        (runs(28, 2), runs(30, 0), PASSED),
        (runs(15, 15), runs(15, 15), PASSED),
        (runs(0, 30), runs(0, 30), PASSED),
        (runs(30, 0), runs(15, 15), PASSED),
        (runs(0, 4), runs(4, 0), FAILED),
        (runs(0, 3), runs(3, 0), PASSED),  # three runs each are too few to know
        (runs(15, 15), runs(27, 3), FAILED),
        (runs(0, 25, 5), runs(30, 0), FAILED),
        (runs(10, 0, 20), runs(30, 0), UNMEASURABLE),
        (runs(3, 5, 2), runs(10, 0), UNMEASURABLE),
        (runs(4, 4, 2), runs(10, 0), UNMEASURABLE),
        (runs(4, 0, 6), runs(8, 0, 2), UNMEASURABLE),
        (runs(2, 8), runs(6, 2, 2), PASSED),
        (runs(0, 10), runs(0, 0, 10), UNMEASURABLE),
        (runs(0, 0, 10), runs(10, 0), UNMEASURABLE),
        (runs(10, 0), runs(0, 0, 10), UNMEASURABLE),
    ],
)
def test_by_the_baseline(canary: RunCounts, baseline: RunCounts, outcome: TestOutcome) -> None:
    assert judge(canary, baseline, None).outcome is outcome


def test_errors_never_turn_a_verdict_into_passed() -> None:
    for failed in range(11):
        before = judge(runs(10 - failed, failed), runs(10, 0), None).outcome
        for errors in range(10 - failed + 1):
            found = judge(runs(10 - failed - errors, failed, errors), runs(10, 0), None).outcome
            assert before is not FAILED or found is not PASSED


def test_nothing_is_said_before_every_run_is_over() -> None:
    begun = RunCounts(8, 5, 1, 15, False)
    assert judge(begun, runs(15, 0), None).reason == "tests: 29 of 30 runs done"
    assert judge(begun, None, 0.0).outcome is TestOutcome.RUNNING
    with pytest.raises(ValueError, match="the baseline's runs"):
        judge(begun, None, None)


def test_the_reason_has_the_figures() -> None:
    assert judge(runs(26, 4), None, 0.1).reason == "tests failed: 4 of 30 runs failed; 0.1 of them may fail"
    words = judge(runs(10, 0, 20), runs(30, 0), None).reason
    assert "0 of 30 runs failed, 20 ended in an error at Retell; the baseline: 0 of 30 runs failed" in words


def test_batches_of_one_version_count_together_and_missing_runs_are_errors() -> None:
    assert RunCounts.of([BatchProgress("a", True, 2, 1, 0, 3), BatchProgress("b", False, 1, 0, 1, 3)]) == RunCounts(
        3, 1, 1, 6, False
    )
    assert RunCounts.of([BatchProgress("a", True, 2, 0, 0, 3)]) == RunCounts(2, 0, 1, 3)
    assert RunCounts.of([]) == RunCounts()
