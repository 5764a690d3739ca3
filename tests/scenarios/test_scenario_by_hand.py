"""Weights set by hand between the plan's steps, from the command to what Retell has and back."""

from __future__ import annotations

import pytest

from rollout.adapters.store.rebuild import differences
from rollout.domain.errors import Refused
from rollout.domain.lifecycle.commands import By
from tests.support.scene import ME, Scene
from tests.support.values import ONE, TWO, entry


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
