"""What people ask, and when: promote, pause, resume, stop, approve, roll back; starts, deadlines, restarts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.errors import IllegalTransition, Refused, StaleExpectation, UnknownRollout
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.state import Position
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support.scene import ME, PATCH, Scene
from tests.support.values import AGENT, ONE, TWO, entry, said

DAY = 86_400
FAIL = said("fail", "the canary is worse")


# ------------------------------------------------------------------ promote


def test_who_drives_is_told_of_a_command_and_whether_it_cannot_wait(scene: Scene) -> None:
    scene.given_at(1)
    told: list[tuple[str, bool]] = []
    scene.app.commands.changed = lambda id_, urgent: told.append((id_, urgent))
    scene.app.commands.promote(scene.id, ME)
    scene.app.commands.rollback(scene.id, ME)
    scene.app.commands.rollback(scene.id, ME)
    assert told == [(scene.id, False), (scene.id, True), (scene.id, True)]


def test_promote_goes_to_the_next_step_now(scene: Scene) -> None:
    scene.given_at(1)
    answer = scene.app.commands.promote(scene.id, ME)
    assert answer.position == (1, 2)
    scene.drive()
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5


def test_promote_twice_with_the_same_expectation_moves_once(scene: Scene) -> None:
    scene.given_at(1)
    expect = Position(1, 1)
    scene.app.commands.promote(scene.id, ME, expect=expect)
    scene.drive()
    with pytest.raises(StaleExpectation, match=r"you expected it at 1\.1, but it is at 1\.2") as refused:
        scene.app.commands.promote(scene.id, ME, expect=expect)
    assert refused.value.exit_code == 3
    assert refused.value.details["position"] == {"wave": 1, "step": 2}
    scene.stands("progressing", 2)


def test_promote_twice_before_anybody_drives_moves_once(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.promote(scene.id, ME)
    with pytest.raises(Refused, match=r"step 1\.2 is still being written"):
        scene.app.commands.promote(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 2)


def test_promote_twice_with_one_request_id_moves_once(scene: Scene) -> None:
    scene.given_at(1)
    by = By("cli:test", "", "request-1")
    first = scene.app.commands.promote(scene.id, by)
    scene.drive()
    assert scene.app.commands.promote(scene.id, by) == first
    scene.stands("progressing", 2)


def test_promote_full_goes_to_the_last_step_and_its_bake(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.promote(scene.id, ME, full=True)
    scene.drive()
    scene.stands("progressing", 3)
    assert [b["inbound_agents"][0]["weight"] for b in scene.patches(ONE)] == [0.1, 1.0]
    scene.after(DAY - 1)
    scene.stands("progressing", 3)
    scene.after(1)
    scene.stands("promoted")


def test_promote_in_the_last_step_ends_its_bake(scene: Scene) -> None:
    scene.given_at(3)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    scene.stands("promoted")
    with pytest.raises(IllegalTransition, match="it has ended as promoted"):
        scene.app.commands.promote(scene.id, ME)


def test_promote_goes_over_an_undecided_gate_and_never_over_a_failed_one(scene: Scene) -> None:
    scene.gates.verdict = said("undecided")
    scene.given_at(1)
    scene.after(3 * 3_600)
    scene.stands("progressing", 1)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 2)
    scene.app.commands.promote(scene.id, ME)
    scene.gates.verdict = FAIL
    scene.drive()
    scene.stands("rolled_back", reason=FAIL.reason)


# ------------------------------------------------------------------ pause, resume, stop


def test_pause_holds_and_resume_goes_on_from_there(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.pause(scene.id, By("cli:test", "lunch"))
    assert scene.rollout.waiting_for is WaitingFor.PERSON, "at once, before anybody drives it"
    scene.after(DAY)
    scene.stands("paused", 1, "lunch")
    assert scene.weight(ONE) == 0.1
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 2)


def test_pausing_twice_is_one_pause(scene: Scene) -> None:
    scene.given_at(1)
    for _ in range(2):
        scene.app.commands.pause(scene.id, ME)
    assert scene.journal(["pause"]) == ["pause"]


def test_a_pause_survives_a_restart(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.pause(scene.id, ME)
    scene.restart()
    scene.after(7 * DAY)
    scene.stands("paused", 1)


def test_a_pause_before_the_start_is_resumed_to_pending(scene: Scene) -> None:
    scene.given(at=scene.clock.now() + timedelta(hours=1))
    scene.app.commands.pause(scene.id, ME)
    scene.after(3 * 3_600)
    scene.stands("paused")
    assert not scene.patches()
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1


def test_while_paused_a_failed_gate_rolls_back(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.pause(scene.id, ME)
    scene.drive()
    scene.gates.verdict = FAIL
    scene.app.store.wake([scene.id], read_numbers=False)  # as the fetch of calls does
    scene.drive()
    scene.stands("rolled_back", reason=FAIL.reason)


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "stop", "adopt", "restore"])
def test_a_command_for_another_position_changes_nothing(scene: Scene, command: str) -> None:
    scene.given_at(1)
    if command == "resume":
        scene.app.commands.pause(scene.id, ME)
    if command in ("adopt", "restore"):
        scene.sandbox.edit(ONE, inbound_agents=[entry(8)])
        scene.scan()
    before, entries = scene.rollout, scene.journal()
    with pytest.raises(StaleExpectation):
        getattr(scene.app.commands, command)(scene.id, ME, expect=Position(1, 2))
    assert scene.rollout == before
    assert scene.journal() == entries


def test_stop_leaves_the_split_as_it_is_and_frees_the_number(scene: Scene) -> None:
    scene.given_at(2)
    scene.app.commands.stop(scene.id, ME)
    scene.stands("stopped")
    scene.after(DAY)
    assert scene.weight(ONE) == 0.5
    assert scene.app.store.drivers([ONE]) == {}


def test_a_stopped_rollout_can_still_be_rolled_back(scene: Scene) -> None:
    scene.given_at(2)
    scene.app.commands.stop(scene.id, ME)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_every_command_has_its_actor_and_its_reason_in_the_journal(scene: Scene) -> None:
    scene.given_at(1)
    commands = scene.app.commands
    who = By("cli:alice", "because")
    orders: list[Callable[[str, By], Any]] = [commands.pause, commands.resume, commands.promote, commands.rollback]
    for order in orders:
        order(scene.id, who)
        scene.drive()
    asked = [e for e in scene.app.store.history(scene.id) if e.actor == "cli:alice"]
    assert [(e.kind, e.reason) for e in asked] == [(k, "because") for k in ("pause", "resume", "promote", "rollback")]


# ------------------------------------------------------------------ approval, gates, deadline


def test_a_person_is_asked_when_everything_else_is_green(scene: Scene) -> None:
    steps = [{"weight": 0.1, "hold": "30m", "approve": True}, {"weight": 1.0}]
    scene.given(steps=steps)
    scene.after(DAY)
    scene.stands("progressing", 1)
    assert scene.rollout.why == "all conditions are met; somebody must promote it"
    assert scene.rollout.waiting_for is WaitingFor.APPROVAL
    scene.app.commands.promote(scene.id, ME)
    assert scene.rollout.waiting_for is None, "nobody is asked any more; what comes is found by the next pass"
    scene.after(1)
    scene.stands("promoted")


def test_a_step_waits_for_its_calls(scene: Scene) -> None:
    scene.gates.canary_calls = 3
    scene.given(steps=[{"weight": 0.1, "hold": "30m", "min_calls": 50}, {"weight": 1.0}])
    scene.after(DAY)
    scene.stands("progressing", 1)
    assert scene.rollout.why == "3 of 50 canary calls seen"
    scene.gates.canary_calls = 50
    scene.after(1_801)
    scene.stands("promoted")


def test_a_verdict_stands_until_there_is_another(scene: Scene) -> None:
    scene.gates.verdict = said("pass", "proven")
    scene.given_at(1)
    (confirmed,) = [e for e in scene.app.store.history(scene.id) if e.kind == "confirmed"]
    assert "verdict" not in confirmed.data, "what the gates say is recorded where it is acted on"
    scene.after(1_801)
    scene.stands("progressing", 2)
    assert scene.rollout.verdict == said("pass", "proven")
    scene.gates.verdict = None
    scene.after(7_201)
    scene.stands("progressing", 3)
    assert scene.rollout.verdict == said("pass", "proven")
    advanced = [e.data.get("verdict") for e in scene.app.store.history(scene.id) if e.kind == "advanced"]
    assert advanced == [said("pass", "proven").to_json(), None]


def test_a_failed_gate_rolls_back_by_itself(scene: Scene) -> None:
    scene.gates.verdict = said("undecided")
    scene.given_at(2)
    scene.gates.verdict = FAIL
    scene.after(1_801)
    scene.stands("rolled_back", reason=FAIL.reason)
    assert scene.live(ONE) == [entry(6)]
    assert scene.journal()[-5:] == ["failed", "intended", "settled", "read_back", "restored"]


def test_only_a_failure_rolls_back_by_itself(scene: Scene) -> None:
    scene.given_at(1)
    for outcome in ("undecided", "unmeasurable"):
        scene.gates.verdict = said(outcome)
        scene.after(2 * DAY)
        scene.stands("progressing", 1)


def test_a_failure_may_pause_and_a_person_may_overrule_it(scene: Scene) -> None:
    scene.given_at(1, on_failure="pause")
    scene.gates.verdict = FAIL
    scene.after(31 * 60)
    scene.stands("paused", 1, FAIL.reason)
    assert scene.weight(ONE) == 0.1
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")


@pytest.mark.parametrize(("answer", "phase"), [("pause", "held"), ("rollback", "rolled_back")])
def test_a_deadline_does_what_the_plan_says(scene: Scene, answer: str, phase: str) -> None:
    scene.gates.verdict = said("undecided")
    scene.given(deadline="2d", on_deadline=answer)
    scene.after(2 * DAY - 1)
    scene.stands("progressing", 1)
    scene.after(31)
    scene.stands(phase)
    assert scene.weight(ONE) == (0.1 if phase == "held" else 0)


def test_a_deadline_that_was_answered_does_not_come_again(scene: Scene) -> None:
    scene.gates.verdict = said("undecided")
    scene.given(deadline="2d")
    scene.after(2 * DAY + 31)
    scene.stands("held", 1, "deadline")
    scene.app.commands.adopt(scene.id, ME)
    scene.after(DAY)
    scene.stands("progressing", 1)


# ------------------------------------------------------------------ rollback


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_rollback_restores_the_baseline_verbatim(scene: Scene, step: int) -> None:
    odd = [
        {"agent_id": AGENT, "agent_version": "prod", "weight": 0.33335},
        {"agent_id": AGENT, "agent_version": 6, "weight": 0.66665},
    ]
    scene.sandbox.edit(ONE, inbound_agents=odd)
    scene.given_at(step)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == odd
    assert scene.rollout.restored_at is not None


def test_a_rollback_is_possible_after_promoted(scene: Scene) -> None:
    scene.given()
    scene.after(10 * DAY)
    scene.stands("promoted")
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_after_thirty_days_the_baseline_is_no_longer_kept(scene: Scene) -> None:
    scene.given()
    scene.after(2 * DAY)
    scene.stands("promoted")
    scene.after(31 * DAY)
    with pytest.raises(Refused, match="more than 30 days ago"):
        scene.app.commands.rollback(scene.id, ME)


def test_rolling_back_twice_is_one_rollback(scene: Scene) -> None:
    scene.given_at(1)
    for _ in range(2):
        scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    assert len(scene.patches(ONE)) == 2


def test_a_rollback_before_the_first_write_writes_nothing(scene: Scene) -> None:
    scene.given()
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert PATCH not in scene.requests()


def test_a_rollback_goes_on_until_retell_is_back(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.fault("status", status=503, times=None)
    scene.app.commands.rollback(scene.id, ME)
    scene.after(600)
    scene.stands("rolling_back")
    scene.restart()
    scene.sandbox.clear_faults()
    scene.after(300)
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_a_number_that_retell_refuses_holds_up_no_other_of_a_fleet(scene: Scene) -> None:
    numbers = scene.add_numbers(40)
    scene.given_at(1, numbers=numbers)
    scene.sandbox.fault("status", status=422, method=PATCH, number=numbers[0], times=None)
    scene.app.commands.rollback(scene.id, ME)
    scene.after(6)  # a pass, and another one a poll later
    assert [n for n in numbers if scene.live(n) != [entry(6)]] == [numbers[0]]
    scene.sandbox.clear_faults()
    scene.after(60)
    scene.stands("rolled_back")


def test_no_calendar_is_asked_while_it_goes_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.given_at(1)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("a calendar nobody can read")

    for name in ("opening", "hold_until", "stood"):
        monkeypatch.setattr(scene.app.driver.facts.calendar, name, fail)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")


def test_a_rollback_whose_answer_is_lost_is_declared_after_the_horizon(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.fault("drop_after", method=PATCH)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolling_back")
    assert scene.live(ONE) == [entry(6)]
    assert scene.rollout.restored_at is not None, "it was read back at once"
    scene.after(190)
    scene.stands("rolling_back")
    scene.after(60)
    scene.stands("rolled_back")


def test_a_rollback_is_by_number_too(scene: Scene) -> None:
    first = scene.given_at(1)
    assert scene.app.commands.on_number(ONE) == first
    with pytest.raises(UnknownRollout, match=rf"no rollout has written \{TWO}"):
        scene.app.commands.on_number(TWO)
