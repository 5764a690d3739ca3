"""Histories from many seeds: no invariant is broken, and the same seed is the same history."""

from __future__ import annotations

import pytest

from .history import play
from .seeds import KEPT, KEPT_IF_MATCH

SEEDS = 120
PART = 60


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 10_000 + SEEDS, PART))
def test_no_history_breaks_an_invariant(first: int) -> None:
    broken = {}
    for seed in range(first, first + PART):
        result = play(seed)
        if result.broken:
            broken[seed] = result.broken
    assert not broken, f"replay with: python -m tests.simulation --trace SEED; {broken}"


@pytest.mark.parametrize("seed", KEPT, ids=str)
def test_what_was_once_broken_stays_whole(seed: int) -> None:
    assert not play(seed).broken, KEPT[seed]


@pytest.mark.parametrize(("seed", "preconditions"), KEPT_IF_MATCH, ids=str)
def test_what_was_once_broken_with_if_match_stays_whole(seed: int, preconditions: str) -> None:
    assert not play(seed, preconditions=preconditions).broken, KEPT_IF_MATCH[seed, preconditions]


def test_one_seed_is_one_history() -> None:
    """Played in another order, so that nothing may leak from one history into the next."""
    seeds = range(20_000, 20_012)
    first = {seed: play(seed).digest for seed in seeds}
    again = {seed: play(seed).digest for seed in reversed(seeds)}
    assert first == again
    assert len(set(first.values())) == len(first)
