"""The tests of one rollout as values: what runs on which version, the batches that began, and the result.

Kept as JSON in the rollout's row. A batch runs each of its cases once, so that as many batches as the plan has runs
begin for each version, one after the other, in the order of `orders`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rollout.domain.agent_tests.judgement import RunCounts, TestOutcome, TestVerdict, judge
from rollout.domain.agent_tests.runs import BatchProgress, RunStatus, TestRun
from rollout.domain.versions.documents import ResponseEngine

MOST_CASES = 1000
"""Test cases of one batch, as Retell takes them."""
MOST_FAILURES = 50
LONGEST_EXPLANATION = 300
BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class TestArm:
    """A version that is tested: an arm of the plan, or the baseline."""

    __test__ = False

    name: str
    engine: ResponseEngine
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """A batch to begin: these cases once, on this version."""

    arm: str
    engine: ResponseEngine
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that failed on a version in so many runs, with Retell's explanation of the first."""

    arm: str
    case: str
    failed: int
    explanation: str


@dataclass(frozen=True, slots=True)
class AgentTests:
    """The tests of one rollout. `batches` are the first of `orders`, as far as each was when it was last recorded.

    `unsure` counts requests for a batch whose answer never came, the last one at `asked_at`: each may have begun a
    batch that nobody counts.
    """

    arms: tuple[TestArm, ...]
    runs: int
    began_at: datetime | None = None
    batches: tuple[BatchProgress, ...] = ()
    unsure: int = 0
    asked_at: datetime | None = None
    verdict: TestVerdict | None = None
    failures: tuple[CaseFailure, ...] = ()

    @property
    def orders(self) -> tuple[BatchOrder, ...]:
        """Every batch that is needed."""
        return tuple(
            BatchOrder(arm.name, arm.engine, arm.cases[first : first + MOST_CASES])
            for arm in self.arms
            for _ in range(self.runs)
            for first in range(0, len(arm.cases), MOST_CASES)
        )

    @property
    def next_order(self) -> BatchOrder | None:
        """The next batch to begin; None: all have begun."""
        orders = self.orders
        return orders[len(self.batches)] if len(self.batches) < len(orders) else None

    @property
    def is_complete(self) -> bool:
        """True if every batch began and ended."""
        return self.next_order is None and all(batch.is_complete for batch in self.batches)

    @property
    def total(self) -> int:
        """Runs of all versions together."""
        return sum(len(order.cases) for order in self.orders)

    @property
    def progress(self) -> str:
        """Their progress, for people."""
        return f"tests: {sum(batch.done for batch in self.batches)} of {self.total} runs done"

    def with_batches(self, batches: Iterable[BatchProgress]) -> AgentTests:
        """The tests with this progress of their first batches. If a batch does not count a run, Retell lost it."""
        counted = (
            replace(batch, total=max(batch.total, len(order.cases)))
            for batch, order in zip(batches, self.orders, strict=False)
        )
        return replace(self, batches=tuple(counted))

    def counts(self, arm: str) -> RunCounts:
        """The runs of one version."""
        return RunCounts.of(b for b, order in zip(self.batches, self.orders, strict=False) if order.arm == arm)

    def judged(self, max_failed: float | None) -> TestVerdict:
        """The verdict on all versions that are tried: the worst of them."""
        if not self.is_complete:
            return TestVerdict(TestOutcome.RUNNING, self.progress)
        names = [arm.name for arm in self.arms]
        tried = [name for name in names if name != BASELINE]
        baseline = self.counts(BASELINE) if BASELINE in names else None
        verdicts = {name: judge(self.counts(name), baseline, max_failed) for name in tried}
        worst = min(verdicts.values(), key=lambda verdict: _WORST_FIRST.index(verdict.outcome)).outcome
        said = [f"{name}: {v.reason}" if len(tried) > 1 else v.reason for name, v in verdicts.items()]
        return TestVerdict(worst, "; ".join(said))

    def ended(self, verdict: TestVerdict) -> AgentTests:
        """The tests with their verdict, whose reason names the cases that failed."""
        if verdict.outcome is not TestOutcome.FAILED or not (found := [f for f in self.failures if f.arm != BASELINE]):
            return replace(self, verdict=verdict)
        cases = ", ".join(f"{f.case} ({f.failed} of {self.runs})" for f in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return replace(self, verdict=TestVerdict(verdict.outcome, f"{verdict.reason}: {cases}{more}"))

    # -------------------------------------------------------------- as JSON

    def to_json(self) -> dict[str, Any]:
        """For the rollout's row and its journal."""
        return {
            "arms": [{"name": a.name, "engine": a.engine.to_json(), "cases": list(a.cases)} for a in self.arms],
            "runs": self.runs,
            "began_at": _text(self.began_at),
            "batches": [
                {
                    "id": b.batch_id,
                    "complete": b.is_complete,
                    "passed": b.passed,
                    "failed": b.failed,
                    "errors": b.errors,
                    "total": b.total,
                }
                for b in self.batches
            ],
            "unsure": self.unsure,
            "asked_at": _text(self.asked_at),
            "outcome": None if self.verdict is None else str(self.verdict.outcome),
            "reason": None if self.verdict is None else self.verdict.reason,
            "failures": [
                {"arm": f.arm, "case": f.case, "failed": f.failed, "explanation": f.explanation} for f in self.failures
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AgentTests:
        """The inverse of to_json."""
        return cls(
            arms=tuple(TestArm(a["name"], _engine(a["engine"]), tuple(a["cases"])) for a in document["arms"]),
            runs=document["runs"],
            began_at=_moment(document["began_at"]),
            batches=tuple(
                BatchProgress(b["id"], b["complete"], b["passed"], b["failed"], b["errors"], b["total"])
                for b in document["batches"]
            ),
            unsure=document["unsure"],
            asked_at=_moment(document["asked_at"]),
            verdict=None
            if document["outcome"] is None
            else TestVerdict(TestOutcome(document["outcome"]), document["reason"]),
            failures=tuple(CaseFailure(**item) for item in document["failures"]),
        )


_WORST_FIRST = (TestOutcome.FAILED, TestOutcome.UNMEASURABLE, TestOutcome.RUNNING, TestOutcome.PASSED)


def failures_of(runs: Mapping[str, Sequence[TestRun]]) -> tuple[CaseFailure, ...]:
    """The cases that failed, by arm of the runs, those that failed most often first; at most fifty."""
    found: dict[tuple[str, str], CaseFailure] = {}
    for arm, its_runs in runs.items():
        for run in its_runs:
            if run.status is not RunStatus.FAIL:
                continue
            first = CaseFailure(arm, run.case_name[:200], 0, (run.explanation or "")[:LONGEST_EXPLANATION])
            known = found.setdefault((arm, run.case_id), first)
            found[arm, run.case_id] = replace(known, failed=known.failed + 1)
    return tuple(sorted(found.values(), key=lambda f: (f.arm == BASELINE, -f.failed))[:MOST_FAILURES])


def _engine(document: Mapping[str, Any]) -> ResponseEngine:
    found = ResponseEngine.of({"response_engine": document})
    assert found is not None
    return found


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
