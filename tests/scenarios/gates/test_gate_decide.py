"""A/B tests of three versions on the sandbox, with calls and the real gates, that end by plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.gates.replay import replay
from rollout.domain.gates.summary import summarise
from rollout.interfaces.dashboard.rollout_page import arms
from rollout.interfaces.views.report_advice import recommend
from rollout.interfaces.views.rollout import show
from tests.scenarios.gates.test_gate_scenarios import ONE, VARIANTS, GateScene, make_plan
from tests.support.values import entry

LOOKS, A_LOOK = 20, 180  # two days of calls


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[GateScene]:
    with GateScene(sqlite_url) as made:
        yield made


def given_test(scene: GateScene, **decides: Any) -> None:
    scene.given(
        make_plan(
            canary=None,
            variants=VARIANTS,
            steps=[{"weights": {"b": 0.33, "c": 0.33}, "hold": "6h"}],
            gates={"profile": "low-traffic"},
            on_failure="pause",
            decide={"after": "2d", "min_calls": 200, **decides},
        )
    )
    scene.drive()


def take_calls(scene: GateScene, bad: Mapping[int, float], looks: int = LOOKS) -> None:
    """Calls of the versions 6, 7 and 8 at these rates of bad ones, by the weights, and looks in between."""
    drawn = random.Random(11)
    for _ in range(looks):
        calls = []
        for _ in range(A_LOOK):
            scene.clock.to(scene.clock.now() + timedelta(seconds=48))
            version = drawn.choices((6, 7, 8), weights=(0.34, 0.33, 0.33))[0]
            calls.append(scene.call(version, bad=drawn.random() < bad[version]))
        scene.app.store.calls.observe(calls)
        scene.polled()
        scene.app.store.wake([scene.id], read_numbers=False)
        scene.drive()


@pytest.mark.slow
def test_the_better_of_two_variants_is_shipped_by_plan_and_promoted(scene: GateScene) -> None:
    given_test(scene)
    decides = scene.rollout.decides_at
    assert decides is not None
    assert show(scene.rollout)["decides_at"] == decides.isoformat().replace("+00:00", "Z")
    take_calls(scene, {6: 0.2, 7: 0.2, 8: 0.08}, LOOKS - 1)
    scene.stands("progressing", 1)
    assert (scene.rollout.shipped, str(scene.rollout.waiting_for)) == (None, "decision")
    take_calls(scene, {6: 0.2, 7: 0.2, 8: 0.08}, 2)
    assert scene.rollout.shipped == "c"
    assert scene.live(ONE) == [entry(8)]
    heads = [line for line in show(scene.rollout)["gates_text"] if not line.startswith(" ")]
    assert [line.split()[0] for line in heads] == ["c"], "b is judged no more"
    assert [a.of.name for a in arms(scene.rollout, scene.clock.now())] == ["c"]
    told = recommend(scene.rollout, summarise(scene.rollout))
    assert told is not None and "ariant b" not in " ".join(told.why)
    assert replay(StoredGateRecords(scene.app.database).looks(scene.id)).same
    take_calls(scene, {6: 0.2, 7: 0.2, 8: 0.08}, 3)
    scene.stands("promoted")


@pytest.mark.slow
def test_two_equal_variants_are_a_tie_and_nothing_is_shipped(scene: GateScene) -> None:
    given_test(scene, otherwise="rollback")
    take_calls(scene, {6: 0.2, 7: 0.2, 8: 0.2}, LOOKS + 1)
    scene.stands("rolled_back")
    assert "is not proven better than" in str(scene.rollout.reason)
    assert scene.live(ONE) == [entry(6)]


@pytest.mark.slow
def test_too_few_calls_of_a_variant_are_waited_for(scene: GateScene) -> None:
    given_test(scene, min_calls=2_000)
    take_calls(scene, {6: 0.2, 7: 0.2, 8: 0.08}, LOOKS + 1)
    scene.stands("progressing", 1)
    assert scene.rollout.why.startswith("2000 calls with a result are needed of every variant in this step: ")
