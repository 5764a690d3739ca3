"""Phrases of the reasons that people read."""

from __future__ import annotations

from rollout.domain.decide.actions import Apply
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from tests.support.clock import START
from tests.support.values import only, plan, rollout


def test_every_variant_is_named_in_the_reason() -> None:
    several = plan(
        canary=None,
        variants={"b": {"agent_id": "agent_b", "agent_version": 1}, "c": {"agent_id": "agent_c", "agent_version": 2}},
        steps=[{"weights": {"b": 0.2, "c": 0.05}, "hold": "1d"}],
    )
    action = decide(rollout(plan=several), Facts(), START)
    assert isinstance(action, Apply)
    assert action.why == "step 1.1: 20 % b, 5 % c"
    assert [t.baseline for t in action.targets] == [only(6)]
