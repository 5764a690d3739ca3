"""Targets that are kept in memory are those of the database, whoever changed them and however often."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rollout.adapters.store.repository import Store
from rollout.adapters.store.snapshots import Head, Snapshots
from rollout.domain.errors import ClaimLost
from rollout.domain.lifecycle.changes import Change, WriteResult
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Target, TargetState, WriteOutcome
from tests.support.hand import Hand
from tests.support.values import ONE, TWO, confirmed, only, target, write

NOTE = JournalEntry("observed", "service", "for a test")


def reads_of_targets(store: Store, reads: list[str]) -> None:
    from sqlalchemy import event

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.lstrip().upper().startswith("SELECT TARGETS."):
            reads.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)


def test_a_driver_reads_its_targets_once(store: Store, hand: Hand, open_store: Callable[[], Store]) -> None:
    held = hand.begun("r1", target(), target(TWO, ord=1))
    driver = open_store()
    reads: list[str] = []
    reads_of_targets(driver, reads)
    driver.load("r1")
    for modified in range(2_000, 2_005):
        driver.commit(held, Change(targets={TWO: {"modified": modified}}), [NOTE])
        assert driver.load("r1")[0].by_number[TWO].modified == modified
    assert len(reads) == 1


def test_who_has_made_a_rollout_knows_its_targets_as_they_are_recorded(
    store: Store, open_store: Callable[[], Store]
) -> None:
    baseline = {
        "inbound_agents": [{"agent_id": "agent_ö", "agent_version": "prod", "weight": 0.33335}],
        "outbound_agents": None,
    }
    targets = (target(baseline=baseline, split=baseline), confirmed(TWO, ord=1, wave=2, live_at=store.now()))
    Hand(store).create("r1", *targets)
    reads: list[str] = []
    reads_of_targets(store, reads)
    known = store.load("r1")[0].targets
    assert reads == [] and known == open_store().load("r1")[0].targets


def test_what_another_process_wrote_is_seen_at_once(store: Store, hand: Hand, open_store: Callable[[], Store]) -> None:
    held = hand.begun()
    other = open_store()
    store.load("r1")
    other.load("r1")
    other.commit(held, Change(targets={ONE: {"state": TargetState.DRIFTED}}), [NOTE])
    assert store.load("r1")[0].targets[0].state is TargetState.DRIFTED
    store.commit(held, Change(targets={ONE: {"live": only(9)}}), [NOTE])
    assert other.load("r1")[0].targets[0].live == only(9)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_by_two_processes(
    seed: int, store: Store, hand: Hand, open_store: Callable[[], Store]
) -> None:
    dice, stores = random.Random(seed), [store, open_store()]
    held = hand.begun("r1", target(), target(TWO, ord=1))
    for turn in range(25):
        one = dice.choice(stores)
        number = dice.choice((ONE, TWO))
        match dice.randrange(4):
            case 0:
                one.commit(held, Change(targets={number: {"modified": 5_000 + turn}}), [NOTE])
            case 1:
                values = {"split": only(turn + 1), "live": only(turn + 1), "live_at": one.now()}
                one.commit(held, Change(targets={number: values}), [NOTE])
            case 2:
                mine = write(number, 0, id=f"w{turn}", at=one.now())
                one.commit(held, Change(new_writes=(mine,)), [NOTE])
                settled = Change(
                    targets={number: {"modified": 9_000 + turn}}, writes={mine.id: WriteResult(WriteOutcome.APPLIED)}
                )
                dice.choice(stores).record_outcomes("r1", settled, NOTE)
            case _:
                one.commit(held, Change(rollout={"look_asked": bool(turn % 2)}), [])
        expected = Store(store.database).load("r1")[0].targets  # which remembers nothing
        assert [s.load("r1")[0].targets for s in stores] == [expected, expected]


def test_a_change_that_was_refused_is_not_remembered(store: Store, hand: Hand) -> None:
    held = hand.begun()
    before = store.load("r1")[0].targets
    hand.run("UPDATE rollouts SET epoch = epoch + 1")
    with pytest.raises(ClaimLost):
        store.commit(held, Change(targets={ONE: {"modified": 7}}), [NOTE])
    assert store.load("r1")[0].targets == before


def test_the_least_used_are_dropped_first() -> None:
    kept = Snapshots(most=5)
    head = Head(1, "a")
    fleet: tuple[Target, ...] = (confirmed(ONE), confirmed(TWO))
    kept.put("r1", head, fleet[:1])
    kept.put("r2", head, fleet[:1])
    assert kept.get("r1", head) == fleet[:1]
    kept.put("r3", head, fleet)
    assert kept.get("r2", head) is None
    assert kept.get("r1", head) == fleet[:1]
    assert kept.get("r3", Head(2, "b")) is None
    kept.put("r4", head, fleet * 3)
    assert kept.get("r4", head) is None, "what is too large for all of the room is not kept"
    for i in range(20):
        kept.put(f"empty{i}", head, ())
    assert sum(kept.get(f"empty{i}", head) is not None for i in range(20)) == 5


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_nothing_is_kept_of_a_rollout_that_has_ended(store: Store, hand: Hand, phase: Phase) -> None:
    held = hand.begun()
    store.load("r1")
    assert store.snapshots._size
    store.commit(held, Change(rollout={"phase": phase}), [NOTE])
    assert store.load("r1")[0].phase is phase
    assert not store.snapshots._size
