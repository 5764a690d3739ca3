"""The facts of one pass: which source is asked, and with what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pytest

from rollout.domain.decide.facts import Opening
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.facts import FactFinder, Pass
from rollout.engine.ports import GateReport
from rollout.engine.version_lookup import VersionCheck
from rollout.engine.write_protocol import Timing
from tests.support.clock import START
from tests.support.values import confirmed, rollout, said

CLOSED = Opening(False, None, "closed")


class Sources:
    """Store, gates and calendar in one; `judged` are the verdicts that the gates were shown."""

    def __init__(self) -> None:
        self.judged: list[GateVerdict | None] = []

        self.checked: list[str] = []

    def now(self) -> datetime:
        return START

    def check(self, r: Rollout) -> VersionCheck:
        self.checked.append(r.id)
        return VersionCheck()

    def look(self, r: Rollout, now: datetime) -> GateReport:
        self.judged.append(r.verdict)
        return GateReport(said("undecided", f"look {len(self.judged)}"), 5)

    def opening(self, r: Rollout, now: datetime) -> Opening:
        return CLOSED

    def hold_until(self, r: Rollout) -> None:
        return None

    def stood(self, r: Rollout, now: datetime) -> None:
        return None


def finder(sources: Sources) -> FactFinder:
    every = cast(Any, sources)
    return FactFinder(every, every, every, every, Timing())


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
