"""Whole plans on one number and on many: each request that Retell sees, its body and its order."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest

from rollout.sandbox import Sandbox
from tests.support.scene import GET, ME, PATCH, Scene
from tests.support.values import AGENT, ONE, TWO, entry, plan

DAY = 86_400
MINUTES = 60
THREE_STEPS = [
    {"inbound_agents": [entry(7, 0.1), entry(6, 0.9)]},
    {"inbound_agents": [entry(7, 0.5), entry(6, 0.5)]},
    {"inbound_agents": [entry(7, 1.0)]},
]


def unmanaged(sandbox: Sandbox, number: str, channels: tuple[str, ...] = ("inbound",)) -> dict[str, Any]:
    """Every field of a number that the plan does not name."""
    fields = sandbox.number(number).to_json()
    ours = {f"{c}_agents" for c in channels} | {"last_modification_timestamp"}
    return {k: v for k, v in fields.items() if k not in ours}


def test_three_steps_on_one_number(scene: Scene) -> None:
    before = unmanaged(scene.sandbox, ONE)

    scene.given()
    scene.after(2 * DAY)

    scene.stands("promoted", step=3)
    assert scene.patches(ONE) == THREE_STEPS
    # pre-flight reads; each step reads, writes and reads back, and is counted from one more read
    assert scene.requests(ONE) == [GET, *(GET, PATCH, GET, GET) * 3]
    assert unmanaged(scene.sandbox, ONE) == before
    assert scene.live(ONE) == [entry(7, 1.0)]
    assert {e["number"] for e in scene.sandbox.log() if e["number"]} == {ONE}, "no other number was touched"


def test_the_journal_tells_the_same_story(scene: Scene) -> None:
    scene.given()
    scene.after(2 * DAY)
    step = ["intended", "settled", "confirmed"]
    assert scene.journal() == ["created", "begun", *step, "advanced", *step, "advanced", *step, "completed"]
    entries = scene.app.store.history(scene.id)
    assert all(e.actor for e in entries)
    (intended, *_) = [e for e in entries if e.kind == "intended"]
    (write,) = intended.data["change"]["new_writes"]
    assert json.loads(write["body"]) == THREE_STEPS[0], "the intent holds the exact body"


def test_no_step_comes_before_its_hold_is_over(scene: Scene) -> None:
    scene.given()
    scene.after(30 * MINUTES - 1)
    scene.stands("progressing", step=1)
    assert scene.weight(ONE) == 0.1
    scene.after(1)
    scene.stands("progressing", step=2)
    assert scene.weight(ONE) == 0.5
    scene.after(120 * MINUTES - 1)
    assert scene.weight(ONE) == 0.5
    scene.after(1 + DAY - 1)
    scene.stands("progressing", step=3)
    scene.after(1)
    scene.stands("promoted")


def test_after_a_long_downtime_one_step_and_its_whole_hold(scene: Scene) -> None:
    scene.given()
    scene.drive()
    scene.clock.advance(30 * DAY)  # nobody drives
    scene.restart()
    scene.drive()
    scene.stands("progressing", step=2)
    scene.after(120 * MINUTES - 1)
    scene.stands("progressing", step=2)
    assert len(scene.patches(ONE)) == 2


def test_25_numbers_with_two_channels(scene: Scene) -> None:
    channels = ("inbound", "outbound")
    numbers = scene.add_numbers(25, channels)
    for number in numbers[::2]:  # half of them have two versions already, one of them by its tag
        scene.sandbox.edit(number, inbound_agents=[entry(5, 0.25), entry("prod", 0.75)], inbound_sms_agents=[entry(6)])
    scene.sandbox.add_agent(AGENT, [5])
    scene.sandbox.clear_log()
    before = {n: unmanaged(scene.sandbox, n, channels) for n in numbers}

    scene.given(numbers=numbers, channels=list(channels))
    scene.after(2 * DAY)

    scene.stands("promoted")
    by_number: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in scene.sandbox.log(method=PATCH):
        by_number[request["number"]].append(json.loads(request["body"]))
    assert set(by_number) == set(numbers)
    about = ("/v2/list-phone-numbers", "/update-phone-number/", "/get-phone-number/")
    methods = [e["method"] for e in scene.sandbox.log() if e["path"].startswith(about)]
    assert [method for method, _ in groupby(methods)] == [GET, *(PATCH, GET) * 3]
    for i, number in enumerate(numbers):
        # One is read alone, and says that Retell shows no ETag: all others are read by the list.
        assert scene.requests(number) == ([GET] if number == numbers[0] else []) + [PATCH] * 3
        assert [set(body) for body in by_number[number]] == [{"inbound_agents", "outbound_agents"}] * 3
        two = i % 2 == 0
        first = [entry(7, 0.1), entry(5, 0.225), entry("prod", 0.675)] if two else THREE_STEPS[0]["inbound_agents"]
        assert _sorted(by_number[number][0]["inbound_agents"]) == _sorted(first)
        assert [b["outbound_agents"] for b in by_number[number]] == [s["inbound_agents"] for s in THREE_STEPS]
        assert by_number[number][2]["inbound_agents"] == [entry(7, 1.0)]
        assert unmanaged(scene.sandbox, number, channels) == before[number]
        for body in by_number[number]:
            for entries in body.values():
                total = 0.0
                for e in entries:
                    total += e["weight"]
                assert total == 1.0, "left to right, in doubles"
    # a step is reached on every number before any number sees the next one
    weights = [
        max(e["weight"] for e in json.loads(r["body"])["outbound_agents"] if e["agent_version"] == 7)
        for r in scene.sandbox.log(method=PATCH)
    ]
    assert weights == [0.1] * 25 + [0.5] * 25 + [1.0] * 25


def _sorted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=str)


def test_a_rollback_of_25_numbers_restores_every_baseline_verbatim(scene: Scene) -> None:
    numbers = scene.add_numbers(25, ("inbound", "outbound"))
    odd = [
        {"agent_id": AGENT, "agent_version": 6, "weight": 0.33335},
        {"agent_id": AGENT, "agent_version": "prod", "weight": 0.66665},
    ]
    scene.sandbox.edit(numbers[3], inbound_agents=odd)
    before = {n: scene.sandbox.number(n).to_json() for n in numbers}
    scene.given_at(2, numbers=numbers, channels=["inbound", "outbound"])

    scene.app.commands.rollback(scene.id, ME)
    scene.drive()

    scene.stands("rolled_back")
    for number in numbers:
        now = scene.sandbox.number(number).to_json()
        assert {**now, "last_modification_timestamp": 0} == {**before[number], "last_modification_timestamp": 0}


def test_waves_go_one_after_the_other(scene: Scene) -> None:
    numbers = scene.add_numbers(4)
    steps = [{"weight": 0.5, "hold": "10m"}, {"weight": 1.0, "hold": "10m"}]
    scene.given(numbers=numbers, waves=[1, "75%"], steps=steps)
    seen: list[tuple[float, ...]] = []
    for _ in range(7):
        scene.drive()
        weights = tuple(scene.weight(n) for n in numbers)
        if not seen or seen[-1] != weights:
            seen.append(weights)
        scene.after(10 * MINUTES)
    assert seen == [
        (0.5, 0, 0, 0),
        (1.0, 0, 0, 0),
        (1.0, 0.5, 0.5, 0),
        (1.0, 1.0, 1.0, 0),
        (1.0, 1.0, 1.0, 0.5),
        (1.0, 1.0, 1.0, 1.0),
    ]
    scene.stands("promoted")


def test_a_rollback_in_the_second_wave_covers_the_first_and_spares_the_third(scene: Scene) -> None:
    numbers = scene.add_numbers(3)
    scene.given(numbers=numbers, waves=[1, 2], steps=[{"weight": 1.0, "hold": "10m"}])
    scene.after(10 * MINUTES)
    assert [scene.weight(n) for n in numbers] == [1.0, 1.0, 0]
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert [scene.live(n) for n in numbers] == [[entry(6)]] * 3
    assert PATCH not in scene.requests(numbers[2])


def test_a_pass_makes_one_step_and_lets_go(scene: Scene) -> None:
    scene.given(steps=[{"weight": w, "hold": "0s"} for w in (0.1, 0.2, 0.3, 1.0)])
    weights = []
    for i in range(4):
        (held,) = scene.app.store.claim(f"process {i}", timedelta(hours=1))  # the one before has let go
        scene.app.driver.drive(held)
        weights.append(scene.weight(ONE))
    assert weights == [0.1, 0.2, 0.3, 1.0]


def test_two_variants_beside_the_baseline(scene: Scene) -> None:
    scene.given(
        canary=None,
        variants={"b": {"agent_id": AGENT, "agent_version": 7}, "c": {"agent_id": AGENT, "agent_version": 8}},
        steps=[{"weights": {"b": 0.2, "c": 0.05}, "hold": "1d"}],
    )
    scene.drive()
    assert _sorted(scene.live(ONE)) == _sorted([entry(7, 0.2), entry(8, 0.05), entry(6, 0.75)])


def test_weights_may_go_down(scene: Scene) -> None:
    scene.given(steps=[{"weight": w, "hold": "10m"} for w in (0.5, 0.1, 1.0)])
    scene.after(3_600)
    assert [body["inbound_agents"][0]["weight"] for body in scene.patches(ONE)] == [0.5, 0.1, 1.0]
    scene.stands("promoted")


def test_rollouts_on_different_numbers_do_not_wait_for_each_other(scene: Scene) -> None:
    first = scene.given()
    second = scene.given(numbers=[TWO], name="second")
    scene.after(2 * DAY)
    for id_ in (first, second):
        assert str(scene.app.store.load(id_)[0].phase) == "promoted"


@pytest.mark.parametrize("minutes", [1, 7, 29])
def test_a_restart_neither_shortens_nor_lengthens_a_hold(scene: Scene, minutes: int) -> None:
    scene.given()
    scene.drive()
    began = scene.clock.now()
    for _ in range(29 // minutes):
        scene.after(minutes * MINUTES)
        scene.restart()
    scene.clock.to(began + timedelta(seconds=30 * MINUTES - 1))
    scene.drive()
    scene.stands("progressing", step=1)
    scene.after(1)
    scene.stands("progressing", step=2)


def test_a_plan_chooses_its_numbers_by_what_they_are_called(scene: Scene) -> None:
    document = plan().model_dump(mode="json", by_alias=True, exclude_none=True)
    scene.given(type(plan()).model_validate({**document, "numbers": [{"nickname": "Frontdesk*"}]}))
    scene.drive()
    assert sorted(t.number for t in scene.rollout.targets) == [ONE, TWO]
    assert scene.weight(ONE) == scene.weight(TWO) == 0.1
