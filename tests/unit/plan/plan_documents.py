"""Small plans as people write them, and the complaints about them."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.planfile import build_plan
from rollout.domain.errors import PlanError

NUMBER = "+14157774444"


def document(**changes: Any) -> dict[str, Any]:
    """A small plan; a change of None takes the key out."""
    plan: dict[str, Any] = {
        "version": 1,
        "name": "frontdesk-v7",
        "numbers": [NUMBER],
        "channels": ["inbound"],
        "canary": {"agent_id": "agent_abc", "agent_version": 7},
        "steps": [{"weight": 0.1, "hold": "30m", "min_calls": 50}, {"weight": 1.0, "hold": "1d"}],
        **changes,
    }
    return {key: value for key, value in plan.items() if value is not None}


VARIANTS: dict[str, Any] = {
    "canary": None,
    "variants": {
        "b": {"agent_id": "agent_abc", "agent_version": 8},
        "c": {"agent_id": "agent_abc", "agent_version": 9},
    },
    "steps": [{"weights": {"b": 0.2, "c": 0.2}, "hold": "1d"}],
}


OFFICE = {"zone": "America/Los_Angeles", "windows": [{"from": "09:00", "to": "17:00"}]}


def complaints(**changes: Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        build_plan(document(**changes))
    lines = caught.value.message.splitlines()
    assert len(lines) == len(caught.value.details["problems"])
    return [line.removeprefix("plan: ") for line in lines]
