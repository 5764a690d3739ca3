"""The facts of a decision: what the store, the gates, the calendar and Retell say about one rollout now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from rollout.domain.decide.facts import Facts, Opening, TestReport
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure
from rollout.domain.writes.drift import NumberScan
from rollout.engine.agent_tests import poll
from rollout.engine.failures import unreachable
from rollout.engine.ports import BatchTests, GateJudge, GateReport, OpeningHours, Rollouts
from rollout.engine.version_lookup import VersionCheck, VersionLookup
from rollout.engine.write_protocol import BatchWrite, Timing


@dataclass
class Pass:
    """One pass over a rollout: its state, and what its own actions have found out so far."""

    rollout: Rollout
    scan: NumberScan | None = None
    trouble: str | None = None
    key_refused: bool = False
    retry_after: float | None = None
    stepped: bool = False
    restored: bool = False
    tests: TestReport | None = None
    tests_refused: str | None = None

    def take(self, batch: BatchWrite) -> None:
        """Apply what one batch did; another one may have begun from the same snapshot before it."""
        for change in batch.changes:
            self.rollout = change.applied_to(self.rollout, batch.rollout.updated_at)
        if batch.scan is not None:
            self.scan = batch.scan if self.scan is None else self.scan.merged(batch.scan)
        self.trouble = self.trouble or batch.trouble
        self.key_refused = self.key_refused or batch.key_refused
        self.retry_after = batch.retry_after or self.retry_after

    def take_failure(self, failure: Failure) -> None:
        """Note why Retell could not be asked."""
        self.trouble, self.key_refused = unreachable(failure), failure.key_refused
        self.retry_after = failure.retry_after or self.retry_after


@dataclass
class FactFinder:
    """The sources of a decision's facts; each is asked only if its answer can matter."""

    store: Rollouts
    versions: VersionLookup
    gates: GateJudge
    calendar: OpeningHours
    timing: Timing
    batch_tests: BatchTests | None = None

    def find(self, known: Pass) -> Facts:
        """The facts of this moment."""
        r, now = known.rollout, self.store.now()
        self._poll_tests(known)
        versions = self._versions(known)
        gates = self.gates.look(r, now) if _is_judged(r) else GateReport()
        if gates.verdict is not None:
            known.rollout = r = replace(r, verdict=gates.verdict)  # for the next check of this pass
        by_hours = r.phase in (Phase.PENDING, Phase.PROGRESSING)  # no other phase waits for the calendar, or on it
        return Facts(
            scan=known.scan,
            verdict=gates.verdict,
            canary_calls=gates.canary_calls,
            opening=self.calendar.opening(r, now) if by_hours else Opening(),
            hold_until=self.calendar.hold_until(r) if by_hours else None,
            stood=self.calendar.stood(r, now) if by_hours else None,
            canary_gone=versions.canary_gone,
            baseline_gone=versions.baseline_gone,
            trouble=versions.trouble,
            key_refused=versions.key_refused,
            retry_after=known.retry_after,
            stepped=known.stepped,
            tags=self._tags(known),
            tests=known.tests,
            tests_refused=known.tests_refused,
            after_promoted=self._predecessor_promoted(r),
            poll=timedelta(seconds=self.timing.poll),
            watch=timedelta(seconds=self.timing.watch),
        )

    def _poll_tests(self, known: Pass) -> None:
        """Once in a pass, when every batch has begun."""
        r = known.rollout
        if r.phase is not Phase.PENDING or r.tests is None or self.batch_tests is None:
            return
        tests = r.tests
        if known.tests is not None or known.trouble or tests.next_order is not None or tests.verdict is not None:
            return
        found = poll(self.batch_tests, tests)
        if isinstance(found, TestReport):
            known.tests = found
        else:
            known.take_failure(found)

    def _versions(self, known: Pass) -> VersionCheck:
        """P1: the versions are looked up before a step is written, unless Retell is in trouble anyway."""
        r = known.rollout
        if r.phase is Phase.PROGRESSING and r.outstanding and not known.trouble:
            return self.versions.check(r)
        return VersionCheck(known.trouble, known.key_refused)

    def _tags(self, known: Pass) -> tuple[BaselineTag, ...]:
        r = known.rollout
        watched = r.tags and r.phase in (Phase.PROGRESSING, Phase.PAUSED) and not known.trouble
        return self.versions.tags(r) if watched else ()

    def _predecessor_promoted(self, r: Rollout) -> bool | None:
        if r.phase is not Phase.PENDING or r.plan.after is None:
            return None
        return self.store.was_promoted(r.plan.after)


def _is_judged(r: Rollout) -> bool:
    return r.started_at is not None and r.phase.is_live and r.phase is not Phase.ROLLING_BACK
