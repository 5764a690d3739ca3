"""The harness can see: each guard of the protocol, taken out, breaks what is noted for it, at its seed or soon after."""

from __future__ import annotations

import re

import pytest

from tests.support.command_line import REPOSITORY

from .history import play
from .mutants import MUTANTS

SOON = 80  # a change of the core may shift what a seed plays: so many more are tried


@pytest.mark.parametrize("name", MUTANTS)
def test_a_protocol_without_this_guard_is_caught_and_the_whole_one_is_not(name: str) -> None:
    mutant = MUTANTS[name]
    broken: dict[int, list[str]] = {}
    for seed in range(mutant.seed, mutant.seed + SOON):
        with mutant.applied():
            broken[seed] = play(seed).broken
        if mutant.breaks <= {fault.partition(":")[0] for fault in broken[seed]}:
            break
    else:
        pytest.fail(f"no history broke {', '.join(sorted(mutant.breaks))} without: {mutant.guard}; {broken}")
    with mutant.applied(guarded=True):
        assert not play(seed).broken


def test_the_document_names_each_guard_with_its_seed_and_what_breaks() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")
    told = {
        name: (int(seed), set(codes.split(", ")))
        for name, seed, codes in re.findall(r"^\| ([a-z -]+) \| (\d+) \| ([A-Za-z]\w*(?:, \w+)*)", text, re.MULTILINE)
    }
    assert told == {name: (mutant.seed, mutant.breaks) for name, mutant in MUTANTS.items()}
