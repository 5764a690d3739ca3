"""The account's limits: turns never faster than the rate, rollbacks first, 429s felt by all and forgotten in time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.request_budget import RECOVERY, Allowance, batch, deal, left, throttled

NOW = 1_800_000_000.0
DEALS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), min_size=1, max_size=30)


@given(DEALS, st.floats(0.5, 400))
def test_no_second_has_more_turns_than_the_rate(deals: list[tuple[float, int]], rate: float) -> None:
    a, now, turns = Allowance(), NOW, list[float]()
    for pause, count in deals:
        now += pause
        a, dealt = deal(a, now, count, rate, urgent=False)
        turns += [now + dealt.wait + i * dealt.gap for i in range(count)]
    turns.sort()
    for i, begin in enumerate(turns):
        within = sum(1 for t in turns[i:] if t < begin + 1)
        assert within <= rate * 1.05 + 1 + 1e-6, "the rate, and what a twentieth of a second left unused"


@given(DEALS, st.floats(1, 400), st.integers(1, 20))
def test_a_rollback_stands_in_no_line(deals: list[tuple[float, int]], rate: float, count: int) -> None:
    a, now = Allowance(), NOW
    for pause, taken in deals:
        now += pause
        a, _ = deal(a, now, taken, rate, urgent=False)
    before = max(a.next_at, now)
    after, turns = deal(a, now, count, rate, urgent=True)
    assert turns.wait == 0
    assert after.next_at == pytest.approx(before + count / rate), "the others yield by what it takes"


def test_a_throttled_account_gives_half_and_comes_back() -> None:
    a = throttled(Allowance(), NOW, 2.0)
    assert left(a, NOW) == 0.5
    assert throttled(a, NOW + 0.5, 0.0) == a, "a burst of them is one sign"
    assert left(throttled(a, NOW + 1, 0.0), NOW + 1) == pytest.approx((0.5 + 1 / RECOVERY) / 2)
    assert left(a, NOW + RECOVERY) == 1
    _, forward = deal(a, NOW, 1, 10, urgent=False)
    assert (forward.wait, forward.gap) == (pytest.approx(2.0), pytest.approx(0.2))
    _, rollback = deal(a, NOW, 1, 10, urgent=True)
    assert rollback.wait == 0


def test_rollbacks_stand_in_a_line_of_their_own() -> None:
    a, first = deal(Allowance(), NOW, 4, 10, urgent=True)
    assert (first.count, first.wait, first.gap) == (4, 0, pytest.approx(0.1))
    _, second = deal(a, NOW, 1, 10, urgent=True)
    assert second.wait == pytest.approx(4 * 0.1 - 0.05), "what nobody took for a twentieth of a second is caught up"
    assert deal(a, NOW, 1, 10, urgent=False)[1].wait == pytest.approx(0.4)


def test_a_storm_never_takes_everything() -> None:
    a = Allowance()
    for second in range(100):
        a = throttled(a, NOW + second, 10_000.0)
    assert 0 < left(a, NOW + 99) <= 1 / 30
    assert a.paused_until == NOW + 99 + 300, "a longer pause than five minutes is not believed"


@given(st.builds(Allowance, *[st.floats(0, 1e10)] * 2, st.floats(0.02, 1), *[st.floats(0, 1e10)] * 2))
def test_it_survives_its_row(a: Allowance) -> None:
    assert Allowance.of(json.loads(json.dumps(a.to_json()))) == a


@pytest.mark.parametrize("left_by_others", [None, [], {}, {"next_at": "soon"}, {"unknown": 1}])
def test_what_another_version_left_is_taken_as_far_as_it_is_known(left_by_others: object) -> None:
    assert Allowance.of(left_by_others) == Allowance()


@pytest.mark.parametrize("rate, dealt", [(0.1, 1), (5, 1), (10, 2), (100, 20), (1000, 50)])
def test_a_deal_is_a_fifth_of_a_second(rate: float, dealt: int) -> None:
    assert batch(rate) == dealt
