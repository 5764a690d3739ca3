"""Test cases of a response engine, batches of simulated runs, and what became of each run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class TestCase:
    """A simulated conversation that Retell keeps for a response engine, whichever its version."""

    __test__ = False

    case_id: str
    name: str


class RunStatus(StrEnum):
    """The status that Retell gives a run. An error is Retell's own and proves nothing about the agent."""

    IN_PROGRESS = "in_progress"
    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of one case, with Retell's explanation of its result."""

    __test__ = False

    case_id: str
    case_name: str
    status: RunStatus
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a batch, in runs."""

    batch_id: str
    is_complete: bool
    passed: int
    failed: int
    errors: int
    total: int

    @property
    def done(self) -> int:
        """The number of runs that ended, whatever their result."""
        return self.passed + self.failed + self.errors
