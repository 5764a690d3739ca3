"""A confirmation promises exactly what is then sent: the bodies shown beside those that the sandbox received."""

from __future__ import annotations

import json

import pytest

from rollout.domain.errors import InputError
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, TargetState
from rollout.domain.writes.protocol import body_of
from rollout.interfaces.dashboard import confirmations, patch_preview
from rollout.interfaces.dashboard.buttons import buttons
from rollout.interfaces.dashboard.formatting import pretty_json
from tests.support import retreating
from tests.support.scene import ME, Scene
from tests.support.values import ONE, THREE, TWO, confirmed, entry, rollout, said, write


def promised(intent: confirmations.Intent) -> list[tuple[str, object]]:
    return sorted((n, json.loads(o.body)) for o in intent.orders for n in o.numbers)


def sent(scene: Scene, since: int) -> list[tuple[str, object]]:
    found = [e for e in scene.sandbox.log() if e["method"] == "PATCH"][since:]
    return sorted((e["number"], json.loads(e["body"]) if isinstance(e["body"], str) else e["body"]) for e in found)


def patches(scene: Scene) -> int:
    return len([e for e in scene.sandbox.log() if e["method"] == "PATCH"])


@pytest.mark.parametrize("full", [False, True])
def test_promote_sends_what_it_showed(scene: Scene, full: bool) -> None:
    id_ = scene.given_at(1, numbers=[ONE, TWO])
    shown, before = promised(confirmations.intent(scene.rollout, "promote", full)), patches(scene)
    scene.app.commands.promote(id_, ME, full=full)
    scene.drive()
    assert shown == sent(scene, before)
    assert len(shown) == 2


def test_promote_all_the_way_of_waves_shows_every_number(scene: Scene) -> None:
    id_ = scene.given_at(1, numbers=[ONE, TWO, THREE], waves=[1, "100%"])
    shown, before = promised(confirmations.intent(scene.rollout, "promote", full=True)), patches(scene)
    scene.app.commands.promote(id_, ME, full=True)
    scene.drive()
    assert {n for n, _ in shown} == {ONE, TWO, THREE}
    assert shown == sent(scene, before)


def test_set_sends_what_it_showed(scene: Scene) -> None:
    id_ = scene.given_at(1, numbers=[ONE, TWO])
    blank = confirmations.intent(scene.rollout, "set")
    assert (blank.orders, blank.weights) == ((), (("canary", "0.1"),))
    asked = confirmations.intent(scene.rollout, "set", weights={"canary": "0.25"})
    shown, before = promised(asked), patches(scene)
    scene.app.commands.set_weights(id_, ME, weights={"canary": "0.25"})
    scene.drive()
    assert shown == sent(scene, before)
    assert len(shown) == 2
    with pytest.raises(InputError, match="write a weight from 0 to 1"):
        confirmations.intent(scene.rollout, "set", weights={"canary": "25"})


def test_ship_sends_what_it_showed_to_every_number(scene: Scene) -> None:
    id_ = scene.given_at(1, numbers=[ONE, TWO, THREE], waves=[1, "100%"])
    assert confirmations.intent(scene.rollout, "ship").variants == ("canary",)
    asked = confirmations.intent(scene.rollout, "ship", variant="canary")
    assert asked.missing == "no gate has judged canary yet"
    shown, before = promised(asked), patches(scene)
    scene.app.commands.ship(id_, ME, variant="canary", anyway=True)
    scene.drive()
    assert shown == sent(scene, before)
    assert {n for n, _ in shown} == {ONE, TWO, THREE}


def test_rollback_sends_what_it_showed_and_only_where_something_was_written(scene: Scene) -> None:
    id_ = scene.given_at(2, numbers=[ONE, TWO, THREE], waves=[2, "100%"])
    shown, before = promised(confirmations.intent(scene.rollout, "rollback")), patches(scene)
    scene.app.commands.rollback(id_, ME)
    scene.drive()
    assert shown == sent(scene, before)
    assert [n for n, _ in shown] == [ONE, TWO]


def test_restore_sends_what_it_showed(scene: Scene) -> None:
    id_ = scene.given_at(1, numbers=[ONE, TWO])
    scene.sandbox.edit(TWO, inbound_agents=[entry(8)])
    scene.scan()
    assert scene.phase == "held"
    shown, before = promised(confirmations.intent(scene.rollout, "restore")), patches(scene)
    scene.app.commands.restore(id_, ME)
    scene.drive()
    assert shown == sent(scene, before)
    assert [n for n, _ in shown] == [TWO]


@pytest.mark.parametrize("command", ["pause", "stop", "adopt", "resume"])
def test_what_writes_nothing_says_so(command: str) -> None:
    found = confirmations.intent(rollout(targets=(confirmed(),), confirmed_at=rollout().created_at), command)
    assert found.orders == ()
    assert "Nothing is written" in found.follows
    assert patch_preview.summary(found.orders) == "no PATCH"


def test_resuming_over_a_failed_gate_says_so() -> None:
    r = rollout(phase=Phase.PAUSED, targets=(confirmed(),), verdict=said("fail"))
    assert "overrides that failure" in confirmations.intent(r, "resume").says


def test_a_rollback_without_writes_and_one_that_is_over() -> None:
    assert "nothing to write back" in confirmations.intent(rollout(), "rollback").says
    over = rollout(phase=Phase.ROLLED_BACK, targets=(confirmed(state=TargetState.RESTORED),))
    assert confirmations.intent(over, "rollback").orders == ()
    promoted = rollout(phase=Phase.PROMOTED, targets=(confirmed(step=3),), position=Position(1, 3))
    assert len(confirmations.intent(promoted, "rollback").orders) == 1


def test_equal_bodies_are_shown_once() -> None:
    found = patch_preview.grouped([("+1", "a"), ("+2", "b"), ("+3", "a")])
    assert [(o.numbers, o.body) for o in found] == [(("+1", "+3"), "a"), (("+2",), "b")]
    assert patch_preview.summary(found) == "2 PATCH bodies for 3 numbers"


def test_a_pretty_body_is_the_same_body() -> None:
    body = body_of({"inbound_agents": [entry(7, 0.1), entry(6, 0.9)], "outbound_agents": [entry(6)]})
    assert json.loads(pretty_json(body)) == json.loads(body)
    assert "".join(pretty_json(body).split()) == "".join(body.split())


@pytest.mark.parametrize(
    ("numbers", "words"), [([ONE], "1 number still has a write"), ([ONE, TWO], "2 numbers still have")]
)
def test_writes_that_are_open_are_counted_in_words(numbers: list[str], words: str) -> None:
    open_ = tuple(write(number) for number in numbers)
    found = confirmations.intent(rollout(targets=tuple(confirmed(n) for n in numbers), writes=open_), "pause")
    assert found.follows.startswith(words)


def test_promote_while_retreated_promises_the_weights_of_the_step_and_not_the_retreat_weight() -> None:
    promoted = confirmations.intent(retreating.down(), "promote").orders[0].body
    assert '"weight": 1' in promoted
    unconfirmed = retreating.down(confirmed_at=None, targets=(retreating.at(1),))
    assert buttons(unconfirmed)[0].label.startswith("Write step 1.2 now")
    assert '"weight": 0.5' in confirmations.intent(unconfirmed, "promote").orders[0].body
    last = retreating.down(position=Position(1, 3), plan=retreating.one_wave(), targets=(retreating.low(step=3),))
    assert confirmations.intent(last, "promote").orders, "ending the bake at night writes its weights first"
