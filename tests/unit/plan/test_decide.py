"""What a plan may say of the end of its A/B test, what it means, and what it is told to write instead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.adapters.planfile import build_plan, dump_plan, load_plan
from rollout.domain.errors import PlanError

VARIANTS = {name: {"agent_id": "agent_abc", "agent_version": version} for name, version in (("b", 8), ("c", 9))}
STEPS = [{"weights": {"b": 0.1, "c": 0.1}, "hold": "1d"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}]


def document(decide: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An A/B test of two variants in two steps; a change of None takes the key out."""
    plan: dict[str, Any] = {
        "version": 1,
        "name": "greeting",
        "numbers": ["+14157774444"],
        "channels": ["inbound"],
        "variants": VARIANTS,
        "steps": STEPS,
        "decide": decide,
        **changes,
    }
    return {key: value for key, value in plan.items() if value is not None}


def last(**changes: Any) -> dict[str, Any]:
    return {"steps": [STEPS[0], {**STEPS[1], **changes}]}


def test_defaults_and_the_way_there_and_back() -> None:
    plan = build_plan(document({"after": "14d"}))
    assert plan.decide is not None
    assert plan.decide.after == timedelta(days=14)
    assert (plan.decide.min_calls, plan.decide.ship, plan.decide.otherwise) == (0, "best", "pause")
    full = build_plan(document({"after": "36h", "min_calls": 400, "ship": "none", "otherwise": "rollback"}, gates=[]))
    assert load_plan(dump_plan(full)) == full
    assert build_plan(document({"after": "1d", "otherwise": "keep"}, deadline="49h")).deadline is not None


@pytest.mark.parametrize(
    ("decide", "changes", "sentence"),
    [
        ({}, {}, "decide.after: is missing; write after: ..."),
        ({"after": "0s"}, {}, "decide.after: 0s leaves no time; write for example 30s, 15m or 7d"),
        ({"after": "14d", "ship": "b"}, {}, 'decide.ship: "b" is not known here; write one of: best, none'),
        (
            {"after": "14d", "otherwise": "stop"},
            {},
            'decide.otherwise: "stop" is not known here; write one of: rollback, pause, keep',
        ),
        ({"after": "14d", "min_calls": 0.5}, {}, "decide.min_calls: 0.5 is not"),
        (
            {"after": "14d", "ship": "none", "otherwise": "keep"},
            {},
            "decide.otherwise: nothing is shipped and the test continues, so nothing is decided; write otherwise: rollback",
        ),
        (
            {"after": "14d"},
            {"variants": None, "canary": VARIANTS["b"], "steps": [{"weight": 0.5}]},
            "decide: decide chooses between variants, but the plan has one canary; write variants:",
        ),
        (
            {"after": "14d"},
            {"gates": []},
            "decide.ship: no metric with margins compares the calls, so no variant is ever proven best; write gates with",
        ),
        (
            {"after": "14d"},
            last(approve=True),
            "steps[1].approve: the last step waits for a person, but decide ends it; leave approve out",
        ),
        (
            {"after": "14d"},
            last(weights={"b": 0.3}),
            "steps[1].weights: c has no calls in the last step, so decide cannot compare it; give it a weight there",
        ),
        (
            {"after": "14d"},
            last(weights={"b": 0.5, "c": 0.5}),
            "steps[1].weights: the last step leaves no calls to the baseline, so decide cannot compare with it; write",
        ),
        (
            {"after": "14d"},
            last(hold="15d"),
            "steps[1].hold: the hold of the last step is longer than decide.after, 14d; write a shorter one",
        ),
        (
            {"after": "14d"},
            {"deadline": "15d"},
            "deadline: the deadline comes before the plan can decide; write more than 15d",
        ),
    ],
)
def test_what_is_refused_and_what_to_write(decide: dict[str, Any], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as refused:
        build_plan(document(decide, **changes))
    assert sentence in refused.value.message
