"""Baselines on their way back: what is refused before the first write, and a form that the strictest Retell takes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.domain.splits.baselines import exact_lists, reason_to_refuse, wrong_sum
from rollout.domain.writes.protocol import shows_baseline
from rollout.sandbox.messages import ApiError
from rollout.sandbox.rules import read_patch
from tests.support.values import FIELD, ONE, entry


def served(*weights: Any) -> list[dict[str, Any]]:
    return [entry(i + 1, weight) for i, weight in enumerate(weights)]


def taken(lists: dict[str, Any]) -> bool:
    """Whether the strictest Retell takes these lists."""
    try:
        read_patch(json.loads(json.dumps(lists), parse_float=Decimal), ONE, strict=True)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ([0.5, 0.4], "add up to 0.9, not to 1"),
        ([0.7, 0.7], "add up to 1.4"),
        ([2], "weight 2,"),
        ([0], "weight 0,"),
        ([1, 0], "weight 0,"),
        ([1.2, -0.2], "weight 1.2"),
        ([-1], "weight -1"),
        ([0.98], "add up to 0.98"),
        ([0.5, 0.5101], "add up to 1.0101"),
        ([1e-9], "add up to 1E-9"),
    ],
    ids=str,
)
def test_a_list_that_retell_itself_would_refuse_is_refused(weights: list[Any], why: str) -> None:
    found = reason_to_refuse(served(*weights))
    assert found is not None
    assert why in found


@pytest.mark.parametrize("version", [-1, 6.5, "v3", "Prod", "", "a" * 21, 2**40])
def test_an_entry_without_a_version_that_can_be_sent_is_refused(version: Any) -> None:
    found = reason_to_refuse([entry(version)])
    assert found is not None
    assert "neither a version nor a tag" in found


@pytest.mark.parametrize(
    ("weights", "total"),
    [
        ([1], None),
        ([0.75, 0.25], None),
        ([0.1] * 10, None),
        ([0.7, 0.2, 0.1], None),
        ([0.1 + 0.2, 0.7], None),
        ([0.3333, 0.3333, 0.3333], "0.9999"),
        ([0.99], "0.99"),
        ([0.33] * 3, "0.99"),
        ([0.5, 0.51], "1.01"),
        ([0.33335, 0.66666], "1.00001"),
    ],
    ids=str,
)
def test_what_misses_one_by_a_hundredth_or_less_is_accepted_and_said(weights: list[float], total: str | None) -> None:
    assert reason_to_refuse(served(*weights)) is None
    assert wrong_sum(served(*weights)) == (None if total is None else Decimal(total))


def test_a_weight_that_cannot_be_read_counts_as_none() -> None:
    assert wrong_sum(served(0.5, None)) == wrong_sum(served(0.5, "half")) == Decimal("0.5")
    assert reason_to_refuse(served(0.5, None)) == "an entry has the weight None, which is not above 0 and at most 1"


def parts(cuts: list[int], scale: int, off: int) -> list[float]:
    """Weights of these proportions that add up to about 1, rounded to `scale`, the first of them off by a little."""
    whole = sum(cuts)
    found = [max(1, round(cut * scale / whole)) for cut in cuts]
    found[0] = max(1, found[0] + off * scale // 10_000)
    return [each / scale for each in found]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    st.sampled_from([100, 1000, 10_000, 10**6]),
    st.integers(-99, 99),
    st.sampled_from([60, "60", 60.0, "prod", None]),  # of no other entry
)
@example([7, 2, 1], 10, 0, 60)
@example([1, 1, 1], 10_000, 0, 60)
@example([1, 366, 1, 1, 3, 6, 9, 273], 10_000, 1, 60)
@example([55, 250, 291, 290, 290, 290, 290, 283], 100, 0, 60)  # no order of its whole points adds up to 1.0
@example([1] * 10, 100, 0, 60)  # nor with one point moved
def test_for_every_accepted_baseline_there_is_a_body_that_a_strict_retell_takes(
    cuts: list[int], scale: int, off: int, version: Any
) -> None:
    weights = parts(cuts, scale, off)
    read = [{**entry(i + 1, weight), "note": "of Retell's"} for i, weight in enumerate(weights)]
    read[0]["agent_version"] = version
    if reason_to_refuse(read) is not None:
        return
    form = exact_lists({FIELD: read})
    assert taken(form), (weights, form)
    assert sum(Decimal(repr(e["weight"])) for e in form[FIELD]) == 1
    assert shows_baseline(form, {FIELD: read})
    whole = sum(weights)
    by_version = {e.get("agent_version"): e["weight"] for e in form[FIELD]}
    for i, weight in enumerate(weights[1:], 2):
        assert by_version[i] == pytest.approx(weight / whole, abs=len(weights) * 1e-4), "in the old proportions"


def test_weights_in_an_order_that_doubles_do_not_like_are_put_into_another() -> None:
    read = {FIELD: served(0.7, 0.2, 0.1)}
    assert not taken(read)
    assert exact_lists(read) != read
    assert taken(exact_lists(read))


def test_a_list_of_an_older_database_that_no_pre_flight_saw_has_a_form_too() -> None:
    assert exact_lists({FIELD: served(0.5, 0.4)})[FIELD] == served(0.5556, 0.4444)
    assert exact_lists({FIELD: served(2)})[FIELD] == served(1.0)
    assert exact_lists({FIELD: served(1, 0)})[FIELD] == served(1.0)
    assert exact_lists({FIELD: None}) == {FIELD: []}
