"""The judge sees: a write without an intent, a step out of order, a split that is not the one confirmed."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from rollout.domain.writes.protocol import body_of, lists_at
from tests.processes.judge import judge
from tests.processes.stage import AGENT, KEY, Stage


def _patch(stage: Stage, number: str, body: str) -> None:
    request = urllib.request.Request(
        f"{stage.sandbox.url}/update-phone-number/{number.replace('+', '%2B')}",
        data=body.encode(),
        method="PATCH",
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


@pytest.fixture
def promoted(sqlite_stage: Stage) -> tuple[Stage, str, str]:
    """A rollout that has ended well, and its number."""
    stage = sqlite_stage
    id_ = stage.start(1, hold="0.2s")
    service = stage.serve()
    stage.until_phase(id_, "promoted")
    service.kill()
    assert judge(stage, [id_], hold=0.2) == []
    return stage, id_, stage.load(id_).targets[0].number


def test_the_judge_sees_what_is_wrong(promoted: tuple[Stage, str, str]) -> None:
    stage, id_, number = promoted
    assert any("whose hold is 60" in fault for fault in judge(stage, [id_], hold=60.0))
    rollout = stage.load(id_)
    _patch(stage, number, body_of(lists_at(rollout.plan, rollout.targets[0].baseline, 1)))
    faults = judge(stage, [id_])
    assert any("has no intent" in fault for fault in faults), faults
    assert any("the steps came as [1, 2, 3, 1]" in fault for fault in faults), faults
    assert any("promoted, and" in fault and "serves" in fault for fault in faults), faults
    wrong: list[dict[str, Any]] = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]
    _patch(stage, number, json.dumps({"inbound_agents": wrong, "outbound_agents": wrong}))
    assert any("a PATCH wrote ['inbound_agents', 'outbound_agents']" in fault for fault in judge(stage, [id_]))
