"""An A/B test that ends by its plan, from the decision to what Retell has."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.store.rebuild import differences
from rollout.domain.lifecycle.machine import PausedBy
from tests.support.scene import ME, Scene
from tests.support.values import AGENT, ONE, THREE, TWO, entry, said
from tests.support.verdicts import ENOUGH, ab_verdict

NUMBERS = (ONE, TWO, THREE)
WEEK = 7 * 86_400
WINNER = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)})
TIE = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.2)})


def given_test(scene: Scene, **decides: Any) -> None:
    """The last step of a test of two variants is confirmed; it is decided a week later, and bakes for a day."""
    scene.given_at(
        2,
        canary=None,
        numbers=list(NUMBERS),
        variants={name: {"agent_id": AGENT, "agent_version": v} for name, v in (("b", 7), ("c", 8))},
        steps=[{"weights": {"b": 0.1, "c": 0.1}, "hold": "1d"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}],
        gates={"profile": "standard"},
        decide={"after": "7d", **decides},
    )


def rebuilt(scene: Scene) -> bool:
    with scene.app.database.read() as connection:
        return differences(connection, scene.id) == []


def test_the_best_variant_is_shipped_by_plan_baked_and_promoted(scene: Scene) -> None:
    scene.gates.verdict = WINNER
    given_test(scene)
    scene.after(WEEK - 1)
    scene.stands("progressing", 2)
    assert scene.weight(ONE, 8) == 0.3
    scene.after(1)
    assert [scene.live(n) for n in NUMBERS] == [[entry(8)]] * 3
    assert scene.rollout.shipped == "c"
    shipped = next(e for e in scene.app.store.history(scene.id) if e.kind == "shipped")
    assert (shipped.actor, shipped.data["by_hand"]["ships"]) == ("service", "c")
    assert shipped.reason.startswith("decided by the plan after 7d: c is shipped: ")
    assert shipped.data["verdict"]["comparison"]["leader"] == "c"
    scene.after(86_399)
    scene.stands("progressing", 2)
    scene.after(1)
    scene.stands("promoted")
    assert scene.rollout.why == "c is shipped: the bake is over"
    assert rebuilt(scene)


def test_a_restart_at_any_moment_changes_nothing(scene: Scene) -> None:
    scene.gates.verdict = WINNER
    given_test(scene)
    scene.after(WEEK / 2)
    scene.restart()
    scene.after(WEEK / 2 - 1)
    assert scene.weight(ONE, 8) == 0.3
    scene.restart()
    scene.after(1)
    scene.restart()
    scene.after(86_400)
    scene.stands("promoted")
    assert scene.journal({"shipped"}) == ["shipped"]


def test_a_rollback_wins_before_and_after_it_is_shipped(scene: Scene) -> None:
    scene.gates.verdict = WINNER
    given_test(scene)
    scene.after(WEEK)
    assert scene.rollout.shipped == "c"
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert [scene.live(n) for n in NUMBERS] == [[entry(6)]] * 3


def test_a_gate_that_fails_at_the_moment_of_the_decision_wins(scene: Scene) -> None:
    given_test(scene)
    scene.after(WEEK - 1)
    scene.gates.verdict = said("fail", "too many calls break")
    scene.after(1)
    scene.stands("rolled_back", reason="too many calls break")
    assert scene.journal({"shipped"}) == []


def test_drift_over_what_the_plan_ships_is_restored_with_it(scene: Scene) -> None:
    scene.gates.verdict = WINNER
    given_test(scene)
    scene.after(WEEK)
    scene.sandbox.edit(THREE, inbound_agents=[entry(5)])
    scene.scan()
    scene.stands("held", 2, "drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.live(THREE) == [entry(8)]


# ------------------------------------------------------------------ nothing is shipped


def test_a_tie_is_rolled_back(scene: Scene) -> None:
    scene.gates.verdict = TIE
    given_test(scene, otherwise="rollback")
    scene.after(WEEK)
    scene.stands("rolled_back")
    assert str(scene.rollout.reason).startswith("decided by the plan after 7d: nothing is shipped: b is not proven")
    assert [scene.live(n) for n in NUMBERS] == [[entry(6)]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["resume", "ship"])
def test_a_tie_is_paused_until_a_person_answers(scene: Scene, answer: str) -> None:
    scene.gates.verdict = TIE
    given_test(scene, otherwise="pause")
    scene.after(WEEK)
    scene.stands("paused", 2)
    assert scene.rollout.paused_by is PausedBy.DECISION
    assert scene.rollout.why.startswith("decided by the plan after 7d: nothing is shipped: ")
    scene.restart()
    scene.after(WEEK)
    scene.stands("paused", 2)
    assert scene.rollout.why.startswith("decided by the plan after 7d: nothing is shipped: ")
    assert scene.weight(ONE, 8) == 0.3
    if answer == "ship":
        scene.app.commands.ship(scene.id, ME, variant="b", anyway=True)
        scene.drive()
        assert scene.live(ONE) == [entry(7)]
        return
    scene.app.commands.resume(scene.id, ME)
    scene.after(WEEK - 1)
    scene.stands("progressing", 2)
    scene.gates.verdict = WINNER
    scene.after(1)
    assert scene.rollout.shipped == "c"
    assert rebuilt(scene)


def test_a_tie_is_kept_and_decided_again_after_as_long(scene: Scene) -> None:
    scene.gates.verdict = TIE
    given_test(scene, otherwise="keep")
    scene.after(WEEK)
    scene.stands("progressing", 2)
    assert scene.journal({"decision_kept"}) == ["decision_kept"]
    scene.restart()
    scene.after(WEEK - 1)
    assert scene.journal({"decision_kept"}) == ["decision_kept"]
    scene.gates.verdict = WINNER
    scene.after(1)
    assert scene.live(ONE) == [entry(8)]
    assert rebuilt(scene)


def test_a_test_that_ships_none_ends_in_a_rollback(scene: Scene) -> None:
    given_test(scene, ship="none", otherwise="rollback")
    scene.after(WEEK)
    scene.stands("rolled_back")
