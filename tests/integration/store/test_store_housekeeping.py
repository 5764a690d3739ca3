"""Pruning, heartbeats, and what the drift scan is given."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollout.adapters.store.audit import audit
from rollout.adapters.store.repository import Store
from rollout.domain.errors import UnknownRollout
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import TargetState
from tests.support.hand import Hand
from tests.support.values import ONE, TWO, confirmed, target, write

DAY = timedelta(days=1)
NOTE = JournalEntry("ended", "service")


def ended(hand: Hand, id_: str, number: str, phase: Phase, ago: timedelta) -> None:
    """A rollout that ended this long ago, with a write and a journal."""
    held = hand.begun(id_, confirmed(number))
    now = hand.store.now()
    change = Change(rollout={"phase": phase}, new_writes=(write(number, id=f"w-{id_}", rollout_id=id_, at=now),))
    hand.store.commit(held, change, [NOTE])
    moment = now - ago
    then = moment.replace(tzinfo=None).isoformat(sep=" ") if hand.store.database.is_sqlite else moment
    hand.run("UPDATE rollouts SET updated_at = :then WHERE id = :id", then=then, id=id_)


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_an_old_ended_rollout_is_removed_whole(store: Store, hand: Hand, phase: Phase) -> None:
    ended(hand, "old", ONE, phase, 401 * DAY)
    ended(hand, "young", TWO, phase, 399 * DAY)
    assert hand.prune(400 * DAY) == 1
    with pytest.raises(UnknownRollout):
        store.load("old")
    for table, others in (("targets", set()), ("writes", set()), ("journal", {"system"})):
        found = {row.rollout_id for row in hand.run(f"SELECT rollout_id FROM {table}")}
        assert found == {"young", *others}
    assert audit(store.database) == ([], 3)
    assert hand.prune(400 * DAY) == 0


def test_a_live_rollout_is_never_removed(store: Store, hand: Hand) -> None:
    for i, phase in enumerate(p for p in Phase if p.is_live):
        ended(hand, f"r{i}", f"+1415777000{i}", phase, 9_000 * DAY)
    assert hand.prune(DAY) == 0


def test_what_can_still_be_rolled_back_is_kept(store: Store, hand: Hand) -> None:
    ended(hand, "r1", ONE, Phase.PROMOTED, 20 * DAY)
    assert hand.prune(30 * DAY) == 0
    assert hand.prune(15 * DAY) == 1


def test_after_pruning_the_journal_is_append_only_again(store: Store, hand: Hand) -> None:
    ended(hand, "old", ONE, Phase.STOPPED, 401 * DAY)
    hand.create("r1", target(TWO))
    hand.prune(400 * DAY)
    with pytest.raises(Exception, match="the journal is append-only"):
        hand.run("DELETE FROM journal")


def test_heartbeats_say_who_is_alive(store: Store, hand: Hand) -> None:
    assert store.heartbeats.services() == []
    store.heartbeats.beat("a", started=True)
    store.heartbeats.beat("b", started=True)
    store.heartbeats.beat("a", ticks=7, trouble="the disk is full")
    alive = {s.owner: s for s in store.heartbeats.services()}
    assert set(alive) == {"a", "b"}
    assert (alive["a"].ticks, alive["a"].trouble, alive["b"].ticks) == (7, "the disk is full", 0)
    store.heartbeats.forget("b")
    assert [s.owner for s in store.heartbeats.services()] == ["a"]
    assert store.heartbeats.services(within=timedelta(seconds=-5)) == []


def test_a_heartbeat_that_was_pruned_comes_back(store: Store) -> None:
    store.heartbeats.beat("a", ticks=3)
    assert [s.ticks for s in store.heartbeats.services()] == [3]


def test_the_scan_compares_live_rollouts_and_those_still_watched(store: Store, hand: Hand) -> None:
    now = store.now()
    hand.create("live", target(ONE))
    for id_, number, watch in (("watched", TWO, now + DAY), ("over", "+14157770001", now - DAY)):
        held = hand.begun(id_, confirmed(number, state=TargetState.RESTORED))
        store.commit(held, Change({"phase": Phase.ROLLED_BACK, "watch_until": watch}), [NOTE])
    held = hand.begun("unwritten", target("+14157770002"))
    store.commit(held, Change({"phase": Phase.STOPPED, "watch_until": now + DAY}), [NOTE])
    found = {w.rollout_id: w for w in store.watched(now)}
    assert set(found) == {"live", "watched"}
    assert (found["live"].driven, found["watched"].driven) == (True, False)
    assert found["watched"].target.number == TWO


def test_rollouts_under_way_are_those_whose_calls_count(store: Store, hand: Hand) -> None:
    for i, phase in enumerate(Phase):
        hand.create(f"r{i}", target(f"+1415777000{i}"), phase=phase, started_at=store.now())
    hand.create("unstarted", target("+14157770099"), phase=Phase.PAUSED, started_at=None)
    phases = {str(r.phase) for r in store.in_flight()}
    assert phases == {"progressing", "paused", "held"}
    assert "unstarted" not in {r.id for r in store.in_flight()}
