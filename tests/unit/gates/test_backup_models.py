"""A backup model in the calls of one version alone is told; chance, and calls that say nothing, are not."""

from __future__ import annotations

import random

import pytest

from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.gates.backup_models import share_warning
from tests.support.clock import START
from tests.support.values import AGENT, ONE

NEW, OLD = (AGENT, 7), (AGENT, 6)


def calls(version: int, backed_up: int, others: int, unknown: int = 0) -> list[CallRecord]:
    said = [True] * backed_up + [False] * others + [None] * unknown
    return [
        CallRecord(f"{version}-{i}", AGENT, version, ONE, "inbound", START, START, "ended", details=CallDetails(one))
        for i, one in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("canary", "baseline"), [((12, 28), (3, 357)), ((0, 200), (40, 160)), ((20, 20), (0, 40))], ids=str
)
def test_shares_that_differ_are_told_in_either_direction(canary: tuple[int, int], baseline: tuple[int, int]) -> None:
    sentence = share_warning([*calls(7, *canary), *calls(6, *baseline)], [NEW], [OLD])
    assert sentence is not None
    assert f"{canary[0]} of {sum(canary)} calls ({100 * canary[0] / sum(canary):.3g} %)" in sentence
    assert f"{baseline[0]} of {sum(baseline)} calls" in sentence


@pytest.mark.parametrize(
    ("told_at", "not_at", "baseline"),
    [(4, 3, (0, 360)), (13, 12, (36, 324)), (0, 1, (20, 80)), (20, 19, (20, 80)), (5, 6, (20, 20)), (35, 34, (20, 20))],
)
def test_where_a_difference_begins_to_be_told(told_at: int, not_at: int, baseline: tuple[int, int]) -> None:
    def sentence(backed_up: int) -> str | None:
        return share_warning([*calls(7, backed_up, 40 - backed_up), *calls(6, *baseline)], [NEW], [OLD])

    assert sentence(told_at) is not None
    assert sentence(not_at) is None


@pytest.mark.parametrize(
    "found",
    [
        [],
        calls(6, 10, 0),
        calls(7, 10, 0),
        calls(7, 10, 30) + calls(6, 100, 300),
        calls(7, 1, 39) + calls(6, 0, 360),
        calls(7, 0, 0, 40) + calls(6, 20, 20),
    ],
)
def test_what_does_not_differ_or_is_not_known_is_not_told(found: list[CallRecord]) -> None:
    assert share_warning(found, [NEW], [OLD]) is None


def test_calls_that_were_not_read_and_other_versions_count_for_nothing() -> None:
    unread = [CallRecord(f"u{i}", AGENT, 7, ONE, "inbound", START, START, "ended") for i in range(40)]
    assert share_warning([*unread, *calls(8, 40, 0), *calls(6, 0, 40)], [NEW], [OLD]) is None


def test_looking_after_every_call_tells_of_equal_versions_seldom() -> None:
    chance, wrong = random.Random(1), 0
    for _ in range(60):
        found: list[CallRecord] = []
        for _ in range(20):
            canary, baseline = (sum(chance.random() < 0.1 for _ in range(n)) for n in (2, 18))
            found += calls(7, canary, 2 - canary) + calls(6, baseline, 18 - baseline)
            if share_warning(found, [NEW], [OLD]) is not None:
                wrong += 1
                break
    assert wrong <= 3
