"""`rollout verify`: the journal's chains, and the tables held against what the journal says."""

from __future__ import annotations

from rollout.store import journal
from rollout.store.repository import Store


def verify_all(store: Store, only: str | None = None) -> tuple[list[str], int]:
    """(what is wrong, one sentence each; how many entries were checked)."""
    faults: list[str] = []
    counted = 0
    with store.database.read() as connection:
        for id_, seq, last in list(journal.heads(connection)):
            if only is not None and id_ != only:
                continue
            entries = list(journal.read(connection, id_))
            counted += len(entries)
            faults += journal.check(entries, (seq, last))
    return faults, counted
