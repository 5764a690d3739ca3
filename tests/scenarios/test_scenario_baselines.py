"""Baselines that Retell may not take back: refused before the first write, or restored in a form that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.errors import PreflightRefused
from rollout.kit.build import make_kit
from tests.support.scene import ME, PATCH, Scene
from tests.support.values import ONE, entry

THIRDS = [entry(6, 0.3333), entry(5, 0.3333), entry(4, 0.3333)]
EXACT = [entry(6, 0.3334), entry(5, 0.3333), entry(4, 0.3333)]


@pytest.fixture
def served(scene: Scene) -> Any:
    """Lets the number serve this list, whatever Retell would say to it."""

    def serve(entries: list[dict[str, Any]]) -> None:
        scene.sandbox.edit(ONE, inbound_agents=entries)

    scene.sandbox.add_agent("agent_frontdesk", [4, 5])
    return serve


@pytest.mark.parametrize(
    "entries",
    [[entry(6, 0.5), entry(5, 0.4)], [entry(6, 0.7), entry(5, 0.7)], [entry(6, 2)], [entry(6), entry(5, 0)]],
    ids=["too-little", "too-much", "two", "zero"],
)
def test_a_live_list_that_retell_would_refuse_is_refused_before_the_first_write(
    scene: Scene, served: Any, entries: list[dict[str, Any]]
) -> None:
    served(entries)
    with pytest.raises(PreflightRefused, match="Retell would refuse its inbound_agents in a rollback"):
        scene.given()
    assert scene.patches(ONE) == []
    assert scene.live(ONE) == entries


def test_a_baseline_that_retell_refuses_as_it_was_read_goes_back_in_the_same_proportions(
    scene: Scene, served: Any
) -> None:
    served(THIRDS)
    scene.given_at(1)
    warned = scene.app.store.history(scene.id)[0].data["warnings"]
    assert any("add up to 0.9999, not to 1" in text for text in warned)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == EXACT
    verbatim, exact = scene.patches(ONE)[-2:]
    assert (verbatim["inbound_agents"], exact["inbound_agents"]) == (THIRDS, EXACT)
    said = [e.reason for e in scene.app.store.history(scene.id) if e.kind == "intended"]
    assert "Retell refuses the baseline as it was read" in said[-1]
    assert scene.scan() == 0, "it is at its baseline, and stays there"


def test_what_retell_takes_back_as_it_was_read_is_written_verbatim(scene: Scene, served: Any) -> None:
    odd = [entry(6, 0.33335), entry(5, 0.66665)]
    served(odd)
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == odd
    assert scene.patches(ONE)[-1]["inbound_agents"] == odd


def test_a_refusal_that_is_not_about_the_list_is_said_and_tried_again(scene: Scene, served: Any) -> None:
    served(THIRDS)
    scene.given_at(1)
    scene.sandbox.fault("status", status=422, method=PATCH, times=2)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolling_back")
    assert "Retell refuses the baseline" in scene.rollout.why
    scene.after(60)
    scene.stands("rolled_back")
    assert scene.live(ONE) == EXACT


def test_a_later_waves_number_is_put_back_after_an_edit_in_the_form_that_retell_takes(
    scene: Scene, served: Any
) -> None:
    numbers = scene.add_numbers(2)
    served(THIRDS)
    scene.sandbox.edit(numbers[1], inbound_agents=THIRDS)
    scene.given_at(1, numbers=numbers, waves=[1, "100%"])
    scene.sandbox.edit(numbers[1], inbound_agents=[entry(6, 0.9), entry(4, 0.1)])
    scene.scan()
    scene.stands("held", 1, "drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.live(numbers[1]) == EXACT


def test_somebody_who_puts_the_other_form_back_by_hand_has_rolled_back_outside(scene: Scene, served: Any) -> None:
    served(THIRDS)
    scene.given_at(1)
    scene.sandbox.edit(ONE, inbound_agents=EXACT)
    scene.scan()
    scene.stands("rolled_back", reason="rolled back outside the service")


def test_a_kit_knows_both_forms(scene: Scene, served: Any) -> None:
    served(THIRDS)
    scene.given_at(1)
    program = make_kit(scene.rollout, base_url=scene.sandbox.url, lease=45, horizon=200, now=scene.clock.now())
    assert '"exact"' in program
    assert "0.3334" in program
