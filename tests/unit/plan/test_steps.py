"""Steps, holds and waves of a plan: what may be written, and what it is told to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.planfile import build_plan
from rollout.domain.plan.gates import ProfileName
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.steps import wave_of
from rollout.domain.splits import splits
from tests.unit.plan.plan_documents import VARIANTS, complaints, document


def test_a_recorded_plan_keeps_an_order_that_nobody_may_write_any_more() -> None:
    assert Plan.model_validate(document(wave_order="volume")).wave_order == "volume"
    assert "volume" not in Plan.model_json_schema()["$defs"]["WaveOrder"]["enum"]


def test_a_variant_that_a_step_leaves_out_has_no_weight() -> None:
    plan = Plan.model_validate(document(**VARIANTS | {"steps": [{"weights": {"c": 0.05}}, {"weights": {"b": 1}}]}))
    assert plan.weights(1) == {"c": 500}
    assert plan.weights(2) == {"b": 10_000}
    assert list(plan.arms) == ["b", "c"]
    baseline = [{"agent_id": "agent_abc", "agent_version": 6, "weight": 1}]
    assert [e.points for e in splits.compose(baseline, plan.pairs, plan.weights(1))] == [500, 9500]


def test_weights_need_not_rise_and_holds_may_be_below_a_second() -> None:
    plan = Plan.model_validate(
        document(steps=[{"weight": 0.5, "hold": "0.5s"}, {"weight": 0.1}], gates={"profile": "none"})
    )
    assert plan.hold(1).seconds == 0.5
    assert plan.gates.profile is ProfileName.NONE


def test_waves_are_kept_as_they_are_written() -> None:
    assert build_plan(document(waves=[1, "10%", 20, "50%"])).waves == (1, "10%", 20, "50%")


@pytest.mark.parametrize(
    ("count", "waves", "reached"),
    [
        (1000, [1, "10%", "100%"], [1, 100, 1000]),
        (5, [1, "10%", "100%"], [1, 5]),
        (25, ["10%", "50%"], [3, 13, 25]),
        (3, None, [3]),
        (3, [5], [3]),
        (1, [1, 2, 3], [1]),
        (7, [1, 3], [1, 3, 7]),
        (0, [1, "100%"], []),
        (10_000, ["0.01%"], [1, 10_000]),
        (300, ["33.33%", 100], [100, 300]),
        (10, [8, "50%"], [8, 10]),
    ],
    ids=repr,
)
def test_waves_are_cumulative_and_end_with_everything(count: int, waves: Any, reached: list[int]) -> None:
    assert wave_of(count, waves) == reached


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 5000), st.lists(st.one_of(st.integers(1, 6000), st.integers(1, 100).map("{}%".format)), max_size=6)
)
def test_waves_always_rise_to_the_count(count: int, waves: list[int | str]) -> None:
    reached = wave_of(count, waves)
    assert reached[-1] == count
    assert all(a < b for a, b in zip([0, *reached], reached, strict=False))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": [{}]}, "steps[0]: the step has no weight; write weight: 0.1, or weights: {b: 0.1} for variants"),
        (
            {"steps": [{"weight": 0.1, "hold": {"opn": "8h"}}]},
            'steps[0].hold: {"opn": "8h"} is not a hold; write for example 30m, or {open: 8h} for open hours',
        ),
        ({"steps": [{"weight": 0.1, "min_calls": -1}]}, "steps[0].min_calls: -1 is too small; write at least 0"),
        (
            {"steps": [{"weight": 0.1, "min_calls": "50"}]},
            'steps[0].min_calls: "50" is not a whole number; write a whole number without quotes, for example 50',
        ),
        (
            {"steps": [{"weight": 0.1, "approve": "yes"}]},
            'steps[0].approve: "yes" is not true or false; write true or false, without quotes',
        ),
        ({"steps": [{"weight": 0.1, "hodl": "1h"}]}, "steps[0].hodl: there is no such key; write hold"),
        (
            VARIANTS | {"steps": [{"weights": {"b": 0.6, "c": 0.5}}]},
            "steps[0].weights: the weights add up to 1.1; write weights that add up to at most 1",
        ),
        (
            {"waves": [0.1]},
            'waves[0]: 0.1 is not a wave; write a count of numbers, for example 1, or a share, for example "10%"',
        ),
        ({"waves": ["200%"]}, 'waves[0]: 200% is not a share of the numbers; write above "0%" and at most "100%"'),
        (
            {"steps": [{"weight": 0.1, "weights": {"b": 0.1}}]},
            "steps[0].weights: weight and weights are both given; write one of them",
        ),
        *(
            (
                {"waves": [odd]},
                f'waves[0]: {said} is not a wave; write a count of numbers, for example 1, or a share, for example "10%"',
            )
            for odd, said in ((0, "0"), (True, "true"), ("10", '"10"'))
        ),
        *(
            ({"waves": [odd]}, f'waves[0]: {odd} is not a share of the numbers; write above "0%" and at most "100%"')
            for odd in ("0%", "0.00%", "100.01%")
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
