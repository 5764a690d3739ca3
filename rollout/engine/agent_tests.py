"""The tests of an agent on Retell: which versions and cases a plan means, one batch after the other, and their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from rollout.domain.agent_tests.judgement import TestOutcome, TestVerdict
from rollout.domain.agent_tests.runs import BatchProgress, TestRun
from rollout.domain.agent_tests.state import BASELINE, AgentTests, TestArm, failures_of
from rollout.domain.decide.facts import TestReport
from rollout.domain.errors import PreflightRefused
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.tests import Tests
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.failures import not_reachable
from rollout.engine.ports import AgentVersion, BatchTests, Clock

POLL = 2.0
"""Seconds between two looks of tests that a person runs."""
WITHOUT_COMPARISON = "write max_failed, for example 0.1, and no compare"


@dataclass
class TestPlanning:
    """The versions that a plan's tests are about, and the reasons to refuse them."""

    __test__ = False

    arms: list[TestArm] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def tests(self, plan: Plan) -> AgentTests | None:
        """The tests that will be run; None: no tests."""
        return None if plan.tests is None else AgentTests(tuple(self.arms), plan.tests.runs)


def plan_tests(
    plan: Plan, served: Iterable[AgentVersion], tried: Mapping[str, AgentVersion], batch_tests: BatchTests | None
) -> TestPlanning:
    """The arms of a plan's tests. `served` are the versions of the baselines, `tried` those of the plan by name.

    Raises NotReachable where Retell cannot be asked for its test cases.
    """
    found = TestPlanning()
    if plan.tests is None:
        return found
    if batch_tests is None:
        found.problems.append("tests: Retell's batch tests cannot be run here; leave tests out")
        return found
    listed: dict[str, frozenset[str]] = {}
    for name, version in tried.items():
        engine = _engine(name, version, found.problems)
        if engine is not None:
            cases = _cases(plan.tests, name, engine, listed, batch_tests, found.problems)
            found.arms.append(TestArm(name, engine, cases))
    if plan.tests.compares and found.arms and not found.problems:
        _add_baseline(found, served)
    return found


def _engine(name: str, version: AgentVersion, problems: list[str]) -> ResponseEngine | None:
    """The response engine that is tested in this version's place; None: it cannot be tested; the other value says why."""
    engine = ResponseEngine.of(version.document)
    what = f"tests: {name}: {version.agent_id} version {version.version}"
    if engine is None or not engine.is_kept:
        kind = "no response engine that can be read" if engine is None else f"a response engine of type {engine.kind}"
        problems.append(f"{what} has {kind}, which Retell cannot test: leave tests out")
    elif engine.version is None:
        problems.append(f"{what} does not say which version of {engine.engine_id} it has: leave tests out")
    else:
        return engine
    return None


def _cases(
    wanted: Tests,
    name: str,
    engine: ResponseEngine,
    listed: dict[str, frozenset[str]],
    batch_tests: BatchTests,
    problems: list[str],
) -> tuple[str, ...]:
    """The ids of the cases to run on this engine."""
    engine_id = str(engine.engine_id)
    if engine_id not in listed:
        found = batch_tests.cases(engine)
        if isinstance(found, Failure) and (found.key_refused or found.trouble is not Trouble.REJECTED):
            raise not_reachable(found)
        if isinstance(found, Failure):
            problems.append(f"tests: the test cases of {engine_id} cannot be listed: {found.detail}")
            return ()
        listed[engine_id] = frozenset(case.case_id for case in found)
    if wanted.cases == "all":
        if not listed[engine_id]:
            problems.append(
                f"tests: {name}'s response engine {engine_id} has no test case: make one in Retell's dashboard, or leave "
                "tests out"
            )
        return tuple(sorted(listed[engine_id]))
    assert isinstance(wanted.cases, tuple)
    problems += [
        f"tests: {case} is not a test case of {name}'s response engine {engine_id}: it does not exist, or belongs to "
        "another engine; copy its id from the tests of this agent in Retell's dashboard"
        for case in wanted.cases
        if case not in listed[engine_id]
    ]
    return wanted.cases


def _add_baseline(found: TestPlanning, served: Iterable[AgentVersion]) -> None:
    """The baseline's version, to compare with: one, whose engine has the cases of those that are tried."""
    problems: list[str] = []
    engines = {engine for version in served if (engine := _engine(BASELINE, version, problems)) is not None}
    if problems:
        found.problems += problems
    elif len(engines) != 1:
        found.problems.append(
            f"tests: the numbers serve {len(engines)} versions of response engines, and a comparison needs one: "
            f"{WITHOUT_COMPARISON}"
        )
    else:
        engine = engines.pop()
        others = [arm.name for arm in found.arms if arm.engine.engine_id != engine.engine_id]
        if others:
            found.problems.append(
                f"tests: {others[0]} and the baseline have different response engines, whose test cases cannot be "
                f"compared: {WITHOUT_COMPARISON}"
            )
        else:
            found.arms.append(TestArm(BASELINE, engine, found.arms[0].cases))


# ------------------------------------------------------------------ running them


def poll(batch_tests: BatchTests, tests: AgentTests) -> TestReport | Failure:
    """Progress of the batches that had not ended; with the cases that failed once all have. Ends at the first Failure."""
    batches: list[BatchProgress] = []
    for batch in tests.batches:
        found = batch if batch.is_complete else batch_tests.progress(batch.batch_id)
        if isinstance(found, Failure):
            return found
        batches.append(found)
    now = tests.with_batches(batches)
    if not now.is_complete:
        return TestReport(now.batches)
    runs: dict[str, list[TestRun]] = {}
    for batch, order in zip(now.batches, now.orders, strict=True):
        if not batch.failed:
            continue
        shown = batch_tests.runs(batch.batch_id)
        if isinstance(shown, Failure):
            return shown
        runs.setdefault(order.arm, []).extend(shown)
    return TestReport(now.batches, failures_of(runs))


def run_by_hand(
    batch_tests: BatchTests, wanted: Tests, tests: AgentTests, clock: Clock, told: Callable[[str], None]
) -> AgentTests:
    """Run these tests now and wait for their end; progress is reported.

    Raises NotReachable where Retell does not answer a request for a batch, and PreflightRefused where it refuses
    one; what was begun then runs to its end. Polls that fail are repeated until the deadline.
    """
    over = clock.boot() + wanted.deadline.total_seconds()
    for order in tests.orders:
        begun = batch_tests.begin(order.cases, order.engine)
        if isinstance(begun, Failure):
            if begun.trouble is Trouble.REJECTED and not begun.key_refused:
                raise PreflightRefused(f"the tests could not start: {begun.detail}")
            raise not_reachable(begun)
        tests = tests.with_batches([*tests.batches, begun])
        told(tests.progress)
    trouble = ""
    while clock.boot() < over:
        found = poll(batch_tests, tests)
        if isinstance(found, TestReport):
            tests, trouble = replace(tests, failures=found.failures).with_batches(found.batches), ""
            told(tests.progress)
            verdict = tests.judged(wanted.max_failed)
            if verdict.outcome is not TestOutcome.RUNNING:
                return tests.ended(verdict)
        elif found.key_refused:
            raise not_reachable(found)
        else:
            trouble = found.detail
        clock.sleep(POLL)
    return tests.ended(
        TestVerdict(TestOutcome.UNMEASURABLE, f"the tests had no result in time: {trouble or tests.progress}")
    )
