"""The store as the core sees it: each method is one transaction. A little over 300 lines, a few to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, bindparam, exc, func, or_, select

from rollout.adapters.store import (
    claims,
    cluster,
    failover,
    housekeeping,
    journal,
    key_values,
    names,
    observations,
    pruning,
    queries,
    rollouts,
)
from rollout.adapters.store import requests as request_ids
from rollout.adapters.store.disk_reserve import GIVEN_BACK, DiskReserve
from rollout.adapters.store.engine import Database
from rollout.adapters.store.rows import to_rollout
from rollout.adapters.store.snapshots import Snapshots
from rollout.adapters.store.tables import DRIVEN, LEFT, LIVE
from rollout.adapters.store.tables import rollouts as rollouts_table
from rollout.adapters.store.tables import targets as targets_table
from rollout.adapters.store.types import UtcDateTime
from rollout.domain.decide.actions import Wait
from rollout.domain.errors import DatabaseReplaced, DiskFull, NotReachable, Refused
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import CallRecord, Claim, Decision, FetchMark, JournalEntry, Request
from rollout.domain.lifecycle.state import Kind, Rollout, Target
from rollout.domain.lifecycle.waiting import at_rest

T = TypeVar("T")


class Store:
    """Implementation of rollout.engine.ports.Rollouts on a Database."""

    def __init__(self, database: Database, ballast_megabytes: float = 0.0) -> None:
        self.database = database
        self.known = Snapshots()
        self.disk_reserve = DiskReserve(database, ballast_megabytes)
        self._identity = cluster.Identity()
        self._began_in: cluster.DatabaseIdentity | None = None

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

        return self._with_room(urgent_only, take)

    def _with_room(self, rollback: bool, do: Callable[[], T]) -> T:
        """`do`, and when the disk is full and a rollback needs it, once more in the room kept for that."""
        try:
            return do()
        except DiskFull:
            if not (rollback and self.disk_reserve.give_back()):
                raise
            return do()

    def load(self, rollout_id: str) -> tuple[Rollout, datetime]:
        with self.database.read() as connection:
            now = self.database.now(connection)
            return queries.load(connection, rollout_id, now, self.known), now

    def commit(
        self, held: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime:
        if any(w.kind is Kind.FORWARD for w in change.new_writes):
            self.database.require_same()
            if self.disk_reserve.given_back:
                raise DiskFull(GIVEN_BACK)

        ready = rollouts.recording(self.database.engine.dialect, held.rollout_id, change, entries)
        undoes = any(w.kind is Kind.BASELINE for w in change.new_writes)

        def record() -> datetime:
            with self.database.write(urgent=undoes) as connection:
                now = self.database.now(connection)
                before, after = rollouts.commit(connection, held, ready, now, lease=lease)
            self.known.follow(held.rollout_id, before, after, change)
            return now

        return self._with_room(undoes or change.rollout.get("phase") is Phase.ROLLING_BACK, record)

    def add_targets(self, held: Claim, added: Sequence[Target], change: Change, entry: JournalEntry) -> datetime:
        self.database.require_same()
        with self.database.write() as connection:
            now = self.database.now(connection)
            rollouts.begin(connection, held, added, change, entry, now)
            return now

    def settle(self, rollout_id: str, change: Change, entry: JournalEntry) -> None:
        ready = rollouts.recording(self.database.engine.dialect, rollout_id, change, [entry])
        with self.database.write() as connection:
            rollouts.settle(connection, rollout_id, ready, entry, self.database.now(connection))

    def release(self, held: Claim, wait: Wait, tries: int = 0) -> bool:
        with self.database.write() as connection:
            return claims.release(connection, held, wait, tries)

    def holds(self, held: Claim) -> bool:
        """True if the claim still stands (a plain read, for a fan-out under way)."""
        with self.database.read() as connection:
            epoch = connection.execute(
                select(rollouts_table.c.epoch).where(rollouts_table.c.id == held.rollout_id)
            ).scalar_one_or_none()
            return epoch == held.epoch

    def wake(self, ids: Sequence[str], *, look: bool = True) -> None:
        """Make these rollouts due now; `look`: their numbers are to be read."""
        with self.database.write() as connection:
            claims.wake(connection, ids, self.database.now(connection), look)

    def next_due(self) -> datetime | None:
        with self.database.read() as connection:
            return claims.next_due(connection, self.database.now(connection))

    def next_due_in(self) -> timedelta | None:
        """How long until the next rollout becomes due; not above 0: one is due."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            due = claims.next_due(connection, now)
            return None if due is None else due - now

    # -------------------------------------------------------------- commands

    def answered(self, request: Request) -> dict[str, Any] | None:
        with self.database.read() as connection:
            return request_ids.first_answer(connection, request)

    def create(
        self,
        make: Callable[[datetime], tuple[Rollout, JournalEntry]],
        request: Request | None,
        also: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Record a new rollout made at the store's now; return {"id": ...} and what the answer says `also`."""
        self.database.require_same()
        try:
            return self._create(make, request, also)
        except (exc.IntegrityError, Refused):
            # The same request, sent twice, may be under way twice: whoever comes second gets the first answer.
            given = None if request is None else self.answered(request)
            if given is None:
                raise
            return given

    def _create(
        self,
        make: Callable[[datetime], tuple[Rollout, JournalEntry]],
        request: Request | None,
        also: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        with self.database.write() as connection:
            if request is not None and (given := request_ids.first_answer(connection, request)) is not None:
                return given
            now = self.database.now(connection)
            rollout, entry = make(now)
            head = rollouts.create(connection, rollout, entry, now)
            answer = {**(also or {}), "id": rollout.id}
            if request is not None:
                request_ids.remember(connection, request, rollout.id, answer, now)
        self.known.put(rollout.id, head, rollout.targets)
        return answer

    def change(
        self,
        rollout_id: str,
        decide: Callable[[Rollout, datetime], Decision | None],
        answer: Callable[[Rollout], dict[str, Any]],
        request: Request | None = None,
        *,
        urgent: bool = False,
    ) -> dict[str, Any]:
        """A command on one rollout: load, decide and record under the row's lock.

        `urgent`: a rollback, which waits for no other writer of this process, for which room is kept when the disk
        is full, and whose `decide` is not shown the open writes. `decide` returns None when there
        is nothing to do; it raises to refuse. `answer` is made of the rollout as it is afterwards, and kept
        under the request's id.
        """
        if not urgent:
            self.database.require_same()  # it would be lost; a rollback is carried out all the same
        try:
            return self._with_room(urgent, lambda: self._change(rollout_id, decide, answer, request, urgent))
        except NotReachable:
            # The row may be locked by a process that stands still: then it is freed, and tried once more. A rollback
            # is tried once more in any case: the server may have been restarted a moment ago.
            if not self.database.end_stuck() and not urgent:
                raise
            return self._change(rollout_id, decide, answer, request, urgent)

    def _change(
        self,
        rollout_id: str,
        decide: Callable[[Rollout, datetime], Decision | None],
        answer: Callable[[Rollout], dict[str, Any]],
        request: Request | None,
        urgent: bool,
    ) -> dict[str, Any]:
        with self.database.write(urgent=urgent) as connection:
            # Under the row's lock: the same request may come twice at once.
            row = rollouts.head_row(connection, rollout_id)
            if request is not None and (given := request_ids.first_answer(connection, request)) is not None:
                return given
            now = self.database.now(connection)
            # A rollback is ordered whatever is under way: it need not know the thousand writes that may be.
            before = queries.load(connection, rollout_id, now, self.known, open_writes=not urgent)
            decision = decide(before, now)
            after, change, head = before, Change(), queries.head_of(row)
            if decision is not None:
                change, entry, why = decision
                epoch, head = rollouts.command(connection, row, change, entry, now, why)
                after = change.applied_to(before, now)
                after = replace(after, epoch=epoch, due_at=now, why=why, waiting_for=at_rest(after.phase))
            given = answer(after)
            if request is not None:
                request_ids.remember(connection, request, rollout_id, given, now)
        self.known.follow(rollout_id, queries.head_of(row), head, change)
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
        containing: str = "",
    ) -> list[Rollout]:
        """Rollouts without their targets and writes, newest first; `live` True: unfinished ones only.

        `limit` None: all of them, which is what whoever filters them needs. `containing`: those with this text in
        their name, their id or one of their numbers.
        """
        r = rollouts_table.c
        query = select(rollouts_table).order_by(r.created_at.desc(), r.id.desc()).limit(limit)
        if live is not None:
            query = query.where(LIVE if live else ~LIVE)
        if name is not None:
            query = query.where(r.name == name)
        if containing:
            query = query.where(_containing(containing))
        if before is not None:
            at, id_ = before
            query = query.where((r.created_at < at) | ((r.created_at == at) & (r.id < id_)))
        with self.database.read() as connection:
            return [to_rollout(row) for row in connection.execute(query)]

    def meant(self, text: str, within: frozenset[str] | None = None) -> str:
        """The id of the rollout that an id or a name means to whoever sees these numbers (None: all of them)."""
        with self.database.read() as connection:
            return names.meant(connection, text, within)

    def live_named(self, name: str) -> str | None:
        """The id of the newest live rollout of this name."""
        with self.database.read() as connection:
            return next(iter(names.live_named(connection, name)), None)

    def was_promoted(self, name: str) -> bool:
        """True if a rollout of this name stands as promoted."""
        with self.database.read() as connection:
            return names.was_promoted(connection, name)

    def writers(self, number: str) -> list[tuple[str, Phase]]:
        """Ids and phases of the rollouts that have written this number, newest first."""
        query = (
            select(rollouts_table.c.id, rollouts_table.c.phase)
            .join(rollouts_table, rollouts_table.c.id == targets_table.c.rollout_id)
            .where(targets_table.c.number == number, targets_table.c.written)
            .order_by(rollouts_table.c.created_at.desc(), rollouts_table.c.id.desc())
        )
        with self.database.read() as connection:
            return [(row.id, Phase(row.phase)) for row in connection.execute(query)]

    def drivers(self, numbers: Sequence[str]) -> dict[str, tuple[str, str]]:
        with self.database.read() as connection:
            return queries.drivers(connection, numbers)

    def watched(self, since: datetime) -> list[queries.Watched]:
        with self.database.read() as connection:
            return queries.watched(connection, since)

    def phase(self, rollout_id: str) -> Phase:
        with self.database.read() as connection:
            queries.exists(connection, rollout_id)
            return Phase(
                connection.execute(select(rollouts_table.c.phase).where(rollouts_table.c.id == rollout_id)).scalar_one()
            )

    # -------------------------------------------------------------- calls

    def in_flight(self) -> list[Rollout]:
        """Rollouts between their first step and their end, with their targets."""
        with self.database.read() as connection:
            ids = connection.execute(_IN_FLIGHT).scalars().all()
            now = self.database.now(connection)
            return [queries.load(connection, id_, now, self.known) for id_ in ids]

    def promoted_lately(self) -> list[Rollout]:
        """Promoted rollouts whose calls are still watched, with their targets."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            ids = connection.execute(_PROMOTED, {"now": now}).scalars()
            return [queries.load(connection, id_, now, self.known) for id_ in ids.all()]

    def note_once_a_day(self, rollout_id: str, entry: JournalEntry) -> bool:
        """Record an entry that changes nothing, unless any process did so on this UTC day; whether it was recorded."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            day = now.date().isoformat()
            first = key_values.set_first(connection, f"{entry.kind}:{rollout_id}:{day}", day)
            if first:
                rollouts.note(connection, rollout_id, entry, now)
            return first

    def observe(self, records: Sequence[CallRecord]) -> int:
        """Add or correct calls; return how many changed."""
        if not records:
            return 0
        with self.database.write() as connection:
            return observations.take(connection, records, self.database.now(connection))

    def marks(self, numbers: Sequence[str]) -> dict[tuple[str, str], FetchMark]:
        with self.database.read() as connection:
            return observations.marks_of(connection, numbers)

    def mark(self, mark: FetchMark) -> None:
        with self.database.write() as connection:
            observations.set_marks(connection, [mark])

    def mark_trouble(self, number: str, channel: str, since: datetime, trouble: str) -> None:
        """Note that calls could not be fetched; since when is kept from the first failure on."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            old = observations.marks_of(connection, [number]).get((number, channel))
            first = old.trouble_since if old is not None and old.trouble_since is not None else now
            since = old.since if old is not None else since
            polled = old.polled_at if old is not None else now
            mark = FetchMark(number, channel, since, polled, trouble, first)
            observations.set_marks(connection, [mark])

    def unreadable(self, rollout_id: str) -> observations.CallsUnreadable | None:
        """Since when calls of this live rollout cannot be read, and why; None: they were, at the last look."""
        with self.database.read() as connection:
            return observations.unreadable(connection, rollout_id).get(rollout_id)

    def looks(self, rollout_id: str, last: int | None = None) -> list[dict[str, Any]]:
        """Every stored look of the gates, oldest first."""
        with self.database.read() as connection:
            return [dict(row._mapping) for row in observations.looks_of(connection, rollout_id, last)]

    # -------------------------------------------------------------- housekeeping

    def beat(self, owner: str, *, started: bool = False, ticks: int = 0, trouble: str = "") -> int:
        """Say that this process is alive and well, or what its trouble is; return the count of all beats."""
        self.database.end_stuck()
        with self.database.write() as connection:
            housekeeping.beat(connection, owner, self.database.now(connection), started, ticks, trouble)
            beats = failover.count(connection)
            if not failover.known(connection):
                failover.record(connection, self._identity(connection))
            return beats

    def lineage(self) -> tuple[int, bool]:
        """(count of all beats so far, whether the database lives in another cluster than it did).

        A count lower than it was, or another cluster: the database went back in time, or may have. DatabaseReplaced
        when it is another database than this process began with.
        """
        with self.database.read() as connection:
            self._same(connection)
            elsewhere = failover.is_another(failover.known(connection), self._identity(connection))
            return failover.counted(connection), elsewhere

    def require_same(self) -> None:
        """DatabaseReplaced when the database is not the one that this process began with."""
        self.database.require_same()
        if not self.database.is_sqlite:
            with self.database.read() as connection:
                self._same(connection)

    def _same(self, connection: Connection) -> None:
        found = cluster.place_of(connection, self._identity)
        if self._began_in is None:
            self._began_in = found
        elif not self._began_in.may_be(found):
            raise DatabaseReplaced(
                "the database was replaced; stop the service; use the kit "
                f"({self.database.place} is not the database that this process began with)"
            )

    def rearm(self, horizon: timedelta) -> list[str]:
        """Open every horizon again after the database went back in time; return the rollouts concerned."""
        with self.database.write() as connection:
            rearmed = failover.rearm(connection, self.database.now(connection), horizon)
            failover.record(connection, self._identity(connection))
            return rearmed

    def durability(self) -> str:
        """One sentence about settings of the database under which it may lose commits; empty when all is well."""
        with self.database.read() as connection:
            return cluster.durability(connection)

    def forget_beat(self, owner: str) -> None:
        with self.database.write() as connection:
            housekeeping.forget(connection, owner)

    def services(self, within: timedelta = timedelta(seconds=30)) -> list[housekeeping.ServiceHeartbeat]:
        """The service processes that were alive within this time."""
        with self.database.read() as connection:
            return housekeeping.services_since(connection, self.database.now(connection) - within)

    def prunable(self, keep: timedelta) -> list[str]:
        """Ids of ended rollouts older than `keep`, the oldest first, at most 500 at a time."""
        with self.database.read() as connection:
            return pruning.prunable(connection, self.database.now(connection), keep)

    def beyond_kits(self, ids: Sequence[str], keep: timedelta, soon: timedelta) -> list[str]:
        """Those of these rollouts whose kit is of no use any more."""
        with self.database.read() as connection:
            return pruning.beyond_kits(connection, ids, self.database.now(connection), keep, soon)

    def remove(self, rollout_id: str, keep: timedelta, head: str | None = None) -> bool:
        """Remove one ended rollout whole; False when it is not (or no more) past its time, or has a newer entry."""
        with self.database.write() as connection:
            return pruning.remove(connection, rollout_id, self.database.now(connection), keep, head)

    def prune(self, keep: timedelta, rollback: timedelta) -> int:
        """Remove finished rollouts older than `keep`, never one that can still be rolled back."""
        keep = max(keep, rollback)
        return sum(self.remove(id_, keep) for id_ in self.prunable(keep))

    def sweep(self, limits: pruning.Retention) -> dict[str, int]:
        """Remove one batch of what is past its time in every other table; rows removed by table."""
        with self.database.write() as connection:
            return pruning.sweep(connection, self.database.now(connection), limits)


def _containing(text: str) -> ColumnElement[bool]:
    r, wanted = rollouts_table.c, text.lower()
    found = or_(func.lower(r.name).contains(wanted, autoescape=True), r.id.contains(wanted, autoescape=True))
    if set(text) - set("+0123456789"):
        return found
    has_it = targets_table.c.number.contains(text, autoescape=True)
    return or_(found, r.id.in_(select(targets_table.c.rollout_id).where(has_it)))


# By the numbers that are driven, of which there is a small index: what waits for its start has none.
_IN_FLIGHT = (
    select(rollouts_table.c.id)
    .join(targets_table, targets_table.c.rollout_id == rollouts_table.c.id)
    .where(
        DRIVEN,
        rollouts_table.c.phase.in_([str(p) for p in (Phase.PROGRESSING, Phase.PAUSED, Phase.HELD)]),
        rollouts_table.c.started_at.is_not(None),
    )
    .distinct()
)

# The last that was written to each number, of which there is an index as long as the list of numbers.
_PROMOTED = (
    select(rollouts_table.c.id)
    .where(
        rollouts_table.c.id.in_(select(targets_table.c.rollout_id).where(LEFT)),
        rollouts_table.c.phase == str(Phase.PROMOTED),
        rollouts_table.c.watch_until > bindparam("now", type_=UtcDateTime),
    )
    .order_by(rollouts_table.c.id)
)
