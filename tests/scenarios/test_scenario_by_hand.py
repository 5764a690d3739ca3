"""Weights set by hand between the plan's steps, from the command to what Retell has and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout.adapters.store.rebuild import differences
from rollout.domain.errors import Refused
from rollout.domain.lifecycle.commands import By
from rollout.kit.build import make_kit
from tests.support.scene import ME, Scene
from tests.support.values import AGENT, ONE, THREE, TWO, entry, said

AB: dict[str, Any] = {
    "canary": None,
    "numbers": [ONE, TWO, THREE],
    "variants": {"b": {"agent_id": AGENT, "agent_version": 7}, "c": {"agent_id": AGENT, "agent_version": 8}},
    "steps": [{"weights": {"b": 0.1, "c": 0.1}, "hold": "30m"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}],
    "waves": [2],
}


def test_weights_by_hand_are_written_held_and_left_by_the_plan(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO])
    scene.after(1_000)
    scene.app.commands.set_weights(scene.id, By("cli:test", "slower"), weights={"canary": 0.05})
    scene.drive()
    assert [scene.weight(n) for n in (ONE, TWO)] == [0.05, 0.05]
    scene.stands("progressing", 1)
    scene.after(1_799)
    assert scene.weight(ONE) == 0.05, "the hold of the step counts anew"
    scene.after(1)
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5
    kinds = scene.journal(("set", "intended", "confirmed", "advanced"))
    assert kinds == ["intended", "confirmed", "set", "intended", "confirmed", "advanced", "intended", "confirmed"]


def test_a_repeated_request_sets_once(scene: Scene) -> None:
    scene.given_at(1)
    by = By("cli:test", "once", "request-1")
    first = scene.app.commands.set_weights(scene.id, by, weights={"canary": 0.3})
    assert scene.app.commands.set_weights(scene.id, by, weights={"canary": 0.3}) == first
    with pytest.raises(Refused):
        scene.app.commands.set_weights(scene.id, by, weights={"canary": 0.4})
    assert scene.journal(("set",)) == ["set"]


def test_a_rollback_afterwards_brings_the_baseline_verbatim(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.set_weights(scene.id, ME, weights={"canary": 0.3333})
    scene.drive()
    assert scene.weight(ONE) == 0.3333
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_drift_over_weights_by_hand_is_answered_with_them(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.set_weights(scene.id, ME, weights={"canary": 0.3})
    scene.drive()
    scene.sandbox.edit(ONE, inbound_agents=[entry(5)])
    scene.scan()
    scene.stands("held", 1, "drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.3


def test_a_restart_goes_on_with_them_and_the_journal_rebuilds_the_tables(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.set_weights(scene.id, ME, weights={"canary": 0.3})
    scene.restart()
    scene.drive()
    assert scene.weight(ONE) == 0.3
    with scene.app.database.read() as connection:
        assert differences(connection, scene.id) == []


# ------------------------------------------------------------------ an A/B test that ends in a decision


def ship(scene: Scene, variant: str = "c", **how: bool) -> None:
    scene.app.commands.ship(scene.id, By("cli:test", "c books more"), variant=variant, **{"anyway": True, **how})


def test_the_winner_is_shipped_to_every_number_baked_and_promoted(scene: Scene) -> None:
    scene.given_at(1, **AB)
    assert [scene.weight(n, 8) for n in (ONE, TWO, THREE)] == [0.1, 0.1, 0.0]
    with pytest.raises(Refused, match="no gate has judged c yet; to ship it anyway, add --anyway"):
        ship(scene, anyway=False)
    ship(scene)
    scene.drive()
    assert [scene.live(n) for n in (ONE, TWO, THREE)] == [[entry(8)]] * 3
    scene.stands("progressing", 2)
    scene.after(86_399)
    scene.stands("progressing", 2)
    scene.after(1)
    scene.stands("promoted")
    assert (scene.rollout.shipped, scene.rollout.why) == ("c", "c is shipped: the bake is over")
    with scene.app.database.read() as connection:
        assert differences(connection, scene.id) == []


def test_a_rollback_after_the_end_brings_the_baseline_verbatim(scene: Scene) -> None:
    scene.given_at(1, **AB)
    ship(scene)
    scene.after(86_400)
    scene.stands("promoted")
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert [scene.live(n) for n in (ONE, TWO, THREE)] == [[entry(6)]] * 3


def test_it_is_shipped_from_paused_and_after_an_answer_to_drift(scene: Scene) -> None:
    scene.given_at(1, **AB)
    scene.app.commands.pause(scene.id, ME)
    scene.sandbox.edit(ONE, inbound_agents=[entry(5)])
    scene.scan()
    scene.stands("held", 1, "drift")
    with pytest.raises(Refused, match="answer it first: adopt, restore, rollback or stop"):
        ship(scene)
    scene.app.commands.restore(scene.id, ME)
    scene.stands("paused", 1)
    ship(scene)
    scene.drive()
    assert [scene.live(n) for n in (ONE, TWO, THREE)] == [[entry(8)]] * 3


def test_drift_over_what_is_shipped_is_restored_with_it(scene: Scene) -> None:
    scene.given_at(1, **AB)
    ship(scene)
    scene.drive()
    scene.sandbox.edit(THREE, inbound_agents=[entry(5)])
    scene.scan()
    scene.stands("held", 2, "drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.live(THREE) == [entry(8)]
    scene.after(86_400)
    scene.stands("promoted")


def test_what_does_not_serve_the_shipped_version_is_not_adopted_for_it(scene: Scene) -> None:
    scene.given_at(1, **AB)
    scene.sandbox.fault("status", status=422, method="PATCH", times=None)
    ship(scene)
    scene.drive()
    scene.stands("held", 2, "rejected")
    with pytest.raises(Refused, match=rf"c is being shipped, and \{ONE} does not serve it: restore, roll back or stop"):
        scene.app.commands.adopt(scene.id, ME)
    scene.sandbox.clear_faults()
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert [scene.live(n) for n in (ONE, TWO, THREE)] == [[entry(8)]] * 3
    scene.sandbox.edit(ONE, inbound_agents=[entry(8)])
    scene.scan()
    scene.stands("held", 2, "touched")
    scene.app.commands.adopt(scene.id, ME)
    scene.after(86_400)
    scene.stands("promoted")


def test_a_bake_that_fails_takes_what_is_shipped_back(scene: Scene) -> None:
    scene.given_at(1, **AB)
    ship(scene)
    scene.drive()
    scene.gates.verdict = said("fail", "too many calls break")
    scene.after(86_400)
    scene.stands("rolled_back", reason="too many calls break")
    assert [scene.live(n) for n in (ONE, TWO, THREE)] == [[entry(6)]] * 3


def test_nothing_is_shipped_when_it_is_stopped(scene: Scene) -> None:
    scene.given_at(2, **AB)
    scene.app.commands.stop(scene.id, ME)
    scene.drive()
    scene.stands("stopped")
    assert scene.rollout.shipped is None
    assert scene.weight(ONE, 8) == 0.3


def test_the_kit_of_what_is_shipped_knows_it_and_the_baseline(scene: Scene) -> None:
    scene.given_at(1, **AB)
    ship(scene)
    scene.drive()
    kit = make_kit(scene.rollout, base_url=scene.sandbox.url, lease=1, horizon=1, now=scene.clock.now())
    data = json.loads(kit.partition("json.loads(r'''")[2].partition("'''")[0])
    lists = {name: [entry(version)] for name, version in (("baseline", 6), ("confirmed", 8))}
    assert data["numbers"][THREE] == {name: {"inbound_agents": found} for name, found in lists.items()}
