"""One row for all processes: turns are dealt once, and a 429 to one is known to all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rollout.adapters.store.limits import SharedLimits
from rollout.adapters.store.repository import Store

URL = "https://api.retellai.com"


def test_several_processes_get_turns_of_one_rate(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(3)]

    def take(store: Store) -> list[float]:
        limits, came = SharedLimits(store.database, URL), list[float]()
        for _ in range(8):
            now = store.now().timestamp()
            turns = limits.take(5, 50.0, urgent=False)
            came += [now + turns.wait + i * turns.gap for i in range(turns.count)]
        return came

    with ThreadPoolExecutor(3) as pool:
        turns = sorted(t for each in pool.map(take, stores) for t in each)
    assert len(turns) == 120
    assert turns[-1] - turns[0] >= 119 / 50 - 0.2, "120 turns at 50 a second take 2.4 s, whoever takes them"


def test_what_one_process_found_all_know(open_store: Callable[[], Store]) -> None:
    one, two = open_store(), open_store()
    ours, theirs = SharedLimits(one.database, URL), SharedLimits(two.database, URL)
    assert (theirs.state().left, theirs.state().pause) == (1.0, 0.0)
    ours.throttled(20.0)
    state = theirs.state()
    assert 0.5 <= state.left < 0.6
    assert 15 < state.pause <= 20
    elsewhere = SharedLimits(two.database, "https://other.example")
    assert elsewhere.state().left == 1.0, "another address is another account"


def test_the_processes_are_counted(store: Store) -> None:
    limits = SharedLimits(store.database, URL)
    assert limits.state().services == 1, "a command beside no service is alone"
    for owner in ("a", "b", "c"):
        store.heartbeats.beat(owner, started=True)
    assert limits.state().services == 3
    store.heartbeats.forget("b")
    assert limits.state().services == 2
