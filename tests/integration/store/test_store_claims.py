"""Claims: one process drives one rollout at a time, rollbacks first, and a dead one's are taken over."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from rollout.adapters.store.repository import Store
from rollout.domain.decide.actions import Wait
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support.command_line import REPOSITORY
from tests.support.hand import LEASE, Hand
from tests.support.values import target

CLAIMER = """
import sys
from datetime import timedelta
from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
store = Store(Database(sys.argv[1], SystemClock()))
print("ready", flush=True)
sys.stdin.readline()
while held := store.claim(sys.argv[2], timedelta(seconds=60), 2):
    for claim in held:
        print(claim.rollout_id, flush=True)
"""


def number(i: int) -> str:
    return f"+1415777{i:04d}"


def many(hand: Hand, count: int) -> set[str]:
    return {hand.create(f"r{i}", target(number(i)), due=timedelta(seconds=i)) for i in range(count)}


def test_a_due_rollout_is_claimed_once(store: Store, hand: Hand) -> None:
    hand.create()
    (held,) = store.claim("one", LEASE)
    assert (held.rollout_id, held.owner, held.epoch, held.crashes) == ("r1", "one", 2, 0)
    assert held.until > store.now()
    assert store.claim("two", LEASE) == []
    assert hand.holds(held)


def test_what_is_not_due_is_taken_only_by_name(store: Store, hand: Hand) -> None:
    hand.create("later", due=timedelta(hours=-1))
    hand.create("never", target(number(1)), due=None)
    assert store.claim("one", LEASE, 5) == []
    assert [c.rollout_id for c in store.claim("one", LEASE, only="never")] == ["never"]
    assert store.claim("two", LEASE, only="never") == [], "by name, too, only one holds it"


def test_rollbacks_go_first_and_then_the_longest_due(store: Store, hand: Hand) -> None:
    hand.create("short", target(number(1)), due=timedelta(seconds=1))
    hand.create("long", target(number(2)), due=timedelta(hours=1))
    hand.create("back", target(number(3)), due=timedelta(seconds=0), phase=Phase.ROLLING_BACK)
    order = [store.claim("one", LEASE)[0].rollout_id for _ in range(3)]
    assert order == ["back", "long", "short"]


def test_the_urgent_claim_takes_rollbacks_only(store: Store, hand: Hand) -> None:
    hand.create("going", target(number(1)))
    hand.create("back", target(number(2)), phase=Phase.ROLLING_BACK)
    taken = store.claim("one", LEASE, 5, urgent_only=True)
    assert [c.rollout_id for c in taken] == ["back"]


def test_no_more_than_asked_for_are_taken(store: Store, hand: Hand) -> None:
    many(hand, 5)
    assert len(store.claim("one", LEASE, 3)) == 3
    assert len(store.claim("two", LEASE, 3)) == 2


def test_after_its_lease_a_dead_process_loses_its_claim(store: Store, hand: Hand) -> None:
    hand.create()
    (dead,) = store.claim("dead", LEASE)
    hand.run("UPDATE rollouts SET lease_until = :then", then=_old(store))
    (held,) = store.claim("alive", LEASE)
    assert held.epoch == dead.epoch + 1
    assert held.crashes == 1, "a claim that never ended in a release is counted"
    assert not hand.holds(dead)
    assert not store.release(dead, Wait(None, "", "too late"))


def test_letting_go_makes_it_due_again_and_forgets_the_crashes(store: Store, hand: Hand) -> None:
    hand.create()
    for crashed in range(3):
        (held,) = store.claim("one", LEASE)
        assert held.crashes == crashed
        hand.run("UPDATE rollouts SET lease_until = :then", then=_old(store))
    (held,) = store.claim("one", LEASE)
    due = hand.later(60)
    assert store.release(held, Wait(due, "step 1.2", "the hold is running", WaitingFor.HOLD), 3)
    found, _ = store.load("r1")
    assert (found.due_at, found.next, found.why, found.tries) == (due, "step 1.2", "the hold is running", 3)
    assert found.waiting_for is WaitingFor.HOLD
    assert store.claim("one", LEASE) == []
    assert hand.next_due() == due
    assert store.claim("one", LEASE, only="r1")[0].crashes == 0
    assert hand.next_due() is None, "whoever holds it lets go of it, and says when it is due again"
    hand.run("UPDATE rollouts SET lease_until = :then", then=_old(store))
    assert hand.next_due() == due


def test_waking_makes_it_due_now(store: Store, hand: Hand) -> None:
    hand.create(due=None)
    assert hand.next_due() is None
    store.wake(["r1"])
    assert store.load("r1")[0].look_asked
    assert len(store.claim("one", LEASE)) == 1


def test_threads_never_claim_the_same_rollout_twice(store: Store, hand: Hand, open_store: Callable[[], Store]) -> None:
    ids = many(hand, 24)
    taken: Counter[str] = Counter()
    lock, gate = threading.Lock(), threading.Barrier(4)

    def work(mine: Store, name: str) -> None:
        gate.wait()
        while held := mine.claim(name, LEASE, 2):
            with lock:
                taken.update(c.rollout_id for c in held)

    threads = [threading.Thread(target=work, args=(open_store(), f"t{i}")) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert taken == Counter(dict.fromkeys(ids, 1))


def test_processes_never_claim_the_same_rollout_twice(store: Store, hand: Hand, address: str) -> None:
    ids = many(hand, 24)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, address, f"p{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for i in range(2)
    ]
    taken: list[str] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            taken += process.communicate(timeout=30)[0].split()
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert sorted(taken) == sorted(ids)


def _old(store: Store) -> object:
    """A moment that has passed, in the form in which each database keeps it."""
    then = store.now() - timedelta(seconds=1)
    return then.replace(tzinfo=None).isoformat(sep=" ") if store.database.is_sqlite else then


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_lease_lasts_as_long_as_was_asked(store: Store, hand: Hand, seconds: int) -> None:
    hand.create()
    before = store.now()
    (held,) = store.claim("one", timedelta(seconds=seconds))
    assert timedelta(0) <= held.until - before - timedelta(seconds=seconds) < timedelta(seconds=5)
