"""The journal: append-only by the database, and a chain that shows every way to alter it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import exc

from rollout.adapters.store.audit import audit
from rollout.adapters.store.journal import canonical
from rollout.adapters.store.repository import Store
from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from tests.support.hand import Hand
from tests.support.values import TWO, target

LENGTH = 6
COLUMNS = "rollout_id, seq, at, actor, kind, reason, data, prev_hash, hash"


@pytest.fixture
def written(store: Store, hand: Hand) -> Store:
    """A journal of six entries of one rollout, and of one of another."""
    held = hand.begun()
    hand.create("r2", target(TWO))
    for i in range(2, LENGTH + 1):
        store.commit(held, Change(), [JournalEntry(f"kind{i}", "service", f"reason {i}", {"i": i})])
    assert audit(store.database) == ([], LENGTH + 1)
    return store


def test_entries_are_numbered_and_each_follows_the_one_before(written: Store) -> None:
    entries = written.history("r1")
    assert [e.seq for e in entries] == list(range(1, LENGTH + 1))
    assert [e.prev_hash for e in entries] == ["0" * 64, *(e.hash for e in entries[:-1])]
    assert [e.kind for e in written.history("r1", after=4)] == ["kind5", "kind6"]
    assert [e.seq for e in written.history("r1", limit=2)] == [1, 2]
    assert entries[1].to_json()["data"] == {"i": 2}


@pytest.mark.parametrize("statement", ["UPDATE journal SET reason = 'other'", "DELETE FROM journal"])
def test_the_database_refuses_to_alter_it(written: Store, hand: Hand, statement: str) -> None:
    with pytest.raises((exc.DatabaseError, RolloutError), match="the journal is append-only"):
        hand.run(statement)
    assert audit(written.database) == ([], LENGTH + 1)


def test_only_the_rollout_that_is_being_pruned_can_be_removed(written: Store, hand: Hand) -> None:
    hand.run("INSERT INTO meta (key, value) VALUES ('pruning', 'r2')")
    with pytest.raises((exc.DatabaseError, RolloutError), match="the journal is append-only"):
        hand.run("DELETE FROM journal WHERE rollout_id = 'r1'")
    assert hand.run("DELETE FROM journal WHERE rollout_id = 'r2'") == 1


ALTERED = {
    "actor": "cli:other",
    "kind": "promote",
    "reason": "other",
    "data": canonical({"i": 99}),
    "hash": "f" * 64,
    "prev_hash": "f" * 64,
}


def altered(store: Store, only: str | None = None) -> list[str]:
    """What is wrong besides the triggers that the test took away."""
    return [fault for fault in audit(store.database, only)[0] if not fault.startswith("the trigger")]


@pytest.mark.parametrize("seq", [1, 3, LENGTH])
def test_a_changed_entry_is_found(written: Store, hand: Hand, seq: int) -> None:
    hand.allow_tampering()
    entry = written.history("r1")[seq - 1]
    for column, value in ALTERED.items():
        change = f"UPDATE journal SET {column} = :value WHERE rollout_id = 'r1' AND seq = :seq"
        hand.run(change, value=value, seq=seq)
        faults, _ = audit(written.database)
        expected = (f"r1 entry {seq}:", f"r1 entry {seq + 1}:", "the chain ends")
        assert any(fault.startswith(expected) for fault in faults), column
        assert altered(written, "r2") == []
        hand.run(change, value=entry.text if column == "data" else getattr(entry, column), seq=seq)
        assert altered(written) == [], column


def test_a_moved_time_is_found(written: Store, hand: Hand) -> None:
    hand.allow_tampering()
    hand.run(
        "UPDATE journal SET at = (SELECT at FROM journal WHERE rollout_id = 'r2') WHERE rollout_id = 'r1' AND seq = 4"
    )
    assert audit(written.database)[0][0] == "r1 entry 4: was changed after it was written (kind4 by service)"


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_removed_entry_is_found_wherever_it_was(written: Store, hand: Hand, seq: int) -> None:
    hand.allow_tampering()
    hand.run("DELETE FROM journal WHERE rollout_id = 'r1' AND seq = :seq", seq=seq)
    faults, counted = audit(written.database)
    assert counted == LENGTH
    if seq == LENGTH:
        assert "entries at the end were removed or added" in faults[0]
    else:
        assert faults[0] == f"r1 entry {seq + 1}: entry {seq} was removed"


def test_a_journal_that_is_gone_altogether_is_found(written: Store, hand: Hand) -> None:
    hand.allow_tampering()
    hand.run("DELETE FROM journal WHERE rollout_id = 'r1'")
    assert "the chain ends at entry 0" in audit(written.database)[0][0]


def test_a_closed_gap_is_found(written: Store, hand: Hand) -> None:
    """An entry is cut out and the ones behind it are moved up."""
    hand.allow_tampering()
    hand.run("DELETE FROM journal WHERE rollout_id = 'r1' AND seq = 3")
    for seq in range(4, LENGTH + 1):
        hand.run("UPDATE journal SET seq = seq - 1 WHERE rollout_id = 'r1' AND seq = :seq", seq=seq)
    faults, _ = audit(written.database)
    assert any("does not follow the entry before it" in fault for fault in faults)


def test_an_inserted_entry_is_found(written: Store, hand: Hand) -> None:
    hand.allow_tampering()
    hand.run(
        f"INSERT INTO journal ({COLUMNS}) SELECT rollout_id, seq + 1, at, actor, kind, reason, data, prev_hash, hash "
        "FROM journal WHERE rollout_id = 'r1' AND seq = :last",
        last=LENGTH,
    )
    faults, _ = audit(written.database)
    assert any(f"r1 entry {LENGTH + 1}" in fault for fault in faults)


def test_an_entry_appended_with_a_right_hash_is_found_by_the_head(written: Store, hand: Hand) -> None:
    from rollout.adapters.store import journal

    hand.allow_tampering()
    last = written.history("r1")[-1]
    with written.database.write() as connection:
        forged = JournalEntry("promote", "cli:other", "forged")
        journal.append(connection, "r1", (last.seq, last.hash), [journal.worded(forged)], written.now())
    faults, _ = audit(written.database)
    assert faults[0] == (
        f"the chain ends at entry {LENGTH + 1}, and the rollout's row says {LENGTH}: entries at the end were "
        "removed or added"
    )


def test_swapped_entries_are_found(written: Store, hand: Hand) -> None:
    hand.allow_tampering()
    for a, b in ((2, 99), (3, 2), (99, 3)):
        hand.run("UPDATE journal SET seq = :b WHERE rollout_id = 'r1' AND seq = :a", a=a, b=b)
    faults, _ = audit(written.database)
    assert any("r1 entry 2" in fault for fault in faults)
    assert any("r1 entry 3" in fault for fault in faults)


def test_an_entry_of_another_rollout_does_not_fit(written: Store, hand: Hand) -> None:
    hand.allow_tampering()
    hand.run("DELETE FROM journal WHERE rollout_id = 'r1' AND seq = 1")
    hand.run("UPDATE journal SET rollout_id = 'r1' WHERE rollout_id = 'r2'")
    assert len(audit(written.database)[0]) >= 2


@pytest.mark.parametrize("text", [lambda t: t.replace("2", "3"), lambda t: t + " "], ids=["value", "spaces"])
def test_the_very_text_is_hashed(written: Store, hand: Hand, text: Callable[[str], str]) -> None:
    hand.allow_tampering()
    found = written.history("r1")[1]
    assert json.loads(found.text) == {"i": 2}
    hand.run("UPDATE journal SET data = :data WHERE rollout_id = 'r1' AND seq = 2", data=text(found.text))
    assert audit(written.database)[0]
