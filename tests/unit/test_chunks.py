"""Chunks of one action: sized by what was sent, overlapped when the lane says so, ended by the first trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rollout.chunks import Chunks
from rollout.delivery import Delivery
from rollout.domain.errors import ClaimLost
from rollout.domain.records import Claim
from rollout.domain.state import Rollout, Target
from tests.support.clock import START
from tests.support.values import rollout, target

HELD = Claim("r1", 1, "test", START, 0)
FLEET = tuple(target(f"+1415777{i:04d}", ord=i) for i in range(40))
SOME = rollout(targets=FLEET)


@pytest.fixture
def chunks() -> Iterator[Chunks]:
    made = Chunks(send_window=2.0, size=10, most=1000)
    yield made
    made.close()


class Sender:
    """Notes what it was given; says that it is nearly through, or not."""

    def __init__(self, *, nearly: bool, seconds: float = 1.0, unclean_at: int = -1) -> None:
        self.nearly, self.seconds, self.unclean_at = nearly, seconds, unclean_at
        self.given: list[list[int]] = []
        self.threads: set[str] = set()
        self.lock = threading.Lock()

    def __call__(
        self, r: Rollout, held: Claim, targets: tuple[Target, ...], nearly: Callable[[], None]
    ) -> Delivery:
        with self.lock:
            place = len(self.given)
            self.given.append([t.ord for t in targets])
            self.threads.add(threading.current_thread().name)
        if self.nearly and place != self.unclean_at:
            nearly()
        trouble = "Retell said no" if place == self.unclean_at else None
        return Delivery(r, trouble=trouble, sent=len(targets), seconds=self.seconds)


def test_what_fits_goes_at_once_and_in_this_thread(chunks: Chunks) -> None:
    send = Sender(nearly=True)
    assert len(chunks.run(SOME, HELD, FLEET[:10], send)) == 1
    assert send.given == [list(range(10))]
    assert send.threads == {threading.current_thread().name}


def test_each_number_goes_once_and_in_the_fleets_order(chunks: Chunks) -> None:
    send = Sender(nearly=True, seconds=100.0)
    found = chunks.run(SOME, HELD, FLEET, send)
    assert [place for chunk in send.given for place in chunk] == list(range(40))
    assert len(found) == len(send.given) > 1


def test_a_lane_that_does_not_say_so_ends_with_its_chunk(chunks: Chunks) -> None:
    send = Sender(nearly=False)
    assert len(chunks.run(SOME, HELD, FLEET, send)) == 1
    assert send.given == [list(range(10))], "what is left is decided anew"


def test_a_chunk_with_a_trouble_is_the_last(chunks: Chunks) -> None:
    send = Sender(nearly=True, unclean_at=1)
    found = chunks.run(SOME, HELD, FLEET, send)
    assert len(found) == 2 and found[1].trouble


def test_what_one_raises_is_raised_when_all_have_ended(chunks: Chunks) -> None:
    ended: list[int] = []

    def send(r: Rollout, held: Claim, targets: tuple[Target, ...], nearly: Callable[[], None]) -> Delivery:
        if targets[0].ord == 0:
            nearly()
            raise ClaimLost(rollout_id="r1")
        time.sleep(0.1)
        ended.append(targets[0].ord)
        return Delivery(r, sent=len(targets), seconds=1.0)

    with pytest.raises(ClaimLost):
        chunks.run(SOME, HELD, FLEET, send)
    assert ended == [10], "the one beside it has come to its end, and no other was begun"


def test_the_first_one_may_be_small(chunks: Chunks) -> None:
    send = Sender(nearly=True, seconds=100.0)
    chunks.run(SOME, HELD, FLEET, send, 4)
    assert send.given[0] == [0, 1, 2, 3]
    assert len(send.given[1]) > 4


@pytest.mark.parametrize(
    "sent, seconds, unsent, size",
    [
        (10, 0.1, 0, 40),  # 160 would fit; four times as many at the most
        (10, 1.0, 0, 16),
        (5, 2.0, 5, 4),  # less was sent than was given: what fits is known now
        (0, 0.0, 10, 5),
        (1, 100.0, 0, 1),
    ],
)
def test_the_size_follows_what_was_sent(
    sent: int, seconds: float, unsent: int, size: int, chunks: Chunks
) -> None:
    done = Delivery(SOME, sent=sent, seconds=seconds, unsent=unsent)
    chunks.run(SOME, HELD, FLEET[:10], lambda *_: done)
    assert chunks.size == size


def test_an_action_that_takes_long_goes_in_two_chunks_at_least(chunks: Chunks) -> None:
    chunks.run(SOME, HELD, FLEET[:10], lambda *_: Delivery(SOME, sent=10, seconds=0.2))  # 50 a second: 40 fit
    send = Sender(nearly=True, seconds=0.4)
    chunks.run(SOME, HELD, FLEET, send)
    assert [len(chunk) for chunk in send.given] == [20, 20]
