"""Everything that the driver finds out before it asks what to do: the second argument of decide(rollout, facts, now)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.agent_tests.state import CaseFailure
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.drift import NumberScan


@dataclass(frozen=True, slots=True)
class Opening:
    """The calendar now: open or closed; `until` is when that changes, if it ever does."""

    is_open: bool = True
    until: datetime | None = None
    why: str = ""
    retreat_to: int | None = None  # basis points to hold while closed, if the plan retreats
    retreat_why: str = ""  # until when and why, for people: "until Mon 09:00 (outside the plan's hours)"


@dataclass(frozen=True, slots=True)
class TestReport:
    """The progress of each batch that began and, once all are complete, which cases failed."""

    __test__ = False

    batches: tuple[BatchProgress, ...]
    failures: tuple[CaseFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one decision. None always means: not known."""

    scan: NumberScan | None = None
    verdict: GateVerdict | None = None
    canary_calls: int | None = None
    opening: Opening = field(default_factory=Opening)
    hold_until: datetime | None = None  # of the position, by the plan's calendar
    stood: timedelta | None = None  # of a hold in open hours: open time since it counts; None: elapsed time
    canary_gone: str | None = None  # a sentence, when a version the plan tries is known to be gone
    baseline_gone: str | None = None
    trouble: str | None = None  # what went wrong with Retell in this pass
    key_refused: bool = False  # it is the API key
    retry_after: float | None = None
    stepped: bool = False  # this pass has written a step already
    tags: tuple[BaselineTag, ...] = ()  # of the baseline, as they point now
    tests: TestReport | None = None
    tests_refused: str | None = None  # why Retell refuses to begin a batch of tests
    after_promoted: bool | None = None  # the rollout this one waits for
    poll: timedelta = timedelta(seconds=5)
    watch: timedelta = timedelta(seconds=30)
    longest_pause: timedelta = timedelta(seconds=30)

    def held_up_by(self, otherwise: WaitingFor = WaitingFor.RETELL) -> WaitingFor:
        """The reason of a wait, if there is a trouble; else `otherwise`."""
        if self.key_refused:
            return WaitingFor.KEY
        return otherwise if self.trouble is None else WaitingFor.RETELL
