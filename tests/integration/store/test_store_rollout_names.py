"""Names: a live rollout's is its own, whoever asks at once; and a name means its live one, else its newest ended one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.adapters.store.repository import Store
from rollout.domain.errors import AmbiguousName, NameTaken, UnknownRollout
from rollout.domain.lifecycle.machine import FINAL, Phase
from tests.support.hand import Hand
from tests.support.values import ONE, THREE, TWO, created, plan, target

LIVE = [p for p in Phase if p.is_live]
MANY = 6


def number(i: int) -> str:
    return f"+1415777{i:04d}"


def ask(store: Store, i: int, name: str = "shop") -> str:
    """Starts a rollout of this name on a number of its own; what came of it."""
    try:
        store.create(lambda _now: created(id=f"r{i}", name=name, targets=(target(number(i)),)), None)
    except NameTaken as refused:
        return f"taken by {refused.details['rollout_id']}"
    return "started"


@pytest.mark.parametrize("phase", LIVE)
def test_a_live_name_is_refused_in_every_phase_and_its_owner_is_named(store: Store, hand: Hand, phase: Phase) -> None:
    hand.create("first", name="shop", phase=phase)
    with pytest.raises(NameTaken, match=r"name: shop is already the name of a live rollout \(first\)") as refused:
        hand.create("second", target(TWO), name="shop")
    assert (refused.value.exit_code, refused.value.status) == (3, 409)
    assert [r.id for r in store.summaries()] == ["first"] and store.drivers([TWO]) == {}


@pytest.mark.parametrize("phase", sorted(FINAL))
def test_a_name_is_free_again_once_its_rollout_ended(store: Store, hand: Hand, phase: Phase) -> None:
    hand.create("first", name="shop", phase=phase)
    hand.create("second", target(TWO), name="shop")
    assert store.resolve("shop") == "second"


def test_of_many_threads_that_start_one_name_at_once_one_gets_it(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(MANY)]
    for turn in range(5):
        ready = Barrier(MANY)

        def one(i: int, turn: int = turn, ready: Barrier = ready) -> str:
            stores[i].now()  # the connection is open: what follows really is at once
            ready.wait()
            return ask(stores[i], 10 * turn + i, f"shop-{turn}")

        with ThreadPoolExecutor(MANY) as pool:
            done = list(pool.map(one, range(MANY)))
        assert done.count("started") == 1, done
        winner = 10 * turn + done.index("started")
        assert set(done) == {"started", f"taken by r{winner}"}


def _process(address: str, i: int, ready: Any, said: Any) -> None:
    store = Store(Database(address, SystemClock()))
    store.now()
    ready.wait()
    said.put(ask(store, i))
    store.database.close()


def test_of_many_processes_that_start_one_name_at_once_one_gets_it(address: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, said = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_process, args=(address, i, ready, said)) for i in range(3)]
    for each in processes:
        each.start()
    done = [said.get(timeout=60) for _ in processes]
    for each in processes:
        each.join(timeout=60)
    assert done.count("started") == 1 and len(set(done)) == 2, done


def twins(hand: Hand) -> None:
    """Two live rollouts of one name, as older databases may hold them."""
    for id_, where in (("old", ONE), ("new", TWO)):
        hand.create(id_, target(where), phase=Phase.PROGRESSING, plan=plan([where]))
        hand.run("UPDATE rollouts SET name = 'shop' WHERE id = :id", id=id_)


def test_live_duplicates_of_an_older_database_are_refused_with_both_ids(store: Store, hand: Hand) -> None:
    twins(hand)
    with pytest.raises(AmbiguousName, match=r"2 live rollouts are named shop: write the id .*, new or old$") as refused:
        store.resolve("shop")
    assert (refused.value.exit_code, refused.value.status) == (3, 409)
    assert sorted(refused.value.details["ids"]) == ["new", "old"]
    assert store.resolve("old") == "old" and store.resolve("new") == "new"
    with pytest.raises(NameTaken):
        hand.create("third", target(THREE), name="shop")


def test_a_name_means_what_the_asker_sees(store: Store, hand: Hand) -> None:
    twins(hand)
    hand.create("ended", target(THREE), phase=Phase.ROLLED_BACK, name="shop", plan=plan([THREE]))
    assert store.resolve("shop", frozenset({ONE})) == "old"
    assert store.resolve("shop", frozenset({TWO})) == "new"
    assert store.resolve("shop", frozenset({THREE})) == "ended"
    assert store.resolve("shop", frozenset({TWO, THREE})) == "new"
    with pytest.raises(AmbiguousName):
        store.resolve("shop", frozenset({ONE, TWO}))
    for text, within in (("shop", {number(1)}), ("old", {TWO}), ("shop", set())):
        with pytest.raises(UnknownRollout):
            store.resolve(text, frozenset(within))


def test_a_scheduled_rollout_is_seen_by_the_numbers_its_plan_lists(store: Store, hand: Hand) -> None:
    listed = plan([ONE])
    store.create(lambda _now: created(id="later", name="later", plan=listed, targets=()), None)
    store.create(lambda _now: created(id="some", name="some", plan=plan([ONE, {"nickname": "x*"}]), targets=()), None)
    assert store.resolve("later", frozenset({ONE})) == "later"
    with pytest.raises(UnknownRollout):
        store.resolve("some", frozenset({ONE}))
    assert store.resolve("some") == "some"


def test_behind_many_that_are_hidden_the_own_one_is_found(store: Store, hand: Hand) -> None:
    hand.create("mine", target(ONE), phase=Phase.STOPPED, name="shop")
    for i in range(230):
        hand.create(f"theirs{i}", target(number(i)), phase=Phase.STOPPED, name="shop")
    assert store.resolve("shop", frozenset({ONE})) == "mine"
    assert store.resolve("shop") == "theirs229"


def test_a_number_shows_the_askers_rollouts_behind_many_that_are_hidden(store: Store, hand: Hand) -> None:
    hand.create("mine", target(ONE), phase=Phase.STOPPED)
    for i in range(230):
        hand.create(f"theirs{i}", target(number(i)), phase=Phase.STOPPED)
    hand.run("UPDATE targets SET driven = :no", no=False)
    for i in range(230):  # they have another number beside this one
        hand.run(
            "INSERT INTO targets"
            " (rollout_id, number, ord, wave, baseline, split, step, modified, others, state, written, driven)"
            " SELECT rollout_id, :one, 1, wave, baseline, split, step, modified, others, state, written, driven"
            " FROM targets WHERE rollout_id = :id",
            one=ONE,
            id=f"theirs{i}",
        )
    stays = InterfaceQueries(store.database).history_of
    assert [s.rollout.id for s in stays(ONE)][:2] == ["theirs229", "theirs228"] and len(stays(ONE)) == 100
    assert [s.rollout.id for s in stays(ONE, frozenset({ONE}))] == ["mine"]


def test_the_number_that_an_old_rollout_drives_is_told_behind_a_hundred_newer_ones(store: Store, hand: Hand) -> None:
    hand.create("driving", target(ONE), phase=Phase.ROLLING_BACK)
    for i in range(101):
        hand.create(f"r{i}", target(number(i)), phase=Phase.STOPPED)
    hand.run("UPDATE targets SET number = :same, driven = :no WHERE rollout_id != 'driving'", same=ONE, no=False)
    stays = InterfaceQueries(store.database).history_of(ONE)
    assert [s.rollout.id for s in stays if s.driven] == ["driving"] and len(stays) == 101


def test_an_id_goes_before_a_name(store: Store, hand: Hand) -> None:
    hand.create("r1")
    hand.create("r2", target(TWO), name="r1")
    assert store.resolve("r1") == "r1"


def test_whether_a_plan_was_promoted_is_seen_behind_any_number_of_others(store: Store, hand: Hand) -> None:
    hand.create("good", phase=Phase.PROMOTED, name="shop")
    for i in range(25):
        hand.create(f"bad{i}", target(number(i)), phase=Phase.ROLLED_BACK, name="shop")
    assert store.was_promoted("shop") and not store.was_promoted("other")
