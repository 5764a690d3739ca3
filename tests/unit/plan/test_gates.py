# ruff: noqa: E501 - the tables hold whole sentences
"""Gates of a plan: what may be written, and what it is told to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.planfile import build_plan
from rollout.domain.errors import PlanError
from rollout.domain.plan.gates import Gates, ProfileName, with_new_names
from rollout.domain.plan.plan import Plan
from tests.unit.plan.plan_documents import complaints, document


def test_no_gates_is_profile_none() -> None:
    assert Plan.model_validate(document(gates=[])).gates == Gates(profile=ProfileName.NONE)


def test_gates_without_a_value_are_refused() -> None:
    with pytest.raises(PlanError, match=r"gates: nothing is given; write \[\] for none, or leave the key out"):
        build_plan({**document(), "gates": None})


def test_a_recorded_plan_is_read_with_the_names_of_today() -> None:
    former = document(gates={"act_after_promotion": True, "profile": "strict"})
    assert with_new_names(former) == document(gates={"act_at_full_weight": True, "profile": "strict"})
    for kept in (document(), document(gates=[]), document(gates={"act_at_full_weight": True})):
        assert with_new_names(kept) == kept


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"gates": {"metrics": [{"name": "success"}, {"name": "success"}]}},
            "gates.metrics[1].name: success is listed twice; list each metric once",
        ),
        (
            {"gates": {"metrics": [{"name": "success", "share": 0.9}, {"name": "slow", "share": 0.2}]}},
            "gates.metrics: the shares add up to 1.1; write shares that add up to at most 1",
        ),
        (
            {"gates": {"profile": "lenient"}},
            'gates.profile: "lenient" is not known here; write one of: standard, low-traffic, strict, none',
        ),
        (
            {"gates": {"profile": "none", "metrics": [{"name": "success"}]}},
            "gates.profile: profile none judges no calls, but success is listed; write profile: standard, or leave the metric out",
        ),
        (
            {"gates": {"metrics": [{"name": "slow"}]}},
            "gates.metrics: no metric has margins, so every step would pass without proof; give one metric margins, such as margins: [0.25, 0.10]",
        ),
        ({"gates": ["success"]}, "gates: a list is given; write gates: {metrics: [...]}, or [] for none"),
        (
            {"gates": {"act_after_promotion": True}},
            "gates.act_after_promotion: has been renamed, because it acts in the last hold at weight 1 and not after promotion; write act_at_full_weight",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
