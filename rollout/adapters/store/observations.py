"""Observed calls, one row each, corrected in place; and the marks up to which they were fetched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, case, or_, select, tuple_, update

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.key_values import insert_into
from rollout.adapters.store.tables import DRIVEN, marks, observations, targets
from rollout.domain.calls import CallDetails, CallRecord, FetchMark

_LONGEST_CALL = timedelta(hours=2)  # Retell's own limit: max_call_duration_ms of its agents
# What a report says of a call; the other columns are ours.
_FIELDS = tuple(c.name for c in observations.c if c.name not in ("call_id", "analyzed_at", "updated_at"))


class ObservationTable:
    """Stored calls and fetch marks; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def observe(self, records: Sequence[CallRecord]) -> int:
        """Add or correct calls; return how many changed."""
        if not records:
            return 0
        with self.database.write() as connection:
            return take(connection, records, self.database.now(connection))

    def since(self, numbers: Sequence[str], channels: Sequence[str], since: datetime) -> list[CallRecord]:
        """Calls of these numbers and channels that started from `since` on, oldest first."""
        with self.database.read() as connection:
            return calls(connection, numbers, channels, since)

    def without_details(
        self, numbers: Sequence[str], agents: Sequence[tuple[str, int]], since: datetime, limit: int
    ) -> list[str]:
        """Ids of phone calls of these numbers and agents that ended from `since` on and have no details yet.

        Those that ended first come first; at most `limit`.
        """
        o, found = observations.c, []
        with self.database.read() as connection:
            for some in in_parts(numbers):
                query = (
                    select(o.ended_at, o.call_id)
                    .where(
                        o.number.in_(some),
                        o.channel.in_(("inbound", "outbound")),
                        tuple_(o.agent_id, o.agent_version).in_(agents),
                        o.started_at >= since - _LONGEST_CALL,  # of which there is an index
                        o.ended_at >= since,
                        o.status != "not_connected",
                        o.details.is_(None),
                    )
                    .order_by(o.ended_at, o.call_id)
                    .limit(limit)
                )
                found += [(row.ended_at, row.call_id) for row in connection.execute(query)]
        return [call_id for _, call_id in sorted(found)[:limit]]

    def worst(
        self,
        numbers: Sequence[str],
        agents: Sequence[tuple[str, int]],
        since: datetime,
        hard: Collection[str],
        limit: int,
    ) -> list[CallRecord]:
        """Bad calls of these numbers and agents that started from `since` on, at most `limit`.

        First those that ended for a `hard` reason, then those without success, then those with a negative sentiment;
        the newest of each first.
        """
        o, found = observations.c, []
        failed, upset = o.successful.is_(False), o.sentiment == "Negative"
        rank = case((o.reason.in_(hard), 0), (failed, 1), else_=2)
        with self.database.read() as connection:
            for some in in_parts(numbers):
                query = (
                    select(observations, rank.label("rank"))
                    .where(
                        o.number.in_(some),
                        tuple_(o.agent_id, o.agent_version).in_(agents),
                        o.started_at >= since,
                        or_(o.reason.in_(hard), failed, upset),
                    )
                    .order_by(rank, o.started_at.desc(), o.call_id)
                    .limit(limit)
                )
                found += [
                    (row.rank, -row.started_at.timestamp(), row.call_id, _record(row))
                    for row in connection.execute(query)
                ]
        return [record for *_, record in sorted(found, key=lambda f: f[:3])[:limit]]

    def keep_details(self, details: Mapping[str, CallDetails]) -> None:
        """Add the details that calls showed, by the call's id."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            for call_id, found in details.items():
                query = update(observations).where(observations.c.call_id == call_id)
                connection.execute(query.values(details=asdict(found), updated_at=now))

    def marks(self, numbers: Sequence[str]) -> dict[tuple[str, str], FetchMark]:
        with self.database.read() as connection:
            return marks_of(connection, numbers)

    def mark(self, mark: FetchMark) -> None:
        with self.database.write() as connection:
            set_marks(connection, [mark])

    def mark_trouble(self, number: str, channel: str, since: datetime, trouble: str) -> None:
        """Record that calls could not be fetched; the time of the first failure is kept."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            old = marks_of(connection, [number]).get((number, channel)) or FetchMark(
                number, channel, since, now, "", None
            )
            first = old.trouble_since or now
            set_marks(connection, [replace(old, trouble=trouble, trouble_since=first)])

    def unreadable(self, rollout_id: str) -> CallsUnreadable | None:
        """Since when and why calls of this live rollout cannot be read; None if the last fetch read them."""
        with self.database.read() as connection:
            return unreadable(connection, rollout_id).get(rollout_id)


def take(connection: Connection, records: Sequence[CallRecord], now: datetime) -> int:
    """Add or correct calls; return how many rows changed.

    A result is never lost to an older report: what a later report leaves out keeps its value. Rows are locked, and
    in the order of their ids, so that reports that come at the same moment neither overwrite nor block each other.
    """
    first: dict[str, CallRecord] = {}
    # Two reports of one call: apply them in order.
    again = [r for r in records if first.setdefault(r.call_id, r) is not r]
    rows = {id_: _row(first[id_]) for id_ in sorted(first)}
    known: dict[str, Row[Any]] = {}
    for some in in_parts(list(rows)):
        query = (
            select(observations)
            .where(observations.c.call_id.in_(some))
            .order_by(observations.c.call_id)
            .with_for_update()
        )
        known |= {row.call_id: row for row in connection.execute(query)}
    fresh, changed = [], []
    for id_, values in rows.items():
        old = known.get(id_)
        if old is None:
            fresh.append({"call_id": id_, **values, "updated_at": now})
            continue
        merged = {name: _newer(name, values[name], getattr(old, name), values) for name in _FIELDS}
        if any(merged[name] != getattr(old, name) for name in _FIELDS):
            changed.append((id_, merged))
    made = _insert(connection, fresh)
    # Another process reported the same calls at the same moment: correct its rows.
    lost = {row["call_id"] for row in fresh} - made
    late = [*(r for id_, r in first.items() if id_ in lost), *again]
    for id_, merged in changed:
        if merged["analyzed"] and not known[id_].analyzed:
            merged["analyzed_at"] = now
        connection.execute(update(observations).where(observations.c.call_id == id_).values(**merged, updated_at=now))
    return len(made) + len(changed) + (take(connection, late, now) if late else 0)


def _insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert calls; return the ids of those that were not stored yet."""
    if not rows:
        return set()
    # Rows as parameters: as values of the statement, each number of rows would be a statement to compile.
    query = insert_into(connection, observations).on_conflict_do_nothing().returning(observations.c.call_id)
    return set(connection.execute(query, rows).scalars())


def _newer(name: str, new: Any, old: Any, values: Mapping[str, Any]) -> Any:
    if name == "analyzed":
        return bool(new or old)
    if name == "status" and old in ("ended", "error", "not_connected") and new in ("registered", "ongoing"):
        return old  # a later report came first
    if name == "custom":
        return {**(old or {}), **(new or {})}
    if name == "figures":
        return {**(old or {}), **(new or {})} or None
    return old if new is None else new


def _row(r: CallRecord) -> dict[str, Any]:
    return {
        "number": r.number,
        "channel": r.channel,
        "agent_id": r.agent_id,
        "agent_version": r.agent_version,
        "status": r.status[:40],
        "started_at": r.started_at,
        "ended_at": r.ended_at,
        "reason": r.disconnection_reason[:80] if r.disconnection_reason else None,
        "e2e_p50_ms": r.e2e_p50_ms,
        "successful": r.successful,
        "sentiment": r.sentiment[:20] if r.sentiment else None,
        "in_voicemail": r.in_voicemail,
        "custom": dict(r.custom),
        "analyzed": r.analyzed,
        "figures": dict(r.figures) or None,
        "details": None if r.details is None else asdict(r.details),
    }


def calls(
    connection: Connection,
    numbers: Sequence[str],
    channels: Sequence[str],
    since: datetime,
    until: datetime | None = None,
) -> list[CallRecord]:
    """Calls of these numbers and channels that started from `since` on (and before `until`), oldest first."""
    found: list[CallRecord] = []
    o = observations.c
    for some in in_parts(numbers):
        query = select(observations).where(o.number.in_(some), o.channel.in_(channels), o.started_at >= since)
        if until is not None:
            query = query.where(o.started_at < until)
        found += [_record(row) for row in connection.execute(query)]
    return sorted(found, key=lambda c: (c.started_at or since, c.call_id))


def _record(row: Row[Any]) -> CallRecord:
    return CallRecord(
        row.call_id,
        row.agent_id,
        row.agent_version,
        row.number,
        row.channel,
        row.started_at,
        row.ended_at,
        row.status,
        row.reason,
        row.e2e_p50_ms,
        row.successful,
        row.sentiment,
        row.in_voicemail,
        row.custom or {},
        row.analyzed,
        row.analyzed_at,
        row.figures or {},
        None if row.details is None else CallDetails(**row.details),
    )


# ------------------------------------------------------------------ how far calls were fetched


def marks_of(connection: Connection, numbers: Sequence[str]) -> dict[tuple[str, str], FetchMark]:
    """The marks of these numbers, by number and channel."""
    found: dict[tuple[str, str], FetchMark] = {}
    for some in in_parts(numbers):
        for r in connection.execute(select(marks).where(marks.c.number.in_(some))):
            found[r.number, r.channel] = FetchMark(
                r.number, r.channel, r.since, r.polled_at, r.trouble, r.trouble_since
            )
    return found


@dataclass(frozen=True, slots=True)
class CallsUnreadable:
    """Calls of a rollout that cannot be read: since the first fetch that failed, and why."""

    since: datetime
    why: str


_TROUBLED = (
    select(targets.c.rollout_id, marks.c.trouble_since, marks.c.trouble)
    .join(targets, targets.c.number == marks.c.number)
    .where(DRIVEN, marks.c.trouble_since.is_not(None))
    .order_by(marks.c.trouble_since.desc())
)


def unreadable(connection: Connection, rollout_id: str | None = None) -> dict[str, CallsUnreadable]:
    """The live rollouts, or this one, whose calls the last fetch could not read; by id."""
    query = _TROUBLED if rollout_id is None else _TROUBLED.where(targets.c.rollout_id == rollout_id)
    return {id_: CallsUnreadable(since, why) for id_, since, why in connection.execute(query)}


def set_marks(connection: Connection, new: Sequence[FetchMark]) -> None:
    """Replace the marks of these numbers and channels."""
    for m in new:
        values = {"since": m.since, "polled_at": m.polled_at, "trouble": m.trouble, "trouble_since": m.trouble_since}
        query = insert_into(connection, marks).values(number=m.number, channel=m.channel, **values)
        connection.execute(query.on_conflict_do_update(index_elements=["number", "channel"], set_=values))
