"""The field's known bugs, each as a history in which ours must not show it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.domain.errors import IllegalTransition, Refused
from rollout.domain.lifecycle.state import Position

from .plans import AGENT, BASE
from .scenario import NUMBER, Scenario
from .weather import Bounds

Make = Callable[..., Scenario]
STEPS = ((0.1, "60s"), (0.5, "60s"), (1.0, "60s"))


def test_a_write_conflict_does_not_leave_it_stuck(scenario: Make) -> None:
    """A command takes the claim away between the PATCH and its record; what Retell said is kept."""
    s = scenario()
    id_ = s.start(*STEPS)
    s.until(lambda: bool(s.remote.messages) and s.remote.messages[-1].applied_at is not None)
    s.command("pause", id_)
    s.command("resume", id_)
    s.until_phase(id_, "promoted")
    assert "held" not in s.kinds(id_)
    s.check()


def test_a_rollback_is_obeyed_while_a_write_is_in_flight(scenario: Make) -> None:
    s = scenario()
    s.world.weather.late = 1.0  # the first PATCH takes effect long after its deadline
    id_ = s.start(*STEPS)
    s.until(lambda: bool(s.remote.messages))
    s.world.weather.late = 0.0
    s.command("rollback", id_)
    ordered = s.world.now
    s.until_phase(id_, "rolled_back")
    assert s.weight() == 0
    assert all(m.sent_at <= ordered for m in s.forward())
    late = s.forward()[0].applied_at
    assert late is not None and late > ordered
    s.check()


def test_a_gate_that_cannot_decide_does_not_switch_the_failing_side_off(scenario: Make) -> None:
    """Waiting for a person's approval, and paused: the gates are watched all the same."""
    s = scenario()
    s.gates.says = "pass"
    id_ = s.start((0.1, "0s"), (1.0, "0s"))
    s.until(lambda: s.weight() == 0.1)
    s.command("pause", id_)
    s.gates.says = "fail"
    s.until_phase(id_, "rolled_back")
    assert s.weight() == 0
    s.check()


def test_a_restart_makes_no_step_early(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "600s"), (1.0, "600s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    for _ in range(5):
        s.run(60)
        s.kill(s.sim.replicas[0])
        s.sim.start_replica()
    s.until_phase(id_, "promoted")
    assert s.at(id_, "advanced")[0] - s.at(id_, "confirmed")[0] >= 600
    s.check()


def test_two_replicas_are_not_twice_as_fast(scenario: Make) -> None:
    s = scenario(replicas=4)
    id_ = s.start(*STEPS)
    s.until_phase(id_, "promoted")
    assert [round(w, 1) for w in _weights(s)] == [0.1, 0.5, 1.0]
    confirmed, advanced = s.at(id_, "confirmed"), s.at(id_, "advanced")
    assert all(b - a >= 60 for a, b in zip(confirmed, advanced, strict=False))
    s.check()


def test_twelve_hours_off_over_three_due_steps_make_one_step_and_then_a_whole_hold(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "1h"), (0.2, "1h"), (0.5, "1h"), (1.0, "1h"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.kill(s.sim.replicas[0])
    s.run(12 * 3600)
    s.sim.start_replica()
    back = s.world.now
    s.run(3590)
    assert s.weight() == 0.2
    assert len(s.at(id_, "advanced")) == 1
    s.until(lambda: s.weight() == 0.5)
    assert s.world.now >= back + 3600
    s.command("rollback", id_)
    s.until_phase(id_, "rolled_back")
    s.check()


def test_a_foreign_edit_is_not_overwritten(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "300s"), (1.0, "0s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.remote.edit(NUMBER, "foreign", "lists", lists=s.lists(0.33))
    s.until_phase(id_, "held")
    r = s.rollout(id_)
    assert r.reason == "drift"
    assert r.targets[0].live is not None
    assert s.remote.numbers[NUMBER].live.author == "foreign"
    s.check()


def test_an_analysis_without_data_does_not_promote(scenario: Make) -> None:
    s = scenario()
    s.gates.says = "unmeasurable"
    id_ = s.start((0.1, "10s"), (1.0, "10s"))
    s.run(3 * 3600)
    assert s.phase(id_) == "progressing"
    assert s.weight() == 0.1
    s.gates.says = "pass"
    s.until_phase(id_, "promoted")
    s.check()


@pytest.mark.parametrize("says", ["unmeasurable", "undecided"])
def test_a_metrics_service_that_is_down_does_not_roll_back(scenario: Make, says: str) -> None:
    s = scenario()
    s.gates.says = says
    id_ = s.start((0.1, "10s"), (1.0, "10s"))
    s.run(3600)
    assert s.phase(id_) == "progressing"
    assert not s.at(id_, "failed")
    assert s.rollout(id_).why == f"the gates say {says}"


def test_a_killed_workers_lease_does_not_delay_a_rollback(scenario: Make) -> None:
    s = scenario(replicas=2, bounds=Bounds(lease=44.0))
    id_ = s.start(*STEPS)
    s.until(lambda: s.weight() == 0.1)
    driving = next(t.process for t in s.world.tasks if t.claim is not None and not t.done)
    s.kill(next(r for r in s.sim.replicas if r.process is driving))
    assert s.sim.file.one("SELECT lease_owner FROM rollouts WHERE id = ?", id_)[0] == driving.name
    ordered = s.world.now
    s.command("rollback", id_)
    s.until(lambda: s.weight() == 0)
    assert s.world.now - ordered < 5
    s.until_phase(id_, "rolled_back")
    s.check()


def test_a_rollback_with_nothing_in_progress_changes_nothing(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "600s"), (1.0, "0s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.command("rollback", id_)
    s.until_phase(id_, "rolled_back")
    sent, entries = len(s.remote.messages), s.kinds(id_)
    s.command("rollback", id_)
    for command in ("pause", "resume", "promote", "adopt", "restore", "stop"):
        with pytest.raises(IllegalTransition):
            s.command(command, id_)
    s.run(600)
    assert len(s.remote.messages) == sent
    assert s.kinds(id_) == entries
    s.check()


def test_a_rollback_target_that_was_deleted_is_noticed_before_the_next_step(scenario: Make) -> None:
    s = scenario()
    id_ = s.start((0.1, "300s"), (1.0, "0s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.remote.remove_version((AGENT, BASE))
    s.until_phase(id_, "held")
    assert s.rollout(id_).reason == "rollback-impossible"
    assert s.weight() == 0.1
    s.check()


def test_a_promote_for_a_step_that_has_passed_is_refused(scenario: Make) -> None:
    """Two people promote at once: it moves once."""
    s = scenario()
    id_ = s.start((0.1, "1h"), (0.5, "1h"), (1.0, "1h"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.command("promote", id_, expect=Position(1, 1))
    with pytest.raises(Refused):
        s.command("promote", id_, expect=Position(1, 1))
    s.until(lambda: s.weight() == 0.5)
    s.run(1800)
    assert s.weight() == 0.5


def test_a_failed_gate_that_a_person_overrides_does_not_pause_it_again(scenario: Make) -> None:
    s = scenario()
    s.gates.says = "fail"
    id_ = s.start((0.1, "10s"), (1.0, "10s"), on_failure="pause")
    s.until_phase(id_, "paused")
    s.command("resume", id_)
    s.until_phase(id_, "promoted")
    s.check()


def _weights(s: Scenario) -> list[float]:
    return [
        sum(e["weight"] for e in state.lists["inbound_agents"] if e["agent_version"] != BASE)
        for state in s.remote.numbers[NUMBER].states
        if state.author == "service"
    ]
