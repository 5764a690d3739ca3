"""The judgement on a version from finished test runs: passed, failed, or not measured.

Runs that Retell could not finish are neither: a verdict stands only if it would be the same however they had ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rollout.domain.agent_tests.runs import BatchProgress

LEVEL = 0.05
"""How often a version that is as good as the baseline may be found worse: one time in twenty, for E of 20. That is
more than the gates allow themselves, because nobody was called and the tests can be run again."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The outcomes of one version's runs; `errors` are Retell's own."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    total: int = 0
    is_complete: bool = True

    @classmethod
    def of(cls, batches: Iterable[BatchProgress]) -> RunCounts:
        """All batches of one version together; a batch that is complete without all of its runs misses some."""
        found = list(batches)
        passed, failed = sum(b.passed for b in found), sum(b.failed for b in found)
        total = sum(max(b.total, b.done) for b in found)
        complete = all(b.is_complete for b in found)
        errors = total - passed - failed if complete else sum(b.errors for b in found)
        return cls(passed, failed, errors, total, complete)

    @property
    def done(self) -> int:
        """The number of runs that ended, whatever their result."""
        return self.passed + self.failed + self.errors


class TestOutcome(StrEnum):
    """The result of the tests."""

    __test__ = False

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    UNMEASURABLE = "unmeasurable"


@dataclass(frozen=True, slots=True)
class TestVerdict:
    """The outcome and one line for people."""

    __test__ = False

    outcome: TestOutcome
    reason: str


def judge(canary: RunCounts, baseline: RunCounts | None, max_failed: float | None) -> TestVerdict:
    """One version that is tried. `max_failed` is the share of its runs that may fail; None: no more than the
    baseline's, whose runs must then be given. Raises ValueError for neither."""
    if max_failed is None and baseline is None:
        raise ValueError("without max_failed the baseline's runs are needed")
    arms = [canary] if baseline is None else [canary, baseline]
    if not all(arm.is_complete for arm in arms):
        done, total = sum(arm.done for arm in arms), sum(arm.total for arm in arms)
        return TestVerdict(TestOutcome.RUNNING, f"tests: {done} of {total} runs done")
    compared = [canary] if baseline is None or max_failed is not None else [canary, baseline]
    if any(arm.passed + arm.failed == 0 for arm in compared):
        return TestVerdict(TestOutcome.UNMEASURABLE, f"tests: no run could be judged ({_counts(canary)})")
    if max_failed is not None:
        # a margin for rounding of doubles: 3 of 30 is not above 0.1
        at_best, at_worst = (
            bad > max_failed * canary.total + 1e-9 for bad in (canary.failed, canary.failed + canary.errors)
        )
        allowed = f"{max_failed:.4g} of them may fail"
    else:
        assert baseline is not None
        at_best = _is_worse(
            canary.failed, canary.passed + canary.errors, baseline.failed + baseline.errors, baseline.passed
        )
        at_worst = _is_worse(
            canary.failed + canary.errors, canary.passed, baseline.failed, baseline.passed + baseline.errors
        )
        allowed = f"the baseline: {_counts(baseline)}"
    words = f"{_counts(canary)}; {allowed}"
    if at_best:
        return TestVerdict(TestOutcome.FAILED, f"tests failed: {words}")
    if not at_worst:
        return TestVerdict(TestOutcome.PASSED, f"tests passed: {words}")
    return TestVerdict(TestOutcome.UNMEASURABLE, f"tests: too many runs ended in an error at Retell: {words}")


def _is_worse(canary_bad: int, canary_fine: int, baseline_bad: int, baseline_fine: int) -> bool:
    """True if a version is worse, by the gates' evidence and at the share of runs that the canary had."""
    from rollout.domain.gates import evidence

    share = (canary_bad + canary_fine) / (canary_bad + canary_fine + baseline_bad + baseline_fine)
    ln_e = float(evidence.log_e([[canary_bad, canary_fine, baseline_bad, baseline_fine]], (share,)))
    return ln_e >= -math.log(LEVEL)


def _counts(arm: RunCounts) -> str:
    text = f"{arm.failed} of {arm.total} runs failed"
    return text + (f", {arm.errors} ended in an error at Retell" if arm.errors else "")
