"""The buttons of a rollout's page: in each phase those that fit it."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position
from rollout.interfaces.dashboard.buttons import Button, buttons
from tests.support.values import confirmed, plan, rollout, target


def labels(found: Iterable[Button]) -> list[str]:
    return [b.label.replace("\u00a0", " ") for b in found]


def test_the_buttons_of_each_phase() -> None:
    at = rollout().created_at
    going = rollout(targets=(confirmed(),), confirmed_at=at)
    assert labels(buttons(going)) == [
        "Promote to 1.2 (50 %)",
        "Promote all the way (100 %)",
        "Set weights",
        "Ship a version",
        "Pause",
        "Stop",
    ]
    writing = rollout(targets=(target(),))
    assert labels(buttons(writing)) == ["Promote all the way (100 %)", "Ship a version", "Pause", "Stop"]
    last = rollout(targets=(confirmed(step=3),), confirmed_at=at, position=Position(1, 3))
    assert labels(buttons(last)) == ["End the bake", "Set weights", "Ship a version", "Pause", "Stop"]
    assert labels(buttons(rollout(phase=Phase.PAUSED))) == ["Ship a version", "Resume", "Stop"]
    held = rollout(phase=Phase.HELD, reason="drift")
    assert labels(buttons(held)) == ["Adopt the live split", "Restore the split", "Stop"]
    for phase in (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED, Phase.ROLLING_BACK):
        assert buttons(rollout(phase=phase)) == []
    for phase in (Phase.PAUSED, Phase.HELD):
        assert buttons(rollout(phase=phase, stop_asked=True)) == [], "it is being stopped"


def test_a_plan_with_variants_shows_the_whole_weight() -> None:
    variants = {"b": {"agent_id": "agent_b", "agent_version": 1}, "c": {"agent_id": "agent_c", "agent_version": 1}}
    ab = plan(canary=None, variants=variants, steps=[{"weights": {"b": 0.1}}, {"weights": {"b": 0.2, "c": 0.3}}])
    r = rollout(plan=ab, targets=(confirmed(of=ab),), confirmed_at=rollout().created_at)
    assert labels(buttons(r))[0] == "Promote to 1.2 (50 %)"
