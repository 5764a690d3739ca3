"""Splits: exact arithmetic, exact orders, and words for what cannot be had."""

from __future__ import annotations

import itertools
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.errors import SplitError
from rollout.domain.splits import splits
from rollout.domain.splits.splits import TOTAL, SplitEntry, basis_points, compose, describe, fingerprint, same, to_wire
from tests.unit.splits.addition import add

STABLE = [{"agent_id": "agent_abc", "agent_version": 6, "weight": 1}]
CANARY = {"canary": ("agent_abc", 7)}
PROPERTY = settings(max_examples=400, deadline=None, derandomize=True)


def refusal(*args: Any) -> str:
    with pytest.raises(SplitError) as caught:
        compose(*args)
    return caught.value.message


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize(
    ("weight", "share"),
    [(0.1, 1000), (1, 10_000), (1.0, 10_000), ("0.3333", 3333), (Decimal("0.0001"), 1), (0, 0), ("1e-4", 1)],
    ids=repr,
)
def test_points_are_exact(weight: Any, share: int) -> None:
    assert basis_points(weight) == share


def test_every_weight_of_four_decimals_is_read() -> None:
    assert [basis_points(share / TOTAL) for share in range(TOTAL + 1)] == list(range(TOTAL + 1))


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (0.12345, "0.12345 has more than four decimals; write at most four, for example 0.1234"),
        (0.1 + 0.2, "0.30000000000000004 has more than four decimals; write at most four, for example 0.3000"),
        ("1e-400", "1e-400 has more than four decimals; the smallest weight is 0.0001"),
        (1.2, "1.2 is above 1, which is all calls; write a weight from 0 to 1, for example 0.012 for 1.2 %"),
        (10, "10 is above 1, which is all calls; write a weight from 0 to 1, for example 0.1 for 10 %"),
        (100, "100 is above 1, which is all calls; write a weight from 0 to 1, for example 1 for 100 %"),
        (101, "101 is above 1, which is all calls; write a weight from 0 to 1"),
        (0.00005, "5e-05 has more than four decimals; the smallest weight is 0.0001"),
        ("0.00006", "0.00006 has more than four decimals; write at most four, for example 0.0001"),
        (1e300, "1e+300 is above 1, which is all calls; write a weight from 0 to 1"),
        (-0.1, "-0.1 is below 0; write a weight from 0 to 1, for example 0.1"),
        (math.nan, "nan is not a weight; write a number from 0 to 1, for example 0.1"),
        (math.inf, "inf is not a weight; write a number from 0 to 1, for example 0.1"),
        (True, "True is not a weight; write a number from 0 to 1, for example 0.1"),
        ("10%", "'10%' is not a weight; write a number from 0 to 1, for example 0.1"),
        ("\u0661", "'\u0661' is not a weight; write a number from 0 to 1, for example 0.1"),
        ("1_0", "'1_0' is not a weight; write a number from 0 to 1, for example 0.1"),
        (Decimal("NaN"), "Decimal('NaN') is not a weight; write a number from 0 to 1, for example 0.1"),
    ],
    ids=repr,
)
def test_points_refuse_what_is_not_whole_points(weight: Any, sentence: str) -> None:
    with pytest.raises(SplitError) as caught:
        basis_points(weight)
    assert caught.value.message == sentence


# ------------------------------------------------------------------ composing


def test_a_canary_beside_one_stable_version() -> None:
    split = compose(STABLE, CANARY, {"canary": 1000})
    assert split == (SplitEntry("agent_abc", 7, 1000), SplitEntry("agent_abc", 6, 9000))
    assert json.dumps(to_wire(split)) == (
        '[{"agent_id": "agent_abc", "agent_version": 7, "weight": 0.1}, '
        '{"agent_id": "agent_abc", "agent_version": 6, "weight": 0.9}]'
    )


def test_weight_one_is_one_entry() -> None:
    assert to_wire(compose(STABLE, CANARY, {"canary": TOTAL})) == [
        {"agent_id": "agent_abc", "agent_version": 7, "weight": 1.0}
    ]


def test_weight_zero_leaves_the_variant_out_and_never_gives_an_empty_list() -> None:
    for weights in ({"canary": 0}, {}):
        assert compose(STABLE, CANARY, weights) == (SplitEntry("agent_abc", 6, TOTAL),)


def test_a_missing_version_stays_missing_and_a_tag_stays_a_tag() -> None:
    baseline = [{"agent_id": "a", "weight": 0.5}, {"agent_id": "b", "agent_version": "prod", "weight": 0.5}]
    wire = to_wire(compose(baseline, CANARY, {"canary": 5000}))
    assert wire[1:] == [{"agent_id": "a", "weight": 0.25}, {"agent_id": "b", "agent_version": "prod", "weight": 0.25}]


def test_several_variants_take_exactly_their_weights() -> None:
    variants = {"b": ("agent_abc", 8), "c": ("agent_abc", 9)}
    split = compose(STABLE, variants, {"b": 2000, "c": 500})
    assert [entry.points for entry in split] == [2000, 500, 7500]


def test_the_rest_goes_by_largest_remainder_and_the_earlier_entry_wins_a_tie() -> None:
    thirds = [{"agent_id": name, "agent_version": 1, "weight": 0.3333} for name in "xyz"]
    shares = [entry.points for entry in compose(thirds, CANARY, {"canary": 0})]
    assert shares == [3334, 3333, 3333]


def test_each_baseline_entry_keeps_at_least_one_point() -> None:
    baseline = [
        {"agent_id": "a", "agent_version": 1, "weight": 0.9998},
        {"agent_id": "b", "agent_version": 1, "weight": 0.0001},
        {"agent_id": "c", "agent_version": 1, "weight": 0.0001},
    ]
    assert [e.points for e in compose(baseline, CANARY, {"canary": 9000})[1:]] == [998, 1, 1]
    assert [e.points for e in compose(baseline, CANARY, {"canary": 9997})[1:]] == [1, 1, 1]


def test_a_rest_too_small_for_the_baseline_is_refused_with_the_largest_weight() -> None:
    baseline = [{"agent_id": name, "agent_version": 1, "weight": 0.25} for name in "abcd"]
    assert refusal(baseline, CANARY, {"canary": 9998}) == (
        "a weight of 0.9998 leaves 0.0002 for the 4 entries of the baseline, and each needs at least 0.0001; "
        "write at most 0.9996 or 1"
    )


@pytest.mark.parametrize("version", [7, "7"], ids=repr)
def test_a_canary_that_is_already_in_the_baseline_is_refused(version: Any) -> None:
    baseline = [*STABLE, {"agent_id": "agent_abc", "agent_version": version, "weight": 0.25}]
    assert refusal(baseline, CANARY, {"canary": 1000}) == (
        "canary (agent_abc v7) is already in the baseline, with 20 % of the calls, so there would be nothing to "
        "compare it with or to go back to; write another agent_version, or first let the number serve only the "
        "version to return to and then start"
    )


@pytest.mark.parametrize("baseline", [None, []], ids=repr)
def test_nothing_to_roll_back_to_is_refused(baseline: Any) -> None:
    assert refusal(baseline, CANARY, {"canary": 1000}) == (
        "this channel serves no agent, so there is nothing to roll back to; bind an agent to it first, or leave "
        "the channel out of the plan"
    )


@pytest.mark.parametrize(
    ("variants", "weights", "part"),
    [
        (CANARY, {"canary": 10_001}, "canary: 10001 is not a share; write whole basis points from 0 to 10000"),
        (CANARY, {"canary": 0.1}, "canary: 0.1 is not a share"),
        (CANARY, {"canry": 10}, "there is no variant 'canry'; write one of: canary"),
        ({"b": ("a", 1), "c": ("a", 1)}, {"b": 1}, "two variants are the same agent and version"),
        ({"b": ("a", 1), "c": ("a", 2)}, {"b": 6000, "c": 5000}, "the weights add up to 1.1; write weights that"),
    ],
    ids=repr,
)
def test_impossible_weights_are_refused(variants: Any, weights: Any, part: str) -> None:
    assert part in refusal(STABLE, variants, weights)


@pytest.mark.parametrize("weight", [0, -0.5, None, "half", math.nan, True], ids=repr)
def test_an_unreadable_baseline_is_refused(weight: Any) -> None:
    assert "the live list has an entry that cannot be read" in refusal(
        [{"agent_id": "a", "agent_version": 1, "weight": weight}], CANARY, {"canary": 10}
    )


# ------------------------------------------------------------------ properties

entries = st.fixed_dictionaries(
    {
        "agent_id": st.sampled_from(["agent_a", "agent_b", "agent_c"]),
        "weight": st.one_of(
            st.integers(1, TOTAL).map(lambda share: share / TOTAL),
            st.sampled_from([0.3333, 0.33335, 0.00001, 1, 0.1 + 0.2, 1 / 3]),
            st.floats(1e-6, 1, allow_nan=False),
        ),
    },
    optional={"agent_version": st.one_of(st.integers(0, 5), st.sampled_from(["prod", "latest", "3"]), st.none())},
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, tuple[str, int]], dict[str, int]]:
    baseline = draw(st.lists(entries, min_size=1, max_size=20))
    count = draw(st.integers(1, 4))
    variants = {f"v{i}": ("agent_new", i) for i in range(count)}
    taken = draw(st.one_of(st.integers(1, TOTAL - len(baseline)), st.just(TOTAL)))
    cuts = sorted(draw(st.lists(st.integers(0, taken), min_size=count - 1, max_size=count - 1)))
    shares = [b - a for a, b in itertools.pairwise([0, *cuts, taken])]
    return baseline, variants, dict(zip(variants, shares, strict=True))


@PROPERTY
@given(requests())
def test_any_legal_request_becomes_a_legal_list(request_: Any) -> None:
    baseline, variants, weights = request_
    split = compose(baseline, variants, weights)
    wire = to_wire(split)
    texts = [Decimal(json.dumps(entry["weight"])) for entry in wire]
    assert all(0 < text <= 1 and -text.as_tuple().exponent <= 4 for text in texts)
    assert sum(texts) == 1
    assert add([entry["weight"] for entry in wire]) == 1.0  # for all that was drawn an order exists
    assert sorted(map(repr, wire)) == sorted(map(repr, (_wired(entry) for entry in split)))
    assert to_wire(compose(baseline, variants, weights)) == wire

    chosen = {name: share for name, share in weights.items() if share}
    assert [entry.points for entry in split[: len(chosen)]] == list(chosen.values())
    rest = TOTAL - sum(weights.values())
    kept = split[len(chosen) :]
    if rest == 0:
        assert kept == ()
        return
    assert [entry.agent_id for entry in kept] == [entry["agent_id"] for entry in baseline]
    exact = [Fraction(Decimal(repr(entry["weight"]))) for entry in baseline]
    quotas = [share * rest / sum(exact) for share in exact]
    assert all(entry.points >= 1 for entry in kept)
    if min(quotas) >= 1:
        assert all(abs(entry.points - quota) < 1 for entry, quota in zip(kept, quotas, strict=True))


def _wired(entry: SplitEntry) -> dict[str, Any]:
    version = {} if entry.agent_version is None else {"agent_version": entry.agent_version}
    return {"agent_id": entry.agent_id, **version, "weight": entry.points / TOTAL}


@pytest.mark.parametrize(
    "split", [(), (SplitEntry("a", 1, 9999),), (SplitEntry("a", 1, TOTAL), SplitEntry("b", 1, 0))], ids=repr
)
def test_only_whole_splits_go_to_the_wire(split: splits.Split) -> None:
    with pytest.raises(SplitError, match="add up to 10000"):
        to_wire(split)


# ------------------------------------------------------------------ comparing and showing


def test_a_fingerprint_sees_meaning_only() -> None:
    ours = [
        {"agent_id": "a", "agent_version": 3, "weight": 0.1},
        {"agent_id": "b", "agent_version": "prod", "weight": 0.9},
    ]
    theirs = [
        {"weight": 0.9000000001, "agent_id": "b", "agent_version": "prod", "note": "x"},
        {"agent_id": "a", "agent_version": "3", "weight": 0.1},
    ]
    assert same(ours, theirs)
    assert same(ours, [{**theirs[1], "agent_version": 3.0}, theirs[0]])
    assert hash(fingerprint(ours)) == hash(fingerprint(theirs))
    assert fingerprint(ours) == (("a", 3, 100_000), ("b", "prod", 900_000))


@pytest.mark.parametrize(
    "other",
    [
        None,
        [],
        [{"agent_id": "a", "agent_version": 3, "weight": 0.99999}],
        [{"agent_id": "a", "agent_version": 4, "weight": 1}],
        [{"agent_id": "a", "agent_version": "prod", "weight": 1}],
        [{"agent_id": "a", "weight": 1}],
        [{"agent_id": "a", "agent_version": True, "weight": 1}],
        [{"agent_id": "a", "agent_version": 3, "weight": "1"}],
        [{"agent_id": "a", "agent_version": 3}],
        [{"agent_id": "a", "agent_version": 3, "weight": math.nan}],
        [{"agent_id": "a", "agent_version": 3, "weight": 1e300}],
        [{"agent_id": None, "agent_version": 3, "weight": 1}],
        [{"agent_id": "a", "agent_version": 3, "weight": 0.5}] * 2,
        ["a"],
        [None],
    ],
    ids=repr,
)
def test_whatever_differs_or_cannot_be_read_is_different(other: Any) -> None:
    assert not same([{"agent_id": "a", "agent_version": 3, "weight": 1}], other)


def test_no_list_and_an_empty_list_are_two_things() -> None:
    assert fingerprint(None) is None
    assert fingerprint([]) == ()
    assert not same(None, [])


@PROPERTY
@given(st.lists(entries, max_size=8), st.randoms(use_true_random=False))
def test_order_never_matters(listed: list[dict[str, Any]], chance: Any) -> None:
    shuffled = [{**entry, "extra": 1} for entry in listed]
    chance.shuffle(shuffled)
    assert same(listed, shuffled)


def test_a_split_for_people() -> None:
    split = compose(STABLE, CANARY, {"canary": 1000})
    assert describe(split, {}) == "10 % agent_abc v7, 90 % agent_abc v6"
    assert describe(to_wire(split), {"agent_abc": "Front desk"}) == "10 % Front desk v7, 90 % Front desk v6"
    assert describe([{"agent_id": "a", "agent_version": "prod", "weight": 0.33335}, {"agent_id": "b"}]) == (
        "33.335 % a prod, 0 % b (no version)"
    )
    assert describe(None) == "no list"
    assert describe([]) == "no agent"


def test_weights_are_named_for_people() -> None:
    assert splits.weights_text({"canary": 1000}) == "10 % canary"
    assert splits.weights_text({"b": 2000, "c": 1250}) == "20 % b, 12.5 % c"
    assert splits.weights_text({}) == ""
