"""Orders in which a server that adds from left to right gets exactly 1.0."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.splits.splits import TOTAL, SplitEntry, to_wire
from rollout.domain.splits.summation import order_adding_up
from tests.unit.splits.addition import add

PROPERTY = settings(max_examples=400, deadline=None, derandomize=True)


@PROPERTY
@given(st.lists(st.integers(1, 400), min_size=2, max_size=7))
def test_small_splits_have_an_exact_order_whenever_any_order_is_exact(parts: list[int]) -> None:
    scale, rest = divmod(TOTAL, sum(parts))
    shares = [part * scale for part in parts]
    shares[-1] += rest
    doubles = tuple(share / TOTAL for share in shares)
    exists = any(add(order) == 1.0 for order in set(itertools.permutations(doubles)))
    order = order_adding_up(doubles)
    assert sorted(order) == list(range(len(doubles)))
    assert (add([doubles[i] for i in order]) == 1.0) is exists
    if add(doubles) == 1.0:
        assert order == tuple(range(len(doubles)))


def test_where_no_order_is_exact_the_split_keeps_its_own() -> None:
    doubles = (0.1,) * 10
    assert add(doubles) != 1.0
    assert order_adding_up(doubles) == tuple(range(10))


def test_an_order_is_changed_only_when_it_must_be() -> None:
    shares = (4000, 1000, 2000, 3000)
    found = next(p for p in itertools.permutations(shares) if add([s / TOTAL for s in p]) != 1.0)
    split = tuple(SplitEntry(f"agent_{share}", 1, share) for share in found)
    wire = to_wire(split)
    assert add([entry["weight"] for entry in wire]) == 1.0
    assert [entry["agent_id"] for entry in wire] != [entry.agent_id for entry in split]


def test_every_pair_of_whole_points_adds_up() -> None:
    for share in range(1, TOTAL):
        wire = to_wire((SplitEntry("a", 1, share), SplitEntry("a", 2, TOTAL - share)))
        assert wire[0]["weight"] + wire[1]["weight"] == 1.0
        assert wire[0]["agent_version"] == 1


def test_every_whole_percent_split_of_three_adds_up() -> None:
    for a, b in itertools.combinations(range(1, 100), 2):
        shares = (a * 100, (b - a) * 100, (100 - b) * 100)
        wire = to_wire(tuple(SplitEntry("a", i, share) for i, share in enumerate(shares)))
        assert add([entry["weight"] for entry in wire]) == 1.0
        assert sorted(round(entry["weight"] * TOTAL) for entry in wire) == sorted(shares)


def test_long_lists_are_ordered_quickly() -> None:
    primes = [n for n in range(2, 1000) if all(n % d for d in range(2, n))]
    for count in range(13, 25):
        shares = primes[5 : 5 + count]
        shares = [*shares[:-1], TOTAL - sum(shares[:-1])]
        wire = to_wire(tuple(SplitEntry("a", i, share) for i, share in enumerate(shares)))
        assert add([entry["weight"] for entry in wire]) == 1.0
