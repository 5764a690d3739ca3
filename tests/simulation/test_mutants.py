"""The harness can see: each guard of the protocol, taken out, is caught at or soon after the seed noted for it."""

from __future__ import annotations

import pytest

from .history import play
from .mutants import MUTANTS

CODES = ("I", "pace")
SOON = 40  # a change of the core may shift what a seed plays: so many more are tried


@pytest.mark.parametrize("name", MUTANTS)
def test_a_protocol_without_this_guard_is_caught_and_the_whole_one_is_not(name: str) -> None:
    mutant = MUTANTS[name]
    for seed in range(mutant.seed, mutant.seed + SOON):
        with mutant.applied():
            broken = play(seed).broken
        if any(fault.startswith(CODES) for fault in broken):
            break
    assert any(fault.startswith(CODES) for fault in broken), f"no history broke anything without: {mutant.guard}"
    with mutant.applied(guarded=True):
        assert not play(seed).broken
