"""Batches of one action: sized by what was sent, overlapped when the session says so, ended by the first trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rollout.domain.errors import ClaimLost
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.engine.batches import FIRST, LAST, LONG, MIDDLE, Batches, BatchWriter
from rollout.engine.write_protocol import BatchWrite
from tests.support.clock import START
from tests.support.values import rollout, target

HELD = Claim("r1", 1, "test", START, 0)
FLEET = tuple(target(f"+1415777{i:04d}", ord=i) for i in range(40))
SOME = rollout(targets=FLEET)


@pytest.fixture
def batches() -> Iterator[Batches]:
    made = Batches(send_window=2.0, concurrency=4)
    made.size = 10
    yield made
    made.close()


def run(batches: Batches, targets: tuple[Target, ...], send: BatchWriter, first: int | None = None) -> list[BatchWrite]:
    found: list[BatchWrite] = []
    batches.run(SOME, HELD, targets, send, found.append, first)
    return found


class Sender:
    """Notes what it was given; says that it is nearly done, or not."""

    def __init__(self, *, nearly: bool, seconds: float = 1.0, unclean_at: int = -1) -> None:
        self.nearly, self.seconds, self.unclean_at = nearly, seconds, unclean_at
        self.given: list[list[int]] = []
        self.threads: set[str] = set()
        self.lock = threading.Lock()

    def __call__(
        self, r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]
    ) -> BatchWrite:
        with self.lock:
            place = len(self.given)
            self.given.append([t.ord for t in targets])
            self.threads.add(threading.current_thread().name)
        if self.nearly and place != self.unclean_at:
            when_nearly_done()
        trouble = "Retell said no" if place == self.unclean_at else None
        return BatchWrite(r, trouble=trouble, sent=len(targets), seconds=self.seconds)


def test_what_fits_goes_at_once_and_in_this_thread(batches: Batches) -> None:
    send = Sender(nearly=True)
    assert len(run(batches, FLEET[:10], send)) == 1
    assert send.given == [list(range(10))]
    assert send.threads == {threading.current_thread().name}


def test_each_number_goes_once_and_in_the_fleets_order(batches: Batches) -> None:
    send = Sender(nearly=True, seconds=100.0)
    found = run(batches, FLEET, send)
    assert [place for batch in send.given for place in batch] == list(range(40))
    assert len(found) == len(send.given) > 1


def test_a_session_that_does_not_say_so_ends_with_its_batch(batches: Batches) -> None:
    send = Sender(nearly=False)
    assert len(run(batches, FLEET, send)) == 1
    assert send.given == [list(range(10))], "what is left is decided anew"


def test_a_batch_with_a_trouble_is_the_last(batches: Batches) -> None:
    send = Sender(nearly=True, unclean_at=1)
    found = run(batches, FLEET, send)
    assert len(found) == 2 and found[1].trouble


def test_what_one_raises_is_raised_when_all_have_ended(batches: Batches) -> None:
    ended: list[int] = []

    def send(r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]) -> BatchWrite:
        if targets[0].ord == 0:
            when_nearly_done()
            raise ClaimLost(rollout_id="r1")
        time.sleep(0.1)
        ended.append(targets[0].ord)
        return BatchWrite(r, sent=len(targets), seconds=1.0)

    with pytest.raises(ClaimLost):
        run(batches, FLEET, send)
    assert ended == [10], "the one beside it has come to its end, and no other was begun"


def test_the_first_one_may_be_small(batches: Batches) -> None:
    send = Sender(nearly=True, seconds=100.0)
    run(batches, FLEET, send, 4)
    assert send.given[0] == [0, 1, 2, 3]
    assert len(send.given[1]) > 4


@pytest.mark.parametrize(
    "sent, seconds, unsent, size",
    [
        (10, 0.1, 0, 40),  # 160 would fit; four times as many at the most
        (10, 1.0, 0, 16),
        (5, 2.0, 5, 4),  # less was sent than was given: what fits is known now
        (0, 0.0, 10, 5),
        (1, 100.0, 9, 1),
    ],
)
def test_the_size_follows_what_was_sent(sent: int, seconds: float, unsent: int, size: int, batches: Batches) -> None:
    done = BatchWrite(SOME, sent=sent, seconds=seconds, unsent=unsent)
    run(batches, FLEET[:10], lambda *_: done)
    assert batches.size == size


def test_what_each_batch_did_is_told_while_later_ones_are_under_way(batches: Batches) -> None:
    told, late = threading.Event(), threading.Event()

    def send(r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]) -> BatchWrite:
        if targets[0].ord == 0:
            when_nearly_done()
        else:
            late.set()
            assert told.wait(10), "the first batch was told of only after this one"
        return BatchWrite(r, sent=len(targets), seconds=1.0)

    places: list[int] = []

    def took(done: BatchWrite) -> None:
        assert late.wait(10)
        places.append(done.sent)
        told.set()

    batches.run(SOME, HELD, FLEET[:15], send, took)
    assert places == [10, 5]


def test_batches_that_overlap_share_the_rate(batches: Batches) -> None:
    """Ten in the first second, ten more in the next, of which the second batch was under way for both."""
    sent_at = iter((1.0, 2.0))
    seconds = iter((1.0, 2.0))

    def send(r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]) -> BatchWrite:
        when_nearly_done()
        return BatchWrite(r, sent=len(targets), seconds=next(seconds), sent_at=next(sent_at))

    run(batches, FLEET[:20], send)
    assert batches.size == 16, "ten a second, for eight tenths of two seconds"


RATE = 600.0  # a second


def sizes(batches: Batches, count: int) -> list[int]:
    fleet = tuple(target(f"+1415{7000000 + i}", ord=i) for i in range(count))
    given: list[tuple[Target, ...]] = []

    def send(r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]) -> BatchWrite:
        given.append(targets)
        when_nearly_done()
        size = len(targets)
        return BatchWrite(r, sent=size, seconds=size / RATE, sent_at=(targets[-1].ord + 1) / RATE)

    run(batches, fleet, send)
    assert sorted(t.ord for targets in given for t in targets) == list(range(count))
    return [len(targets) for targets in sorted(given, key=lambda targets: targets[0].ord)]


@pytest.fixture
def known() -> Iterator[Batches]:
    """The rate is known, and all sizes fit."""
    made = Batches(send_window=10.0, concurrency=30)
    run(made, FLEET, lambda *_: BatchWrite(SOME, sent=600, seconds=600 / RATE))
    made.size = 1000
    yield made
    made.close()


def test_the_first_batch_and_the_last_are_small_where_batches_overlap(known: Batches) -> None:
    found = sizes(known, 1000)
    assert found[0] == FIRST * RATE and abs(found[-1] - LAST * RATE) <= 1
    assert max(found) <= MIDDLE * RATE
    assert max(found[1:-1]) - min(found[1:-1]) <= 1, "equal parts"
    many = sizes(known, 5000)
    assert many[0] == FIRST * RATE and max(many) <= MIDDLE * RATE + 1


def test_a_short_action_goes_in_one_batch(known: Batches) -> None:
    count = int(LONG * RATE)
    assert sizes(known, count) == [count]


def test_nothing_is_small_before_the_rate_is_known(batches: Batches) -> None:
    batches.size = 500
    assert sizes(batches, 1000)[0] == 500


def test_a_limit_that_the_send_window_showed_counts(known: Batches) -> None:
    cut = BatchWrite(SOME, sent=20, seconds=2.0, unsent=20)  # ten a second
    run(known, FLEET, lambda *_: cut)
    send = Sender(nearly=True, seconds=100.0)
    run(known, FLEET, send)
    assert len(send.given[0]) == FIRST * 10 // 1


FEW = BatchWrite(SOME, sent=1, seconds=0.05)  # one number: twenty a second, if it were a fleet
REFUSED = BatchWrite(SOME, trouble="Retell said no", sent=1000, seconds=0.1)
GONE = BatchWrite(SOME, rejected=True, sent=1000, seconds=0.1)


@pytest.mark.parametrize("other", [FEW, REFUSED, GONE], ids=["one number", "refusals", "gone numbers"])
def test_what_others_took_does_not_change_a_fleets_batches(other: BatchWrite, known: Batches) -> None:
    """One number's answer says nothing of a fleet's rate, and refusals come in no time."""
    before = sizes(known, 1000)
    known.size = 1000
    run(known, FLEET[:1], lambda *_: other)
    assert sizes(known, 1000) == before


def test_before_anything_is_known_one_number_is_no_fleet() -> None:
    fresh = Batches(send_window=2.0, concurrency=32)
    run(fresh, FLEET[:1], lambda *_: FEW)
    assert sizes(fresh, 1000)[0] == 256
    fresh.close()


def test_a_few_that_went_quicker_than_was_known_count(known: Batches) -> None:
    """A limit that is over: what few connections get through is at least possible."""
    run(known, FLEET, lambda *_: BatchWrite(SOME, sent=20, seconds=2.0, unsent=20))
    slow = sizes(known, 40)
    run(known, FLEET[:1], lambda *_: FEW)
    assert sizes(known, 40)[0] > slow[0]


def test_threads_of_a_rollback_are_not_those_of_steps() -> None:
    batches = Batches(send_window=2.0, concurrency=4)
    batches.size = 10
    back = rollout(targets=FLEET, rollback_at=START)
    for of, name in ((SOME, "batch"), (back, "batch-back")):
        send = Sender(nearly=True)
        batches.run(of, HELD, FLEET[:15], send, lambda _done: None)
        assert {thread.rpartition("_")[0] for thread in send.threads if thread.startswith("batch")} == {name}
        batches.size = 10
    batches.close()


def test_a_batch_is_never_larger_than_the_most() -> None:
    small = Batches(send_window=2.0, concurrency=4, most=20)
    assert small.size == 20
    run(small, FLEET, lambda *_: BatchWrite(SOME, sent=40, seconds=0.01))
    assert small.size == 20
    small.close()
    assert Batches(send_window=2.0, concurrency=4).size == 32


@pytest.mark.parametrize(("sent", "learned"), [(7, False), (8, True)])
def test_two_writes_of_each_connection_show_what_all_get_through(batches: Batches, sent: int, learned: bool) -> None:
    run(batches, FLEET[:1], lambda *_: BatchWrite(SOME, sent=sent, seconds=1.0))
    assert (batches.size != 10) is learned


def test_the_first_error_of_several_is_raised(batches: Batches) -> None:
    def send(r: Rollout, claim: Claim, targets: tuple[Target, ...], when_nearly_done: Callable[[], None]) -> BatchWrite:
        when_nearly_done()
        raise ClaimLost(f"at {targets[0].ord}", rollout_id="r1")

    with pytest.raises(ClaimLost, match="at 0"):
        run(batches, FLEET[:15], send)


def test_what_cannot_be_recorded_ends_the_action(batches: Batches) -> None:
    """The caller raises while it takes over what a batch did."""
    send = Sender(nearly=False)

    def took(_done: BatchWrite) -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        batches.run(SOME, HELD, FLEET, send, took)
    assert len(send.given) == 1


def test_a_small_first_batch_says_nothing_of_the_rate(batches: Batches) -> None:
    """It was small so that a rollback's first write left at once."""
    run(batches, FLEET[:10], lambda *_: BatchWrite(SOME, sent=10, seconds=0.1), first=4)
    assert batches.size == 10


def test_a_batch_of_which_nothing_left_is_halved_down_to_one_number(batches: Batches) -> None:
    sizes = []
    for _ in range(5):
        run(batches, FLEET, lambda *_: BatchWrite(SOME, unsent=10))
        sizes.append(batches.size)
    assert sizes == [5, 2, 1, 1, 1]
