"""The tables from the journal alone: folds the changes that the entries carry, and finds where the two differ.

The first entry of a rollout (`created`) holds its columns and targets; every later change stands whole in
the entry that records it. What only the scheduler needs (due times, leases, epochs, words for `show`) is
no part of the history and is not rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from rollout.adapters.store.journal import RecordedEntry, read
from rollout.adapters.store.rows import from_target, from_write
from rollout.adapters.store.tables import rollouts, targets, writes
from rollout.domain.lifecycle.changes import Change, target_from_json
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import SCHEDULING

NOT_REBUILT = SCHEDULING | {
    "epoch",
    "lease_owner",
    "lease_until",
    "crashes",
    "journal_seq",
    "journal_hash",
    "history",  # fixed by the gates at the first look; every look that is kept carries it
}

# Columns that later revisions added, labels_waived aside: journals that began before do not name them, and they begin as
# NULL. A new column of a rollout belongs here, too; tests/release/upgrade says so when it is missing.
_LATER = (
    "retreated",
    "turning_since",
    "stood",
    "back_at",
    "raised_at",
    "tests",
    "tags",
    "by_hand",
    "hand_split",
    "paused_by",
)


@dataclass
class Rebuilt:
    """One rollout's rows as its journal has them: columns by name; targets by number, writes by id."""

    rollout: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, entry: RecordedEntry) -> None:
        """Fold the next entry in."""
        data = entry.data
        if entry.kind == "created":
            self._create(entry, data)
        for document in data.get("targets", ()):
            target = target_from_json(document)
            self.targets[target.number] = from_target(entry.rollout_id, target)
        if "change" in data:
            self._change(Change.from_json(data["change"]))
        self.rollout["journal_seq"], self.rollout["journal_hash"] = entry.seq, entry.hash

    def _create(self, entry: RecordedEntry, data: Mapping[str, Any]) -> None:
        given = Change.from_json({"rollout": data["rollout"]}).rollout
        self.rollout = {
            "verdict": None,
            **dict.fromkeys(_LATER),
            "labels_waived": False,
            **given,
            "created_at": entry.at,
        }

    def _change(self, change: Change) -> None:
        self.rollout |= {k: v for k, v in change.rollout.items() if k not in NOT_REBUILT}
        for write in change.new_writes:
            self.writes[write.id] = from_write(write)
        for number, values in change.targets.items():
            self.targets[number] |= values
        for id_, result in change.writes.items():
            # A result without an intent is kept, too: it then differs from the tables, and is reported.
            self.writes.setdefault(id_, {}).update(result.columns())
        if "phase" in change.rollout:
            self._drive(Phase(change.rollout["phase"]))

    def _drive(self, phase: Phase) -> None:
        # As the store does it: a final rollout drives nothing; one that undoes drives what it has written.
        for target in self.targets.values():
            if phase.is_final:
                target["driven"] = False
            elif phase is not Phase.ROLLING_BACK or target["written"]:
                target["driven"] = True


def rebuild(entries: Iterable[RecordedEntry]) -> Rebuilt:
    """The rows that one rollout's entries, oldest first, amount to."""
    found = Rebuilt()
    for entry in entries:
        found.take(entry)
    return found


def differences(connection: Connection, rollout_id: str, entries: Iterable[RecordedEntry] | None = None) -> list[str]:
    """Differences of the tables from the journal, one sentence each; empty when they agree.

    `entries`: the rollout's, if they were read already.
    """
    found = rebuild(read(connection, rollout_id) if entries is None else entries)
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout_id)).one_or_none()
    if row is None:
        return [f"{rollout_id}: it is in the journal but not in the table of rollouts"]
    faults = list(_compare(rollout_id, "rollout", found.rollout, row))
    for table, key, rebuilt in ((targets, "number", found.targets), (writes, "id", found.writes)):
        faults += _compare_all(connection, rollout_id, table, key, rebuilt)
    return faults


def _compare_all(
    connection: Connection, rollout_id: str, table: Table, key: str, rebuilt: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    rows = {getattr(row, key): row for row in connection.execute(select(table).where(table.c.rollout_id == rollout_id))}
    for missing in sorted(rebuilt.keys() - rows.keys()):
        yield f"{rollout_id}: {table.name} {missing} is in the journal but not in the table"
    for added in sorted(rows.keys() - rebuilt.keys()):
        yield f"{rollout_id}: {table.name} {added} is in the table but not in the journal"
    for name in sorted(rows.keys() & rebuilt.keys()):
        yield from _compare(rollout_id, f"{table.name} {name}", rebuilt[name], rows[name])


def _compare(rollout_id: str, what: str, rebuilt: Mapping[str, Any], row: Row[Any]) -> Iterator[str]:
    for column, kept in row._mapping.items():
        if column in NOT_REBUILT:
            continue
        if column not in rebuilt:
            yield f"{rollout_id}: {what}: the journal has no {column}"
        elif rebuilt[column] != kept and _plain(rebuilt[column]) != _plain(kept):
            yield (
                f"{rollout_id}: {what}: {column} is {_short(kept)} in the table and {_short(rebuilt[column])} "
                "by the journal"
            )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def _short(value: Any) -> str:
    text = repr(_plain(value))
    return text if len(text) <= 60 else text[:57] + "..."
