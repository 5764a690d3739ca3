"""Weights set and a version shipped by a person, with the service killed in the middle: written once, and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.writes.protocol import lists_with, shows
from tests.processes.judge import changes, judge_by_hand
from tests.processes.stage import SPLIT, TESTER, Stage

POINTS = (
    "before_intent",
    "in_intent",
    "after_intent",
    "half_sent",
    "after_sent",
    "after_answer",
    "in_outcome",
    "after_outcome",
    "before_confirmed",
)


def give(stage: Stage, id_: str, command: str) -> None:
    if command == "ship":
        stage.app.commands.ship(id_, TESTER, variant="canary", anyway=True)
    else:
        stage.app.commands.set_weights(id_, TESTER, weights={"canary": 0.3})


@pytest.mark.parametrize(
    ("command", "point"), [*(("ship", point) for point in POINTS), ("set", "after_intent"), ("set", "after_sent")]
)
def test_the_next_service_writes_it_once_and_a_rollback_takes_it_back(
    sqlite_stage: Stage, command: str, point: str
) -> None:
    stage = sqlite_stage
    id_ = stage.start(2, hold="600s", **({"waves": [1]} if command == "ship" else {}))
    first = stage.serve()
    stage.until(lambda: stage.load(id_).confirmed_at)
    first.kill()
    give(stage, id_, command)
    dying = stage.serve(f"{point}:1")
    stage.until(lambda: dying.poll() is not None)
    stage.serve()
    stage.until(lambda: stage.load(id_).confirmed_at)

    r = stage.load(id_)
    assert r.outstanding == () and judge_by_hand(stage, r) == []
    for target in r.targets:
        wanted: dict[str, Any] = lists_with(r.plan, target.baseline, r.weights_at(r.step))
        live = [shows(state, wanted) for state in changes(stage, r, target.number)]
        assert live[-1] and live.count(True) == 1, "it came once, and is what callers get"

    assert stage.cli("rollback", id_, "--reason", "callers complain").code == 0
    assert all(stage.sandbox.number(t.number).inbound_agents == SPLIT for t in r.targets)
    assert judge_by_hand(stage, stage.until_phase(id_, "rolled_back")) == []
