"""A baseline bound by a tag: a tag that is moved or deleted during the rollout is told, and a person answers."""

from __future__ import annotations

import pytest

from rollout.adapters.store.rebuild import differences
from rollout.domain.errors import Refused
from rollout.interfaces.dashboard import formatting
from rollout.interfaces.dashboard.buttons import buttons
from rollout.sandbox.agents import Agent
from tests.support.scene import ME, Scene
from tests.support.values import AGENT, ONE, entry

MOVED = (
    f"the tag prod of {AGENT}, which the baseline names, was moved from version 6 to 8: the baseline's callers get that "
    "version now, and would get it after a rollback"
)


def move(scene: Scene, version: int) -> None:
    scene.sandbox.add_agent(AGENT, [], tags={"prod": version})


@pytest.fixture(autouse=True)
def standing(scene: Scene) -> None:
    scene.sandbox.edit(ONE, inbound_agents=[entry("prod")])
    scene.given_at(1, steps=[{"weight": 0.1, "hold": "2h"}, {"weight": 1.0, "hold": "2h"}])
    scene.after(300)
    scene.stands("progressing", 1)


def test_a_tag_that_is_moved_is_told_during_the_hold(scene: Scene) -> None:
    move(scene, 8)
    scene.after(3_600)
    scene.stands("held", 1, "drift")
    assert scene.rollout.why == MOVED
    assert scene.rollout.next == "adopt, rollback or stop"
    assert "tag" in formatting.held(scene.rollout)
    assert "restore" not in [button.command for button in buttons(scene.rollout)]
    with pytest.raises(Refused, match="the tag prod can only be moved back in Retell: adopt, rollback or stop"):
        scene.app.commands.restore(scene.id, ME)


def test_a_moved_tag_that_is_adopted_is_told_once(scene: Scene) -> None:
    move(scene, 8)
    scene.after(1_800)
    scene.stands("held", 1, "drift")
    scene.app.commands.adopt(scene.id, ME)
    scene.after(7_200)
    scene.stands("progressing", 2)
    move(scene, 6)
    scene.after(3_600)
    scene.stands("held", 2, "drift")
    with scene.app.database.read() as connection:
        assert differences(connection, scene.id) == []


@pytest.mark.parametrize(
    ("command", "end", "served"),
    [("rollback", "rolled_back", [entry("prod")]), ("stop", "stopped", [entry(7, 0.1), entry("prod", 0.9)])],
)
def test_a_rollback_and_a_stop_are_answers(scene: Scene, command: str, end: str, served: list[object]) -> None:
    move(scene, 8)
    scene.after(1_800)
    scene.stands("held", 1, "drift")
    getattr(scene.app.commands, command)(scene.id, ME)
    scene.drive()
    scene.stands(end)
    assert scene.live(ONE) == served


def test_a_paused_rollout_is_held_too(scene: Scene) -> None:
    scene.app.commands.pause(scene.id, ME)
    move(scene, 8)
    scene.after(1_800)
    scene.stands("held", 1, "drift")
    scene.app.commands.adopt(scene.id, ME)
    scene.after(60)
    scene.stands("paused", 1)
    scene.app.commands.stop(scene.id, ME)
    scene.drive()
    scene.stands("stopped")


def test_a_tag_that_is_deleted_is_told(scene: Scene) -> None:
    agent: Agent = scene.sandbox.add_agent(AGENT, [])
    del agent.tags["prod"]
    scene.after(1_800)
    scene.stands("held", 1, "drift")
    assert f"the tag prod of {AGENT}, which the baseline names, was deleted" in scene.rollout.why


def test_what_cannot_be_asked_moves_nothing(scene: Scene) -> None:
    scene.sandbox.fault("status", path="/get-agent/*", status=500, times=None)
    scene.after(3_600)
    scene.stands("progressing", 1)
