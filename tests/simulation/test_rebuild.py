"""The tables from the journal: they agree, and a change behind the journal's back is found and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.adapters.store import journal
from rollout.adapters.store.rebuild import differences, rebuild

from .scenario import NUMBER, Scenario

Make = Callable[..., Scenario]


@pytest.fixture
def promoted(scenario: Make) -> tuple[Scenario, str]:
    s = scenario(numbers=(NUMBER, "+14157774445"))
    id_ = s.start((0.1, "10s"), (1.0, "10s"), waves=[1])
    s.until_phase(id_, "promoted")
    return s, id_


def _differences(s: Scenario, id_: str) -> list[str]:
    with s.store.database.read() as connection:
        return differences(connection, id_)


def test_the_journal_alone_gives_every_row(promoted: tuple[Scenario, str]) -> None:
    s, id_ = promoted
    assert _differences(s, id_) == []
    found = rebuild(s.history(id_))
    assert found.rollout["phase"] == "promoted"
    assert found.rollout["created_by"]
    assert len(found.targets) == 2
    assert len(found.writes) == 4
    assert all(w["outcome"] == "applied" for w in found.writes.values())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE rollouts SET phase = 'rolled_back'", "phase"),
        ("UPDATE rollouts SET confirmed_at = '2026-01-01 00:00:00.000000'", "confirmed_at"),
        ("UPDATE targets SET baseline = '{}' WHERE ord = 1", "targets +14157774445: baseline"),
        ("UPDATE targets SET driven = 1 WHERE ord = 0", "targets +14157774444: driven"),
        ("UPDATE writes SET outcome = NULL WHERE kind = 'forward'", "outcome"),
        ("DELETE FROM writes WHERE step = 1", "is in the journal but not in the table"),
        ("UPDATE rollouts SET created_by = 'nobody'", "created_by"),
    ],
)
def test_a_row_changed_behind_the_journal_is_named(promoted: tuple[Scenario, str], change: str, named: str) -> None:
    s, id_ = promoted
    s.sim.file.raw.execute(change)
    found = _differences(s, id_)
    assert found
    assert all(named in fault for fault in found), found


def test_what_only_the_scheduler_needs_is_not_compared(promoted: tuple[Scenario, str]) -> None:
    s, id_ = promoted
    s.sim.file.raw.execute("UPDATE rollouts SET due_at = NULL, why = 'x', epoch = 99, tries = 7")
    assert _differences(s, id_) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE journal SET reason = 'another' WHERE seq = 3", "entry 3: was changed"),
        ("UPDATE journal SET actor = 'another' WHERE seq = 3", "entry 3: was changed"),
        ("DELETE FROM journal WHERE seq = 3", "entry 3 was removed"),
        ("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)", "the chain ends at entry"),
    ],
)
def test_a_changed_or_removed_entry_is_named(promoted: tuple[Scenario, str], change: str, named: str) -> None:
    s, id_ = promoted
    for trigger in ("journal_no_update", "journal_no_delete"):
        s.sim.file.raw.execute(f"DROP TRIGGER {trigger}")
    s.sim.file.raw.execute(change)
    with s.store.database.read() as connection:
        seq, last = next((seq, last) for one, seq, last in journal.heads(connection) if one == id_)
        faults = journal.check(journal.read(connection, id_), (seq, last))
    assert any(named in fault for fault in faults), faults
