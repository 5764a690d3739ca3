"""The journal: append-only, one hash chain per rollout, its head kept in the rollout's row.

A chain per rollout needs no lock that the rollout's own row does not take already, can be exported and
checked alone, and can be pruned whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select

from rollout.adapters.store.tables import journal, rollouts
from rollout.domain import compact_json
from rollout.domain.lifecycle.changes import utc_text
from rollout.domain.lifecycle.records import JournalEntry

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """One recorded entry of the journal; `text` is the canonical JSON of its data."""

    rollout_id: str
    seq: int
    at: datetime
    actor: str
    kind: str
    reason: str
    text: str
    prev_hash: str
    hash: str

    @property
    def data(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text)
        return document

    def to_json(self) -> dict[str, Any]:
        """One line of an export: everything the hash covers, and the hash."""
        return {
            "rollout_id": self.rollout_id,
            "seq": self.seq,
            "at": utc_text(self.at),
            "actor": self.actor,
            "kind": self.kind,
            "reason": self.reason,
            "data": self.data,
            "prev_hash": self.prev_hash,
            "hash": self.hash,
        }


def canonical(document: Any) -> str:
    """The one text form that is hashed: sorted keys, no spaces."""
    if _is_of_rows(document) and (quick := compact_json.sorted_bytes(document)) is not None:
        return quick.decode()
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_of_rows(document: Any) -> bool:
    """True for a change of targets and writes: large, and free of NaN, as Retell showed it or we composed it."""
    change = document.get("change") if isinstance(document, dict) else None
    return isinstance(change, dict) and "rollout" not in change and "verdict" not in document


def chain(  # noqa: PLR0913 - every field of an entry, in the order in which they are hashed
    prev_hash: str, rollout_id: str, seq: int, at: str, actor: str, kind: str, reason: str, text: str
) -> str:
    """SHA-256 over the previous hash and every field of the entry."""
    message = canonical([prev_hash, rollout_id, seq, at, actor, kind, reason, text])
    return hashlib.sha256(message.encode()).hexdigest()


class Worded(NamedTuple):
    """An entry with the text of its data, made before the row is locked, because a fleet's text is long."""

    entry: JournalEntry
    text: str


def worded(entry: JournalEntry, **more: Any) -> Worded:
    """The entry as it is to be appended; its data, and more of it."""
    return Worded(entry, canonical({**(entry.data or {}), **more}))


def append(
    connection: Connection, rollout_id: str, head: tuple[int, str], entries: Sequence[Worded], now: datetime
) -> tuple[int, str]:
    """Add entries behind `head` (sequence, hash) and return the new head. The caller holds the row."""
    seq, last = head
    rows = []
    for entry, text in entries:
        seq += 1
        value = chain(last, rollout_id, seq, utc_text(now), entry.actor, entry.kind, entry.reason, text)
        rows.append(
            {
                "rollout_id": rollout_id,
                "seq": seq,
                "at": now,
                "actor": entry.actor,
                "kind": entry.kind,
                "reason": entry.reason,
                "data": text,
                "prev_hash": last,
                "hash": value,
            }
        )
        last = value
    if rows:
        connection.execute(_INSERT, rows)
    return seq, last


_INSERT = insert(journal)


def read(connection: Connection, rollout_id: str, after: int = 0, limit: int | None = None) -> Iterator[RecordedEntry]:
    """Entries of one rollout behind sequence `after`, oldest first."""
    query = select(journal).where(journal.c.rollout_id == rollout_id, journal.c.seq > after)
    query = query.order_by(journal.c.seq)
    if limit is not None:
        query = query.limit(limit)
    for row in connection.execute(query):
        yield recorded(row)


def recorded(row: Row[Any]) -> RecordedEntry:
    """An entry from its row."""
    return RecordedEntry(
        row.rollout_id, row.seq, row.at, row.actor, row.kind, row.reason, row.data, row.prev_hash, row.hash
    )


def check(entries: Iterable[RecordedEntry], head: tuple[int, str] | None = None) -> list[str]:
    """Faults in one rollout's chain, one sentence each; empty when it is whole."""
    faults: list[str] = []
    seq, last = 0, GENESIS
    for entry in entries:
        where = f"{entry.rollout_id} entry {entry.seq}"
        if entry.seq != seq + 1:
            missing = f"{seq + 1}" if entry.seq == seq + 2 else f"{seq + 1} to {entry.seq - 1}"
            faults.append(f"{where}: entry {missing} was removed" if entry.seq > seq else f"{where}: inserted")
        if entry.prev_hash != last:
            faults.append(f"{where}: does not follow the entry before it (one was changed, moved or inserted)")
        expected = chain(
            entry.prev_hash,
            entry.rollout_id,
            entry.seq,
            utc_text(entry.at),
            entry.actor,
            entry.kind,
            entry.reason,
            entry.text,
        )
        if entry.hash != expected:
            faults.append(f"{where}: was changed after it was written ({entry.kind} by {entry.actor})")
        seq, last = entry.seq, entry.hash
    if head is not None and (seq, last) != head:
        faults.append(
            f"the chain ends at entry {seq}, and the rollout's row says {head[0]}: entries at the end were "
            "removed or added"
        )
    return faults


def heads(connection: Connection, since: datetime | None = None) -> Iterator[tuple[str, int, str]]:
    """(rollout id, sequence, hash) of every rollout's newest entry, by its row; `since`: of those changed from then."""
    query = select(rollouts.c.id, rollouts.c.journal_seq, rollouts.c.journal_hash)
    if since is None:
        query = query.order_by(rollouts.c.created_at)
    else:
        query = query.where(rollouts.c.updated_at >= since).order_by(rollouts.c.updated_at)  # by their index
    for row in connection.execute(query):
        yield row.id, row.journal_seq, row.journal_hash
