"""The store as the core sees it: each method is one transaction. Calls, heartbeats and pruning are parts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import exc

from rollout.adapters.store import claims, journal, key_values, queries, rollout_names, rollouts
from rollout.adapters.store import requests as request_ids
from rollout.adapters.store.disk_reserve import GIVEN_BACK, DiskReserve
from rollout.adapters.store.engine import Database
from rollout.adapters.store.heartbeats import Heartbeats
from rollout.adapters.store.observations import ObservationTable
from rollout.adapters.store.pruning import Pruning
from rollout.adapters.store.snapshots import Snapshots
from rollout.domain.decide.actions import Wait
from rollout.domain.errors import DiskFull, NotReachable, Refused, TransactionEnded
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.entries import CommandGiven, PreflightSummary
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim, CommandEffect, JournalEntry, Request
from rollout.domain.lifecycle.started import NO_FINDINGS, StartedRollout
from rollout.domain.lifecycle.state import Kind, Rollout, Target
from rollout.domain.lifecycle.waiting import at_rest
from rollout.engine.ports import NumberOwner

PAGE = 500  # rollouts read at a time
T = TypeVar("T")
_Make = Callable[[datetime], tuple[Rollout, JournalEntry]]
_Command = Callable[[Rollout, datetime], CommandEffect | None]


class Store:
    """Implementation of rollout.engine.ports.Rollouts on a Database."""

    def __init__(self, database: Database, ballast_megabytes: float = 0.0) -> None:
        self.database = database
        self.snapshots = Snapshots()
        self.disk_reserve = DiskReserve(database, ballast_megabytes)
        self.calls = ObservationTable(database)
        self.heartbeats = Heartbeats(database)
        self.pruning = Pruning(database)

    def now(self) -> datetime:
        return self.database.now()

    # -------------------------------------------------------------- driving

    def claim(
        self, owner: str, lease: timedelta, limit: int = 1, only: str | None = None, urgent_only: bool = False
    ) -> list[Claim]:
        if not (urgent_only or only is not None):
            self.database.require_same()

        def take() -> list[Claim]:
            with self.database.write(urgent=urgent_only or only is not None) as connection:
                now = self.database.now(connection)
                return claims.claim(connection, owner, now, lease, limit, only, urgent_only)

        return self._recorded(take, rollback=urgent_only)

    def _recorded(self, do: Callable[[], T], *, rollback: bool = False) -> T:
        """Call `do`, one transaction; once more if this process stood still inside it (its machine was suspended).

        If the disk is full and this is a `rollback`, free the reserved space and call it again.
        """
        try:
            return do()
        except TransactionEnded:
            return do()
        except DiskFull:
            if not (rollback and self.disk_reserve.give_back()):
                raise
            return do()

    def load(self, rollout_id: str) -> tuple[Rollout, datetime]:
        with self.database.read() as connection:
            now = self.database.now(connection)
            return queries.load(connection, rollout_id, now, self.snapshots), now

    def commit(
        self, claim: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime:
        if any(w.kind is Kind.FORWARD for w in change.new_writes):
            self.database.require_same()
            if self.disk_reserve.given_back:
                raise DiskFull(GIVEN_BACK)

        ready = rollouts.recording(self.database.engine.dialect, claim.rollout_id, change, entries)
        undoes = any(w.kind is Kind.BASELINE for w in change.new_writes)

        def record() -> datetime:
            with self.database.write(urgent=undoes) as connection:
                now = self.database.now(connection)
                before, after = rollouts.commit(connection, claim, ready, now, lease=lease)
            self.snapshots.follow(claim.rollout_id, before, after, change)
            return now

        return self._recorded(record, rollback=undoes or change.rollout.get("phase") is Phase.ROLLING_BACK)

    def add_targets(self, claim: Claim, added: Sequence[Target], change: Change, entry: JournalEntry) -> datetime:
        self.database.require_same()
        with self.database.write() as connection:
            now = self.database.now(connection)
            rollouts.begin(connection, claim, added, change, entry, now)
            return now

    def record_outcomes(self, rollout_id: str, change: Change, entry: JournalEntry) -> None:
        ready = rollouts.recording(self.database.engine.dialect, rollout_id, change, [entry])
        with self.database.write() as connection:
            rollouts.record_outcomes(connection, rollout_id, ready, entry, self.database.now(connection))

    def release(self, claim: Claim, wait: Wait, tries: int = 0) -> bool:
        with self.database.write() as connection:
            return claims.release(connection, claim, wait, tries)

    def wake(self, ids: Sequence[str], *, read_numbers: bool = True) -> None:
        """Make these rollouts due now; `read_numbers`: their numbers are to be read."""
        with self.database.write() as connection:
            claims.wake(connection, ids, self.database.now(connection), read_numbers)

    def next_due_in(self) -> timedelta | None:
        """Seconds until the next rollout becomes due; not above 0: one is due."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            due = claims.next_due(connection, now)
            return None if due is None else due - now

    # -------------------------------------------------------------- commands

    def answered(self, request: Request) -> StartedRollout | None:
        with self.database.read() as connection:
            given = request_ids.first_answer(connection, request)
        return None if given is None else StartedRollout.from_json(given)

    def create(self, make: _Make, request: Request | None, preflight: PreflightSummary = NO_FINDINGS) -> StartedRollout:
        """Record a new rollout made at the store's now; the answer is its id, and the findings of pre-flight."""
        self.database.require_same()
        try:
            return self._recorded(lambda: self._create(make, request, preflight))
        except (exc.IntegrityError, Refused):
            # The same request, sent twice, may be under way twice: the second one gets the first answer.
            given = None if request is None else self.answered(request)
            if given is None:
                raise
            return given

    def _create(self, make: _Make, request: Request | None, preflight: PreflightSummary) -> StartedRollout:
        with self.database.write() as connection:
            if request is not None and (given := request_ids.first_answer(connection, request)) is not None:
                return StartedRollout.from_json(given)
            now = self.database.now(connection)
            rollout, entry = make(now)
            head = rollouts.create(connection, rollout, entry, now)
            answer = StartedRollout(rollout.id, preflight)
            if request is not None:
                request_ids.remember(connection, request, rollout.id, answer.to_json(), now)
        self.snapshots.put(rollout.id, head, rollout.targets)
        return answer

    def change(
        self, rollout_id: str, command: _Command, request: Request | None = None, *, urgent: bool = False
    ) -> CommandGiven:
        """A command on one rollout: load it, ask for the effect, and record that, under the row's lock.

        `urgent`: a rollback, which waits for no other writer of this process, for which room is kept when the disk
        is full, and whose `command` is not shown the open writes. `command` returns None when there
        is nothing to do; it raises to refuse. The answer says where the rollout stands afterwards, and is
        kept under the request's id.
        """
        if not urgent:
            self.database.require_same()  # the change would be lost; a rollback is carried out anyway
        try:
            return self._recorded(lambda: self._change(rollout_id, command, request, urgent), rollback=urgent)
        except NotReachable:
            # A stopped process may hold the row's lock: then end its session, and try once more. A rollback
            # is tried once more in any case: the server may have been restarted a moment ago.
            if not self.database.end_stuck() and not urgent:
                raise
            return self._change(rollout_id, command, request, urgent)

    def _change(self, rollout_id: str, command: _Command, request: Request | None, urgent: bool) -> CommandGiven:
        with self.database.write(urgent=urgent) as connection:
            # Under the row's lock: the same request may come twice at once.
            row = rollouts.head_row(connection, rollout_id)
            if request is not None and (stored := request_ids.first_answer(connection, request)) is not None:
                return CommandGiven.from_json(stored)
            now = self.database.now(connection)
            # A rollback is ordered whatever is under way: it need not know the thousand writes that may be.
            before = queries.load(connection, rollout_id, now, self.snapshots, open_writes=not urgent)
            effect = command(before, now)
            after, change, head = before, Change(), queries.head_of(row)
            if effect is not None:
                change, entry, why = effect
                epoch, head = rollouts.command(connection, row, change, entry, now, why)
                after = change.applied_to(before, now)
                after = replace(after, epoch=epoch, due_at=now, why=why, waiting_for=at_rest(after.phase))
            given = CommandGiven.of(after)
            if request is not None:
                request_ids.remember(connection, request, rollout_id, given.to_json(), now)
        self.snapshots.follow(rollout_id, queries.head_of(row), head, change)
        return given

    # -------------------------------------------------------------- reading

    def history(self, rollout_id: str, after: int = 0, limit: int | None = None) -> list[journal.RecordedEntry]:
        with self.database.read() as connection:
            queries.exists(connection, rollout_id)
            return list(journal.read(connection, rollout_id, after, limit))

    def summaries(
        self,
        *,
        live: bool | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int | None = 100,
        name: str | None = None,
    ) -> list[Rollout]:
        """Rollouts without their targets and writes, newest first; `live` True: unfinished ones only.

        `limit` None: all of them, for callers that filter them.
        """
        with self.database.read() as connection:
            return queries.summaries(connection, live, before, limit, name)

    def every_summary(
        self, *, live: bool | None = None, name: str | None = None, limit: int | None = None
    ) -> Iterator[Rollout]:
        """Like `summaries`, in pages: each is read when it is asked for, until `limit` or the last rollout."""
        before, left = None, limit
        while left is None or left > 0:
            most = PAGE if left is None else min(PAGE, left)
            page = self.summaries(live=live, name=name, before=before, limit=most)
            yield from page
            if len(page) < most:
                return
            before, left = (page[-1].created_at, page[-1].id), None if left is None else left - most

    def resolve(self, text: str, within: frozenset[str] | None = None) -> str:
        """The id of the rollout that an id or a name means to a caller who sees these numbers (None: all of them)."""
        with self.database.read() as connection:
            return rollout_names.resolve(connection, text, within)

    def live_named(self, name: str) -> str | None:
        """The id of the newest live rollout of this name."""
        with self.database.read() as connection:
            return next(iter(rollout_names.live_named(connection, name)), None)

    def was_promoted(self, name: str) -> bool:
        """True if a rollout of this name stands as promoted."""
        with self.database.read() as connection:
            return rollout_names.was_promoted(connection, name)

    def writers(self, number: str) -> list[tuple[str, Phase]]:
        """Ids and phases of the rollouts that have written this number, newest first."""
        with self.database.read() as connection:
            return queries.writers(connection, number)

    def drivers(self, numbers: Sequence[str]) -> dict[str, NumberOwner]:
        with self.database.read() as connection:
            return queries.drivers(connection, numbers)

    def watched(self, since: datetime) -> list[queries.Watched]:
        with self.database.read() as connection:
            return queries.watched(connection, since)

    def phase(self, rollout_id: str) -> Phase:
        with self.database.read() as connection:
            return queries.phase(connection, rollout_id)

    def in_flight(self) -> list[Rollout]:
        """Rollouts between their first step and their end, with their targets."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            return [queries.load(connection, id_, now, self.snapshots) for id_ in queries.in_flight(connection)]

    def promoted_lately(self) -> list[Rollout]:
        """Promoted rollouts whose calls are still watched, with their targets."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            return [queries.load(connection, id_, now) for id_ in queries.promoted_lately(connection, now)]

    def note_once_a_day(self, rollout_id: str, entry: JournalEntry) -> bool:
        """Record an entry that changes nothing, unless a process has on this UTC day; return True if it was recorded."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            day = now.date().isoformat()
            first = key_values.set_first(connection, f"{entry.kind}:{rollout_id}:{day}", day)
            if first:
                rollouts.note(connection, rollout_id, entry, now)
            return first
