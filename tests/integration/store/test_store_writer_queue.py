"""Writers of one process: one at a time, who is urgent first, else in their order; none waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from rollout.adapters.store.writer_queue import WriterQueue
from tests.support.service import wait_until


def waiting(turns: WriterQueue, urgent: bool, name: str, order: list[str]) -> threading.Thread:
    """A thread that stands in line and then notes that its turn came."""

    def run() -> None:
        with turns.taken(urgent):
            order.append(name)

    before = len(turns._lines[urgent])
    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(turns._lines[urgent]) == before + 1)
    return thread


def test_urgent_ones_first_else_in_their_order() -> None:
    turns, order = WriterQueue(10, 10), list[str]()
    with turns.taken(False):
        threads = [waiting(turns, u, n, order) for u, n in ((False, "a"), (False, "b"), (True, "c"), (True, "d"))]
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["c", "d", "a", "b"]
    with turns.taken(False):
        pass


def test_one_at_a_time() -> None:
    turns, inside, most = WriterQueue(10, 10), list[int](), [0]

    def run(me: int) -> None:
        for i in range(50):
            with turns.taken(urgent=(me + i) % 3 == 0):
                inside.append(me)
                most[0] = max(most[0], len(inside))
                time.sleep(0.0001)
                inside.remove(me)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_who_is_out_of_patience_goes_on_and_gives_no_turn_away() -> None:
    turns, order = WriterQueue(10, 0.05), list[str]()
    with turns.taken(False):
        with turns.taken(True):  # out of patience: beside the one who has the turn
            later = waiting(turns, False, "later", order)
        assert order == [], "who took no turn hands none on"
    later.join()
    assert order == ["later"]


def test_a_turn_that_fails_is_over() -> None:
    turns, order = WriterQueue(60, 60), list[str]()
    with pytest.raises(ZeroDivisionError), turns.taken(False):
        later = waiting(turns, False, "later", order)
        raise ZeroDivisionError
    later.join(20)
    assert order == ["later"], "the next in line has it, and did not run out of patience"
