"""The engine's ports: all that it needs from the world, as Protocols and plain values.

The driver and the commands see adapters only through this file. Nothing here does I/O. A little over 300 lines: an
author of an adapter or a fake finds everything that it must do in one place. The unit is a batch of numbers, so that
concurrency and its limits live in the adapter and the driver runs step by step, also under a simulated scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, Self

from rollout.domain.agent_tests.runs import BatchProgress, TestCase, TestRun
from rollout.domain.calls import CallDetails, CallRecord, FetchMark
from rollout.domain.decide.actions import Wait
from rollout.domain.decide.facts import Opening
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.gates.weight_events import WeightEvent
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.entries import CommandGiven, PreflightSummary
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim, CommandEffect, JournalEntry, Request
from rollout.domain.lifecycle.started import NO_FINDINGS, StartedRollout
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.plan.calendar import Calendar
from rollout.domain.request_budget import RequestTurns
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Answer, Failure, Order, Reading


class Clock(Protocol):
    """The time. `now` is for people and records, `boot` for deadlines inside one process."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def boot(self) -> float:
        """Seconds on a clock that never jumps and that counts time spent suspended."""
        ...

    def sleep(self, seconds: float) -> None: ...


# ------------------------------------------------------------------ what Retell shows


class NumberSession(Protocol):
    """Open connections for one batch of numbers. A session never opens a connection during a write.

    Use as a context manager. `read` leaves, for every number it could read, an open connection
    behind on which `write` will send; a server that closes after each answer gets a fresh
    connection opened at the end of `read`, before the caller records its intents.
    """

    def read(self, numbers: Sequence[str], *, to_write: bool = False) -> dict[str, Reading | Failure]:
        """GET each number once; `to_write`: with its ETag, where Retell has them. No single number's trouble raises."""
        ...

    def write(
        self,
        orders: Sequence[Order],
        *,
        send_by: float,
        stop: Callable[[], bool],
        when_nearly_done: Callable[[], None] | None = None,
    ) -> dict[str, Answer]:
        """Send each order exactly once, on a connection that was open before.

        No byte leaves after `send_by` (seconds of Clock.boot) or once `stop()` is true: such an
        order comes back as UNREACHABLE: it was certainly not sent. `when_nearly_done` may be called, at most once and in
        any thread, once few orders are left and none so far was refused or failed.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """One version of an agent as get-agent shows it, as far as pre-flight needs it."""

    agent_id: str
    version: int
    is_published: bool
    is_suspended: bool = False
    agent_name: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The whole answer, for comparing versions; empty: not known."""


class PhoneNumbers(Protocol):
    """The numbers of one Retell workspace."""

    def session(self, numbers: Sequence[str], *, urgent: bool = False) -> NumberSession:
        """Open connections for these numbers. `urgent` (a rollback) goes before everything else."""
        ...

    def all(self) -> Iterator[Reading | Failure]:
        """Every number of the workspace by the paged list; a Failure ends the iteration."""
        ...


class Agents(Protocol):
    """Agents and their versions."""

    def version(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        """One version (a number, a tag, or None for the latest)."""
        ...


class ResponseEngines(Protocol):
    """The response engines behind the agents."""

    def engine(self, engine: ResponseEngine) -> Mapping[str, Any] | Failure:
        """One version of an engine that Retell keeps, as it shows it (`ResponseEngine.is_kept`)."""
        ...


class AgentRoots(Protocol):
    """The tags of agents."""

    def tags(self, agent_id: str) -> Mapping[str, Any] | Failure | None:
        """Each tag with what Retell shows of it (`version`, `dynamic_variables`); None: it shows no agent roots."""
        ...


class BatchTests(Protocol):
    """Simulated conversations that Retell runs with one version of a response engine that it keeps."""

    def cases(self, engine: ResponseEngine) -> tuple[TestCase, ...] | Failure: ...

    def begin(self, case_ids: Sequence[str], engine: ResponseEngine) -> BatchProgress | Failure:
        """One run of each case, 1 to 1000 of them. A Failure that is UNKNOWN may still have begun a batch."""
        ...

    def progress(self, batch_id: str) -> BatchProgress | Failure: ...

    def runs(self, batch_id: str) -> tuple[TestRun, ...] | Failure: ...


class Calls(Protocol):
    """Calls and chats that a number handled."""

    def since(
        self, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
    ) -> Iterator[CallRecord | Failure]:
        """Calls of this number and channel that started at or after `since`, oldest first,
        filtered again on our side; a Failure ends the iteration."""
        ...

    def details(self, call_id: str) -> CallDetails | Failure:
        """Details that only the call itself shows; nothing known of it where Retell has no such call (404)."""
        ...


# ------------------------------------------------------------------ what the core keeps


@dataclass(frozen=True, slots=True)
class NumberOwner:
    """The live rollout that drives a number."""

    rollout_id: str
    name: str
    phase: str


class Rollouts(Protocol):
    """The store. Each method is one transaction, committed when it returns.

    Everything that records for a driver raises ClaimLost, and records nothing, once its epoch is gone.
    """

    def now(self) -> datetime:
        """The moment that due times, leases and horizons are measured by."""
        ...

    def claim(
        self, owner: str, lease: timedelta, limit: int = 1, only: str | None = None, urgent_only: bool = False
    ) -> list[Claim]: ...

    def load(self, rollout_id: str) -> tuple[Rollout, datetime]: ...

    def commit(
        self, claim: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime: ...

    def add_targets(self, claim: Claim, added: Sequence[Target], change: Change, entry: JournalEntry) -> datetime: ...

    def record_outcomes(self, rollout_id: str, change: Change, entry: JournalEntry) -> None: ...

    def release(self, claim: Claim, wait: Wait, tries: int = 0) -> bool:
        """Release the claim; the rollout is due again when the wait ends. False if the claim was lost meanwhile."""
        ...

    def answered(self, request: Request) -> StartedRollout | None:
        """The answer that this request for a start was given before, if any."""
        ...

    def create(
        self,
        make: Callable[[datetime], tuple[Rollout, JournalEntry]],
        request: Request | None,
        preflight: PreflightSummary = NO_FINDINGS,
    ) -> StartedRollout: ...

    def change(
        self,
        rollout_id: str,
        command: Callable[[Rollout, datetime], CommandEffect | None],
        request: Request | None = None,
        *,
        urgent: bool = False,
    ) -> CommandGiven:
        """Record a command; the answer says where the rollout stands afterwards."""
        ...

    def drivers(self, numbers: Sequence[str]) -> dict[str, NumberOwner]:
        """Those of these numbers that a live rollout drives, with that rollout."""
        ...

    def live_named(self, name: str) -> str | None:
        """The id of the live rollout of this name, if there is one."""
        ...

    def was_promoted(self, name: str) -> bool: ...

    def writers(self, number: str) -> list[tuple[str, Phase]]:
        """Ids and phases of the rollouts that have written this number, newest first."""
        ...


# ------------------------------------------------------------------ the account's limits


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The state of the limits: processes that share them, what 429s have left of them (above 0, at most 1), and for
    how many seconds forward work still pauses."""

    services: int = 1
    left: float = 1.0
    pause: float = 0.0


class AccountLimits(Protocol):
    """The limit of all processes' requests to Retell. Raises NotReachable when the database is."""

    def take(self, count: int, rate: float, *, urgent: bool) -> RequestTurns:
        """Reserve this many requests at the account's `rate` a second; rollbacks (`urgent`) do not wait for steps."""
        ...

    def throttled(self, pause: float) -> None:
        """Tell all processes that Retell answered 429, so that their forward work pauses for so many seconds."""
        ...

    def state(self) -> BudgetState: ...


# ------------------------------------------------------------------ what the core is told


@dataclass(frozen=True, slots=True)
class StoredCalls:
    """The stored calls of a rollout at one moment.

    calls: those since it began, oldest first. weight_events: the journal entries at which a weight became live or
    stopped being live, oldest first. marks: by number and channel.
    """

    calls: Sequence[CallRecord]
    weight_events: Sequence[WeightEvent]
    marks: Mapping[tuple[str, str], FetchMark]


class GateRecords(Protocol):
    """The records that gates read and store. Each method is one transaction. Only for rollouts that have begun."""

    def stored_calls(self, rollout: Rollout) -> StoredCalls: ...

    def calls_before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
        """The calls of its numbers and channels in the `span` before it began, oldest first."""
        ...

    def fix_history(self, rollout_id: str, history: BaselineHistory) -> BaselineHistory:
        """Store the baseline's history unless one is stored already; return the stored one."""
        ...

    def keep_look(self, rollout: Rollout, verdict: GateVerdict, at: datetime) -> None:
        """Store a gate check, and make its verdict the rollout's."""
        ...


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gates' report on a rollout at one moment; None: no gates, or not asked."""

    verdict: GateVerdict | None = None
    canary_calls: int | None = None


class GateJudge(Protocol):
    """A judge of rollouts by the calls seen so far."""

    def look(self, rollout: Rollout, now: datetime) -> GateReport: ...


class OpeningHours(Protocol):
    """The hours in which steps may advance."""

    def opening(self, rollout: Rollout, now: datetime) -> Opening: ...

    def hold_until(self, rollout: Rollout) -> datetime | None:
        """The end of the confirmed position's hold; None: by elapsed time alone."""
        ...

    def stood(self, rollout: Rollout, now: datetime) -> timedelta | None:
        """Open time that the hold has counted since it last began to; None: by elapsed time alone."""
        ...


class SharedCalendars(Protocol):
    """The calendars that plans name."""

    @property
    def place(self) -> str:
        """The place where they are written, for messages."""
        ...

    def load(self) -> Mapping[str, Calendar]:
        """Every calendar by name; InputError when they cannot be read."""
        ...

    def last_read(self, name: str) -> Calendar | None:
        """The calendar as it was read last; None: never."""
        ...
