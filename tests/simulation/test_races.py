"""People, late writes and other hands at the same time, one history each."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from rollout.domain.lifecycle.commands import By
from rollout.domain.plan.plan import Plan

from .kit import Kit
from .plans import AGENT, CANARY
from .processes import Node
from .remote import Message
from .scenario import BASELINE, NUMBER, Scenario
from .world import Process

Make = Callable[..., Scenario]
SECOND = "+14157774445"


def _late_write(s: Scenario, number: int) -> None:
    """Lets the PATCH with this number (from 1) take effect close to D seconds after it was sent."""
    s.until(lambda: len(s.remote.messages) >= number - 1)
    s.world.weather.late = s.world.weather.extreme = 1.0
    s.until(lambda: len(s.remote.messages) >= number)
    s.world.weather.late = 0.0


def test_put_back_by_hand_while_a_write_is_under_way_is_watched_like_a_rollback(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "10s"), (1.0, "600s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    _late_write(s, 2)
    s.remote.edit(NUMBER, "foreign", "lists", lists={"inbound_agents": BASELINE})
    s.until_phase(id_, "rolled_back")
    late = s.forward()[1]
    assert late.applied_at is not None
    assert s.at(id_, "restored")[0] > late.applied_at
    assert s.weight() == 0
    s.check()


def test_a_stop_ends_although_a_write_is_unknown_and_the_number_was_edited(scenario: Make) -> None:
    s = scenario()
    s.world.weather.request_lost = 1.0
    id_ = s.start((0.1, "10s"), (1.0, "10s"))
    s.until(lambda: bool(s.remote.messages))
    s.remote.edit(NUMBER, "foreign", "lists", lists=s.lists(0.33))
    s.world.weather.request_lost = 0.0
    s.until_phase(id_, "held")
    s.command("stop", id_)
    s.until_phase(id_, "stopped")
    assert s.remote.numbers[NUMBER].live.author == "foreign"
    s.check()


def test_a_number_that_was_gone_for_a_while_is_rolled_back_too(scenario: Make) -> None:
    s = scenario(numbers=(NUMBER, SECOND))
    id_ = s.start((0.1, "60s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.remote.numbers[SECOND].exists = False
    s.until_phase(id_, "rolled_back")
    assert s.weight(NUMBER) == 0
    assert s.weight(SECOND) == 0.1
    s.remote.numbers[SECOND].exists = True
    s.until(lambda: s.weight(SECOND) == 0)
    s.until_phase(id_, "rolled_back")
    s.check()


def test_start_twice_with_one_request_id_is_one_rollout(scenario: Make) -> None:
    s = scenario()
    plan = Plan.model_validate(
        {
            "version": 1,
            "name": "frontdesk",
            "numbers": [NUMBER],
            "channels": ["inbound"],
            "gates": [],
            "canary": {"agent_id": AGENT, "agent_version": CANARY},
            "steps": [{"weight": 1.0}],
        }
    )
    by = By("somebody", "twice", "request-1")
    ids = {str(s.ask(lambda node, _: node.app.commands.start(plan, by).id)) for _ in range(2)}
    assert len(ids) == 1
    assert s.sim.file.one("SELECT count(*) FROM rollouts")[0] == 1


def test_a_service_that_was_paused_and_wakes_changes_nothing_after_the_kit(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "60s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    process = s.sim.replicas[0].process
    process.suspended_until = s.world.now + 700
    done: list[float] = []
    kit = Kit(s.sim, Random(1), lambda _number, _began, at: done.append(at))
    kit.run({NUMBER: {"inbound_agents": BASELINE}}, 0.1)
    s.until(lambda: bool(done))
    assert done[0] < process.suspended_until
    s.until_phase(id_, "rolled_back")
    assert s.weight() == 0
    assert all(m.sent_at < done[0] for m in s.forward())
    s.check()


@pytest.mark.parametrize("obstacle", ["throttled", "window", "gate", "paused", "held", "in flight"])
def test_a_rollback_waits_for_nothing(scenario: Make, obstacle: str) -> None:
    """What is in the way of a step is not in the way of a rollback: read back within seconds.

    Only a 429 makes it wait, as long as Retell asks for, at most 30 s for each.
    """
    s = scenario()
    id_ = s.start((0.1, "10s"), (0.5, "10s"), (1.0, "10s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    match obstacle:
        case "throttled":
            s.world.weather.throttled = 0.5
        case "window":
            s.sim.calendar.closed = ((0.0, 1e9),)
        case "gate":
            s.gates.says = "undecided"
        case "paused":
            s.command("pause", id_)
        case "held":
            s.remote.edit(NUMBER, "foreign", "lists", lists=s.lists(0.33))
            s.until_phase(id_, "held")
        case _:
            _late_write(s, 2)
    s.run(5)
    ordered = s.world.now
    s.command("rollback", id_)
    s.until(lambda: bool(s.at(id_, "read_back")))
    assert s.at(id_, "read_back")[0] - ordered < (130 if obstacle == "throttled" else 6)
    s.until_phase(id_, "rolled_back")
    assert s.weight() == 0
    s.check()


def _other_program(s: Scenario, lists: Any, after: float, until: float) -> None:
    """Another hand that writes these lists, so many seconds after each time the service has written a baseline."""
    seen = s.remote.on_apply

    def applied(message: Message) -> None:
        seen(message)
        if message.intent is not None and message.intent["kind"] == "baseline" and s.world.now < until:
            s.world.at(after, lambda: s.remote.edit(NUMBER, "foreign", "lists", lists=lists))

    s.remote.on_apply = applied


@pytest.mark.parametrize("after", [0.001, 0.7], ids=["before-the-read-back", "after-it"])
@pytest.mark.parametrize("cli", [False, True], ids=["service", "command-line"])
def test_a_rollback_against_a_program_that_writes_back_at_once_is_tried_at_growing_pauses_and_told(
    scenario: Make, after: float, cli: bool
) -> None:
    """By our own step's split, which looks like a late write of ours each time, so that it is never left alone."""
    s = scenario()
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    ordered = s.world.now
    ours = {"inbound_agents": s.remote.numbers[NUMBER].live.lists["inbound_agents"]}
    _other_program(s, ours, after, ordered + 200)
    s.command("rollback", id_)
    if cli:  # drives again and again, whatever is due
        name = s.sim.name("cli")

        def follow() -> None:
            node = Node(s.sim, name, can_crash=False)
            while s.world.now < ordered + 200:
                node.app.drive(id_)
                s.world.sleep(1.0)

        s.world.spawn(Process(name, can_crash=False), name, follow)
    for _ in range(56):  # the other program gives up after 200 s, and the longest pause is 60
        s.run(5)
        s.sim.file.raw.execute("UPDATE rollouts SET look_asked = 1 WHERE phase = 'rolled_back'")
        if s.phase(id_) == "rolled_back":
            s.sim.file.raw.execute("UPDATE rollouts SET due_at = updated_at WHERE phase = 'rolled_back'")
            s.sim.poke()
    backs = [m.sent_at for m in s.remote.messages if not m.forward]
    gaps = [b - a for a, b in pairwise(backs)]
    assert len([at for at in backs if at < ordered + 70]) <= 8, gaps
    assert all(gap >= min(2**i, 60) - 0.5 for i, gap in enumerate(gaps[:7])), gaps
    assert len(gaps) >= 5, gaps
    told = [e for e in s.history(id_) if e.kind == "contested"]
    assert len(told) == 1
    assert f"another program or person writes {NUMBER}" in told[0].reason
    assert len([at for at in backs if at < s.world.seconds(told[0].at)]) == 3
    s.until_phase(id_, "rolled_back")
    assert s.weight() == 0
    s.check()


def test_an_operator_is_told_who_fights_the_rollback(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    _other_program(s, s.lists(0.33), 0.001, s.world.now + 100)
    s.command("rollback", id_)
    s.until(lambda: "contested" in s.kinds(id_))
    s.run(1)
    assert f"another program or person writes {NUMBER}" in s.rollout(id_).why
    s.until_phase(id_, "rolled_back")
    s.check()
