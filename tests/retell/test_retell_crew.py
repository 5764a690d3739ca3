"""How long Retell takes to answer, and what follows: threads, whether chunks overlap, and how early."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from retell_peer import BODY, Peer, Seen, good

from rollout.ports import Order
from rollout.retell import RetellClient
from rollout.retell.crew import LEAST, Crew
from tests.support.clock import FakeClock

NUMBERS = [f"+1415777{i:04}" for i in range(100)]


def crew(*seconds: float) -> Crew:
    made = Crew(32, FakeClock())
    for took in seconds:
        made.took(took)
    return made


def test_what_is_not_known_yet_is_not_guessed() -> None:
    assert crew().rate is None and crew().answers_in(0.2, 2) == 0 and crew().size(100) == 32


def test_far_away_all_threads_wait_side_by_side() -> None:
    far = crew(0.05, 0.09)
    assert far.size(100) == 32 and far.waits
    assert far.rate == pytest.approx(640)
    assert far.answers_in(0.2, 2) == 32 * 2 + 128, "two rounds, and what comes in 0.2 s"
    assert far.answers_in(0.2, 11) == 32 * 11 + 128, "a list of ten pages is read for longer"


def test_nearby_few_threads_are_enough_and_nothing_overlaps() -> None:
    near = crew(0.0003)
    assert near.size(100) == LEAST and not near.waits and near.rate is None


@pytest.mark.parametrize("pages", [1, 2, 50])
def test_a_lane_says_so_while_as_much_is_left_as_the_next_one_needs_to_begin(
    serve: Callable[..., Peer], client: Callable[..., RetellClient], pages: int
) -> None:
    def slow(seen: Seen, sock: socket.socket) -> None:
        time.sleep(0.03)
        good(seen, sock)

    made = client(serve(slow), concurrency=4, deadline=3.0)
    made._listing._size = 1000 * pages
    patched: list[int] = []
    with made.lane(NUMBERS) as lane:
        lane.read(NUMBERS[:8])
        least = made._crew._least()
        assert least is not None and made.far() == pytest.approx(4 / least)
        done = [0]
        inner = lane._judge

        def judge(*given: object) -> object:
            done[0] += 1
            return inner(*given)  # type: ignore[arg-type]

        lane._judge = judge  # type: ignore[method-assign, assignment]
        lane.write(
            [Order(n, BODY) for n in NUMBERS], send_by=made._clock.boot() + 30, stop=lambda: False,
            nearly=lambda: patched.append(done[0]),
        )  # fmt: skip
    (at,) = patched
    wanted = made._crew.answers_in(0.2, 1 + pages)
    assert wanted >= 4 * (1 + pages)
    if wanted < len(NUMBERS):
        left = len(NUMBERS) - at - 3  # three others are being answered
        assert abs(left - wanted) <= 6
    else:
        assert 4 <= at <= 8, "not before each thread has had an answer: it may be behind an older lane"
