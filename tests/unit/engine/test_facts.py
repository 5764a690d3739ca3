"""The facts of one pass: which source is asked, and with what."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from rollout.domain.agent_tests.judgement import TestOutcome, TestVerdict
from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.agent_tests.state import AgentTests, TestArm
from rollout.domain.decide.facts import Opening, TestReport
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure, Trouble
from rollout.domain.writes.drift import NumberScan
from rollout.domain.writes.protocol import Finding
from rollout.engine.facts import FactFinder, Pass
from rollout.engine.ports import GateReport
from rollout.engine.version_lookup import VersionCheck
from rollout.engine.write_protocol import BatchWrite, Timing
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, plan, rollout, said

CLOSED = Opening(False, None, "closed")
HOLD, STOOD = START + timedelta(hours=2), timedelta(hours=1)
TAG = BaselineTag(AGENT, "prod", 6)
ARM = TestArm("canary", ResponseEngine("retell-llm", "llm_1", 7), ("case_a", "case_b"))
TESTS = AgentTests((ARM,), 1, batches=(BatchProgress("b1", False, 0, 0, 0, 2),))


class Sources:
    """Store, gates and calendar in one; `judged` are the verdicts that the gates were shown."""

    def __init__(self) -> None:
        self.judged: list[GateVerdict | None] = []
        self.counted: int | None = 5
        self.polled: list[str] = []
        self.progress_: Any = BatchProgress("b1", False, 1, 0, 0, 2)
        self.checked: list[str] = []

    def now(self) -> datetime:
        return START

    def check(self, r: Rollout) -> VersionCheck:
        self.checked.append(r.id)
        return VersionCheck()

    def look(self, r: Rollout, now: datetime) -> GateReport:
        self.judged.append(r.verdict)
        return GateReport(said("undecided", f"look {len(self.judged)}"), self.counted)

    def opening(self, r: Rollout, now: datetime) -> Opening:
        return CLOSED

    def hold_until(self, r: Rollout) -> datetime:
        return HOLD

    def stood(self, r: Rollout, now: datetime) -> timedelta:
        return STOOD

    def was_promoted(self, name: str) -> bool:
        return name == "first"

    def tags(self, r: Rollout) -> tuple[BaselineTag, ...]:
        return (TAG,)

    def progress(self, batch_id: str) -> Any:
        self.polled.append(batch_id)
        return self.progress_


def finder(sources: Sources) -> FactFinder:
    every = cast(Any, sources)
    return FactFinder(every, every, every, every, Timing(poll=7, watch=40), every)


def test_a_second_look_of_a_pass_goes_on_from_the_first() -> None:
    sources = Sources()
    known = Pass(rollout(confirmed_at=START, targets=(confirmed(),)))
    for _ in range(2):
        finder(sources).find(known)
    assert sources.judged == [None, said("undecided", "look 1")]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("trouble", [None, "503"])
def test_versions_are_looked_up_before_a_step_is_written(phase: Phase, trouble: str | None) -> None:
    for target, missing in ((confirmed(), False), (confirmed(step=0), True)):
        sources = Sources()
        finder(sources).find(Pass(rollout(phase=phase, confirmed_at=START, targets=(target,)), trouble=trouble))
        assert bool(sources.checked) is (phase is Phase.PROGRESSING and missing and trouble is None)


@pytest.mark.parametrize("phase", Phase)
def test_the_calendar_is_asked_only_by_what_waits_for_it(phase: Phase) -> None:
    known = Pass(rollout(phase=phase, confirmed_at=START, targets=(confirmed(),)))
    facts = finder(Sources()).find(known)
    assert (facts.opening is CLOSED) is (phase in (Phase.PENDING, Phase.PROGRESSING))


def test_the_hours_of_a_hold_are_asked_for_with_the_opening() -> None:
    facts = finder(Sources()).find(Pass(rollout(confirmed_at=START, targets=(confirmed(),))))
    assert (facts.hold_until, facts.stood) == (HOLD, STOOD)
    facts = finder(Sources()).find(Pass(rollout(phase=Phase.PAUSED, confirmed_at=START)))
    assert (facts.hold_until, facts.stood, facts.opening) == (None, None, Opening())


def test_facts_hand_on_what_the_pass_has_found_out() -> None:
    known = Pass(rollout(), trouble="503", key_refused=True, retry_after=9.0, stepped=True, tests_refused="no")
    facts = finder(Sources()).find(known)
    assert (facts.trouble, facts.key_refused, facts.retry_after) == ("503", True, 9.0)
    assert (facts.stepped, facts.tests_refused, facts.canary_calls) == (True, "no", 5)
    assert (facts.poll, facts.watch) == (timedelta(seconds=7), timedelta(seconds=40))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("began", [True, False])
def test_the_gates_judge_what_has_begun_and_is_live(phase: Phase, began: bool) -> None:
    sources = Sources()
    finder(sources).find(Pass(rollout(phase=phase, started_at=START if began else None)))
    live = phase in (Phase.PROGRESSING, Phase.PAUSED, Phase.HELD, Phase.PENDING)
    assert bool(sources.judged) is (began and live)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(("tags", "trouble"), [((TAG,), None), ((TAG,), "503"), (None, None)])
def test_tags_are_watched_while_the_baseline_serves_callers(phase: Phase, tags: Any, trouble: str | None) -> None:
    facts = finder(Sources()).find(Pass(rollout(phase=phase, tags=tags), trouble=trouble))
    watched = phase in (Phase.PROGRESSING, Phase.PAUSED) and tags is not None and trouble is None
    assert facts.tags == ((TAG,) if watched else ())


@pytest.mark.parametrize(
    ("phase", "after", "promoted"),
    [
        (Phase.PENDING, "first", True),
        (Phase.PENDING, "other", False),
        (Phase.PENDING, None, None),
        (Phase.PROGRESSING, "first", None),
    ],
)
def test_a_rollout_that_waits_for_another_asks_whether_that_was_promoted(
    phase: Phase, after: str | None, promoted: bool | None
) -> None:
    facts = finder(Sources()).find(Pass(rollout(phase=phase, plan=plan(after=after))))
    assert facts.after_promoted is promoted


# ------------------------------------------------------------------ tests of the agent


def test_tests_are_asked_for_once_in_a_pass() -> None:
    sources = Sources()
    known = Pass(rollout(phase=Phase.PENDING, tests=TESTS))
    for _ in range(2):
        facts = finder(sources).find(known)
    assert facts.tests == TestReport((sources.progress_,))
    assert sources.polled == ["b1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": Phase.PROGRESSING},
        {"tests": None},
        {"tests": replace(TESTS, runs=2)},
        {"tests": replace(TESTS, verdict=TestVerdict(TestOutcome.PASSED, "all passed"))},
        {"trouble": "503"},
    ],
    ids=["has begun", "no tests", "a batch has not begun", "judged", "trouble"],
)
def test_tests_are_asked_for_only_when_every_batch_has_begun_and_none_is_judged(changes: dict[str, Any]) -> None:
    sources = Sources()
    trouble = changes.pop("trouble", None)
    finder(sources).find(Pass(rollout(**{"phase": Phase.PENDING, "tests": TESTS, **changes}), trouble=trouble))
    assert sources.polled == []


def test_tests_that_cannot_be_asked_for_are_a_trouble() -> None:
    sources = Sources()
    sources.progress_ = Failure(Trouble.REJECTED, "unauthorized", 401, retry_after=4.0)
    known = Pass(rollout(phase=Phase.PENDING, tests=TESTS), retry_after=3.0)
    facts = finder(sources).find(known)
    assert (facts.trouble, facts.key_refused, facts.retry_after) == ("Retell refuses the API key (401)", True, 4.0)
    known.take_failure(Failure(Trouble.UNREACHABLE, "no answer"))
    assert (known.trouble, known.key_refused, known.retry_after) == ("Retell cannot be reached: no answer", False, 4.0)


# ------------------------------------------------------------------ what batches hand on


def test_a_pass_takes_over_what_each_batch_recorded_and_its_first_trouble() -> None:
    r = rollout(targets=(confirmed(ONE), confirmed(TWO, ord=1)))
    known = Pass(r)

    def scan(number: str) -> NumberScan:
        return NumberScan(START, {number: Finding.AS_EXPECTED}, Change())

    first = BatchWrite(r, scan(ONE), changes=(Change(rollout={"why": "one"}),), trouble="first", retry_after=3.0)
    second = BatchWrite(r, None, changes=(Change(rollout={"next": "two"}),), trouble="second", key_refused=True)
    third = BatchWrite(r, scan(TWO), retry_after=8.0)
    for batch in (first, second, third):
        known.take(batch)
    assert (known.rollout.why, known.rollout.next) == ("one", "two")
    assert known.scan is not None
    assert known.scan.findings == {ONE: Finding.AS_EXPECTED, TWO: Finding.AS_EXPECTED}
    assert (known.trouble, known.key_refused, known.retry_after) == ("first", True, 8.0)
