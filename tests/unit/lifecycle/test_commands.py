"""What each command makes of the rollout that it finds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.errors import InputError, Refused, StaleExpectation
from rollout.domain.lifecycle import commands
from rollout.domain.lifecycle.commands import By, parse_position
from rollout.domain.lifecycle.machine import KEEP_BASELINE, Phase
from rollout.domain.lifecycle.state import Position, Rollout, TargetState
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Reading
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, only, plan, rollout, said, target, write

ME = By("cli:sam", "because")
NOW = START + timedelta(hours=1)
LIVE = {ONE: Reading(ONE, only(5), 2_000, "digest of others")}


def standing(step: int = 1, **changes: Any) -> Rollout:
    values = {"position": Position(1, step), "confirmed_at": START, "targets": (confirmed(step=step),), **changes}
    return rollout(**values)


# ------------------------------------------------------------------ who asks


@pytest.mark.parametrize("id_", ["", "x" * 121, "a\nb"])
def test_a_request_id_is_short_and_printable(id_: str) -> None:
    with pytest.raises(InputError, match="request_id: write 1 to 120"):
        By("sam", "", id_)
    assert By("sam", "", "x").request_id == "x"


def test_the_name_of_who_asks_has_at_most_two_hundred_characters() -> None:
    assert By("x" * 200).actor == "x" * 200
    with pytest.raises(InputError, match=r"^actor: write at most 200 characters, not 201$"):
        By("x" * 201)


def test_a_request_is_told_apart_by_what_it_asks() -> None:
    assert By("sam").request("pause", "r1") is None
    by = By("sam", "", "x" * 120)
    one, again, other = by.request("pause", "r1"), by.request("pause", "r1"), by.request("pause", "r2")
    assert one == again != other
    assert by.request("set", {"b": 1, "c": 2}) == by.request("set", {"c": 2, "b": 1}), (
        "the order of weights says nothing"
    )
    assert one is not None
    assert (one.actor, one.id, one.command) == ("sam", "x" * 120, "pause")


def test_an_order_for_many_rollouts_is_one_request_for_each() -> None:
    by = By("sam", "calls drop", "evening", alert="HighErrors")
    one, again, other = by.each("r1"), by.each("r1"), by.each("r2")
    assert one == again != other
    assert replace(one, request_id="evening") == by
    assert one.request_id is not None
    assert len(one.request_id) <= 120
    assert replace(by, request_id="noon").each("r1") != one
    assert By("sam").each("r1") == By("sam")


# ------------------------------------------------------------------ promote


def test_promote_goes_to_the_next_step() -> None:
    change, recorded, why = commands.promote(standing(stood=60.0), NOW, ME, Position(1, 1), full=False)
    assert change.rollout == {"phase": "progressing", "wave": 1, "step": 2, "confirmed_at": None, "stood": None}
    assert (recorded.kind, recorded.actor, recorded.reason) == ("promote", "cli:sam", "because")
    assert recorded.data == {"from": "1.1", "to": "1.2", "full": False}
    assert why == "promoted by a person: from 1.1 to 1.2"


def test_promote_in_full_goes_to_the_last_step_of_the_last_wave() -> None:
    r = standing(targets=(confirmed(), target(TWO, ord=1, wave=2)), confirmed_at=None)
    change, recorded, _ = commands.promote(r, NOW, ME, None, full=True)
    assert (change.rollout["wave"], change.rollout["step"]) == (2, 3)
    assert recorded.data == {"from": "1.1", "to": "2.3", "full": True}


@pytest.mark.parametrize("full", [True, False])
def test_promote_in_the_last_step_ends_its_bake_once(full: bool) -> None:
    change, recorded, why = commands.promote(standing(3), NOW, ME, None, full=full)
    assert change.rollout == {"phase": "progressing", "promote_asked": True}
    assert recorded.data == {"from": "1.3", "to": "1.3", "full": full}
    assert why == "promoted by a person: the bake of step 1.3 is ended"
    with pytest.raises(Refused, match=r"step 1.3 is the last one, and its bake is already being ended"):
        commands.promote(standing(3, promote_asked=True), NOW, ME, None, full=full)


def test_promote_waits_for_the_step_that_is_being_written() -> None:
    with pytest.raises(Refused, match=r"step 1.2 is still being written") as refused:
        commands.promote(standing(2, confirmed_at=None), NOW, ME, None, full=False)
    assert refused.value.details["position"] == {"wave": 1, "step": 2}
    with pytest.raises(Refused, match="already being ended"):
        commands.promote(standing(3, confirmed_at=None), NOW, ME, None, full=True)


RETREATS = plan(closing={"retreat": 0.05}, calendar="office")


def test_promote_at_night_writes_the_position_now() -> None:
    down = standing(2, plan=RETREATS, retreated=500, confirmed_at=None)
    change, _, why = commands.promote(down, NOW, ME, None, full=False)
    assert change.rollout == {"phase": "progressing", "raised_at": NOW, "retreated": None, "turning_since": NOW}
    assert "step 1.2 is written now" in why
    last = replace(down, position=Position(1, 3))
    assert "step 1.3 is written now" in commands.promote(last, NOW, ME, None, full=True)[2]
    assert "from 1.2 to 1.3" in commands.promote(down, NOW, ME, None, full=True)[2]
    by_day, _, _ = commands.promote(standing(plan=RETREATS), NOW, ME, None, full=False)
    assert by_day.rollout["raised_at"] == NOW
    assert "retreated" not in by_day.rollout


# ------------------------------------------------------------------ pause, resume, stop


def test_pause_holds_and_says_why() -> None:
    decision = commands.pause(standing(), NOW, ME, Position(1, 1))
    assert decision is not None
    change, recorded, _ = decision
    assert change.rollout == {
        "phase": "paused",
        "reason": "because",
        "resume_phase": "progressing",
        "paused_by": "person",
    }
    assert recorded.data == commands.state_of(standing())
    by_alert = commands.pause(standing(), NOW, By("token", "alert Drop (grafana): it drops", alert="Drop"), None)
    assert by_alert is not None
    assert (by_alert[0].rollout["paused_by"], by_alert[2]) == ("alert", "paused by an alert")
    unsaid = commands.pause(standing(), NOW, By("sam"), None)
    assert unsaid is not None
    assert unsaid[0].rollout["reason"] is None


def test_what_an_alert_orders_is_told_as_that() -> None:
    for by, who in ((By("hook:grafana", alert="HighErrors"), "an alert"), (By("cli:sam"), "a person")):
        for decision, what in (
            (commands.pause(standing(), NOW, by, None), f"paused by {who}"),
            (commands.rollback(standing(), NOW, by), f"rollback ordered by {who}"),
        ):
            assert decision is not None
            _, recorded, why = decision
            assert why == what
            assert recorded.data is not None
            assert recorded.data.get("alert") == by.alert
            assert decision[0].rollout["reason"] in (None, f"rolled back by {who}")


def test_pause_of_what_is_paused_is_done_already_unless_something_else_was_expected() -> None:
    paused = standing(phase=Phase.PAUSED)
    assert commands.pause(paused, NOW, ME, None) is None
    with pytest.raises(Refused):
        commands.pause(paused, NOW, ME, Position(1, 1))


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({}, {"phase": "progressing", "reason": None, "paused_by": None}),
        ({"started_at": None}, {"phase": "pending", "reason": None, "paused_by": None}),
        ({"verdict": said("fail")}, {"phase": "progressing", "reason": None, "paused_by": None, "waived": True}),
        ({"verdict": said("pass")}, {"phase": "progressing", "reason": None, "paused_by": None}),
    ],
    ids=["started", "not-started", "failed", "passed"],
)
def test_resume_goes_on_and_waives_a_failure(changes: dict[str, Any], values: dict[str, Any]) -> None:
    change, recorded, _ = commands.resume(standing(phase=Phase.PAUSED, **changes), NOW, ME, None)
    assert dict(change.rollout) == values
    assert recorded.kind == "resume"


def test_what_is_being_stopped_is_not_resumed() -> None:
    with pytest.raises(Refused, match="it is being stopped"):
        commands.resume(standing(phase=Phase.PAUSED, stop_asked=True), NOW, ME, None)


def test_drift_of_what_is_being_stopped_is_not_answered() -> None:
    for answer in (commands.adopt, commands.restore):
        with pytest.raises(Refused, match="it is being stopped: only a rollback can still be ordered"):
            answer(held(stop_asked=True), NOW, ME, None, LIVE)


def test_stop_ends_at_once_when_nothing_can_land() -> None:
    assert commands.stop(standing(phase=Phase.STOPPED), NOW, ME, None) is None
    decision = commands.stop(standing(), NOW, ME, None)
    assert decision is not None
    change, recorded, why = decision
    assert change.rollout == {"phase": "stopped", "reason": "because", "stop_asked": False}
    assert (recorded.kind, why) == ("stop", "because")
    flying = standing(writes=(applied(write(), NOW + timedelta(seconds=1)),))
    later = commands.stop(flying, NOW, By("sam"), None)
    assert later is not None
    assert later[0].rollout == {"phase": "paused", "reason": "stopped by a person", "stop_asked": True}
    pending = commands.stop(rollout(phase=Phase.PENDING, targets=(), started_at=None), NOW, ME, None)
    assert pending is not None
    assert pending[0].rollout == {"phase": "stopped", "reason": "because", "stop_asked": False}


# ------------------------------------------------------------------ adopt, restore


def held(reason: str = "drift", **changes: Any) -> Rollout:
    drifted = confirmed(state=TargetState.DRIFTED)
    return standing(**{"phase": Phase.HELD, "reason": reason, "targets": (drifted,), **changes})


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("drift", {}),
        ("split", {"split_waived": True}),
        ("labels", {"labels_waived": True}),
        ("deadline", {"deadline_at": None}),
    ],
)
def test_adopt_takes_the_live_split_as_ours_and_waives_what_held_it(reason: str, more: dict[str, Any]) -> None:
    change, recorded, _ = commands.adopt(held(reason), NOW, ME, None, LIVE)
    assert change.rollout == {"phase": "progressing", "reason": None, **more}
    (adopted,) = change.targets.values()
    assert (adopted["split"], adopted["live"], adopted["live_at"]) == (only(5), only(5), NOW)
    assert (adopted["modified"], adopted["step"], adopted["state"]) == (2_000, 1, "confirmed")
    assert recorded.data is not None
    assert recorded.data["lists"] == {ONE: only(5)}


def test_adopt_of_a_number_that_was_never_written_leaves_it_untouched() -> None:
    change, _, _ = commands.adopt(held(targets=(target(state=TargetState.DRIFTED),)), NOW, ME, None, LIVE)
    assert (change.targets[ONE]["state"], change.targets[ONE]["step"]) == ("untouched", 0)


def test_adopt_never_stands_behind_where_it_was() -> None:
    ahead = confirmed(step=2, state=TargetState.DRIFTED)
    change, _, _ = commands.adopt(held(targets=(ahead,)), NOW, ME, None, LIVE)
    assert change.targets[ONE]["step"] == 2
    overwritten = confirmed(step=-1, state=TargetState.DRIFTED)
    change, _, _ = commands.adopt(held(targets=(overwritten,)), NOW, ME, None, LIVE)
    assert change.targets[ONE]["step"] == 1


@pytest.mark.parametrize("command", [commands.adopt, commands.restore])
@pytest.mark.parametrize(
    ("changes", "phase"),
    [({}, "progressing"), ({"resume_phase": Phase.PAUSED}, "paused"), ({"started_at": None}, "paused")],
    ids=["going-on", "paused-before", "not-started"],
)
def test_an_answer_leads_back_to_where_it_was(command: Any, changes: dict[str, Any], phase: str) -> None:
    assert command(held(**changes), NOW, ME, None, LIVE)[0].rollout["phase"] == phase


@pytest.mark.parametrize("lists", [{}, {"inbound_agents": []}, {"inbound_agents": None}])
def test_what_is_empty_cannot_be_adopted(lists: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=f"\\{ONE} has no inbound_agents now"):
        commands.adopt(held(), NOW, ME, None, {ONE: Reading(ONE, lists, 2_000, "")})


MOVED = BaselineTag("agent_frontdesk", "stable", 6, is_moved=True, now=8)


def test_adopt_takes_moved_tags_for_right_and_restore_cannot_move_them_back() -> None:
    r = held(tags=(MOVED,))
    change, _, _ = commands.adopt(r, NOW, ME, None, LIVE)
    assert change.rollout["tags"] == (BaselineTag("agent_frontdesk", "stable", 8),)
    with pytest.raises(Refused, match="the tag stable can only be moved back in Retell: adopt, rollback or stop"):
        commands.restore(r, NOW, ME, None, LIVE)
    assert "tags" not in commands.adopt(held(), NOW, ME, None, LIVE)[0].rollout
    assert commands.restore(held(tags=(replace(MOVED, is_moved=False),)), NOW, ME, None, LIVE)


def shipping(**changes: Any) -> Rollout:
    """Every call is wanted for the canary; the edit that it is held for came before its write."""
    splits = [{"number": 1, "wave": 1, "step": 3, "weights": {"canary": 10_000}, "ships": "canary"}]
    return held(**{"position": Position(1, 3), "by_hand": splits, "hand_split": 1, **changes})


def test_what_does_not_serve_the_version_that_is_shipped_cannot_be_adopted() -> None:
    with pytest.raises(Refused, match=f"canary is being shipped, and \\{ONE} does not serve it: restore, roll back or"):
        commands.adopt(shipping(), NOW, ME, None, LIVE)
    served = {ONE: Reading(ONE, only(7), 2_000, "")}
    adopted = commands.adopt(shipping(), NOW, ME, None, served)[0].targets[ONE]
    assert (adopted["split"], adopted["step"]) == (only(7), 4), "the split by hand is step 4 of three"
    untouched = shipping(targets=(target(state=TargetState.DRIFTED),))
    assert commands.adopt(untouched, NOW, ME, None, LIVE)[0].targets[ONE]["step"] == 0


def test_adopt_counts_a_number_as_written_with_the_weights_that_a_person_set() -> None:
    splits = [{"number": 1, "wave": 1, "step": 1, "weights": {"canary": 2000}}]
    r = held(by_hand=splits, hand_split=1)
    assert commands.adopt(r, NOW, ME, None, LIVE)[0].targets[ONE]["step"] == 4
    second = held(by_hand=splits, hand_split=1, targets=(confirmed(), replace(confirmed(TWO, ord=1, wave=2), step=4)))
    live = {**LIVE, TWO: Reading(TWO, only(5), 2_000, "")}
    assert commands.adopt(second, NOW, ME, None, live)[0].targets[TWO]["step"] == 4, "not wanted yet: where it was"


@pytest.mark.parametrize("state", [TargetState.DRIFTED, TargetState.TOUCHED, TargetState.REJECTED])
def test_restore_writes_ours_over_what_was_answered_for(state: TargetState) -> None:
    other = confirmed(TWO, ord=1)
    r = held(targets=(confirmed(state=state), other))
    live = {**LIVE, TWO: Reading(TWO, only(4), 3_000, "")}
    change, recorded, _ = commands.restore(r, NOW, ME, None, live)
    assert change.rollout == {"phase": "progressing", "reason": None, "confirmed_at": None}
    assert list(change.targets) == [ONE], "the other number shows ours"
    assert (change.targets[ONE]["split"], change.targets[ONE]["modified"]) == (only(5), 2_000)
    assert (change.targets[ONE]["step"], change.targets[ONE]["state"]) == (-1, "confirmed")
    assert recorded.kind == "restore"


@pytest.mark.parametrize(("modified", "taken"), [(999, True), (1_000, False), (2_000, False)])
def test_restore_takes_a_number_that_was_made_anew(modified: int, taken: bool) -> None:
    r = held("identity", targets=(confirmed(),))
    change, _, _ = commands.restore(r, NOW, ME, None, {ONE: Reading(ONE, only(5), modified, "")})
    assert list(change.targets) == [ONE] * taken
    drift = commands.restore(held(targets=(confirmed(),)), NOW, ME, None, {ONE: Reading(ONE, only(5), modified, "")})
    assert drift[0].targets == {}


def test_restore_of_a_retreated_rollout_reads_the_retreat_back_anew() -> None:
    change, _, _ = commands.restore(held(plan=RETREATS, retreated=500), NOW, ME, None, LIVE)
    assert change.rollout["turning_since"] == NOW


def test_restore_of_a_number_that_was_never_written_leaves_it_untouched() -> None:
    change, _, _ = commands.restore(held(targets=(target(state=TargetState.DRIFTED),)), NOW, ME, None, LIVE)
    assert change.targets[ONE]["state"] == "untouched"


# ------------------------------------------------------------------ rollback


def test_rollback_is_ordered_from_wherever_it_stands() -> None:
    decision = commands.rollback(standing(stop_asked=True), NOW, By("sam"))
    assert decision is not None
    change, recorded, _ = decision
    assert change.rollout == {
        "phase": "rolling_back",
        "stop_asked": False,
        "rollback_at": NOW,
        "restored_at": None,
        "reason": "rolled back by a person",
    }
    assert change.targets == {}
    assert recorded.kind == "rollback"


def test_a_rollback_ordered_again_keeps_its_time() -> None:
    again = commands.rollback(standing(phase=Phase.ROLLING_BACK, rollback_at=START), NOW, ME)
    assert again is not None
    assert again[0].rollout == {"phase": "rolling_back", "stop_asked": False}
    assert commands.rollback(standing(phase=Phase.ROLLED_BACK), NOW, ME) is None


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.STOPPED])
def test_a_baseline_is_kept_for_thirty_days_after_the_end(phase: Phase) -> None:
    r = standing(3, phase=phase, updated_at=NOW - KEEP_BASELINE)
    assert commands.rollback(r, NOW, ME) is not None
    with pytest.raises(Refused, match=f"it ended as {phase} more than 30 days ago"):
        commands.rollback(r, NOW + timedelta(seconds=1), ME)
    assert commands.rollback(r, NOW + timedelta(seconds=1), ME, timedelta(days=40)) is not None
    with pytest.raises(Refused, match="more than 40 days ago"):
        commands.rollback(r, NOW + timedelta(days=10, seconds=1), ME, timedelta(days=40))
    live = standing(updated_at=NOW - 2 * KEEP_BASELINE)
    assert commands.rollback(live, NOW, ME) is not None


def test_what_was_stopped_before_anything_was_written_is_back_already() -> None:
    assert commands.rollback(rollout(phase=Phase.STOPPED), NOW, ME) is None
    assert commands.rollback(standing(phase=Phase.STOPPED), NOW, ME) is not None


@pytest.mark.parametrize(
    ("state", "taken"),
    [
        (TargetState.RESTORED, True),
        (TargetState.FOREIGN, True),
        (TargetState.SUPERSEDED, True),
        (TargetState.CONFIRMED, False),
        (TargetState.MISSING, False),
    ],
)
def test_a_rollback_after_the_end_takes_back_what_others_have_now(state: TargetState, taken: bool) -> None:
    def targets(phase: Phase) -> Any:
        decision = commands.rollback(standing(3, phase=phase, targets=(confirmed(state=state),)), NOW, ME)
        assert decision is not None
        return decision[0].targets

    assert targets(Phase.PROMOTED) == ({ONE: {"state": "confirmed"}} if taken else {})
    assert targets(Phase.PROGRESSING) == {}


# ------------------------------------------------------------------ what was expected


@pytest.mark.parametrize(
    ("command", "phase"),
    [
        (lambda r, e: commands.promote(r, NOW, ME, e, full=False), Phase.PROGRESSING),
        (lambda r, e: commands.pause(r, NOW, ME, e), Phase.PROGRESSING),
        (lambda r, e: commands.resume(r, NOW, ME, e), Phase.PAUSED),
        (lambda r, e: commands.stop(r, NOW, ME, e), Phase.PROGRESSING),
        (lambda r, e: commands.adopt(r, NOW, ME, e, LIVE), Phase.HELD),
        (lambda r, e: commands.restore(r, NOW, ME, e, LIVE), Phase.HELD),
    ],
    ids=["promote", "pause", "resume", "stop", "adopt", "restore"],
)
def test_nothing_is_changed_when_it_stands_elsewhere(command: Any, phase: Phase) -> None:
    r = standing(phase=phase, reason="drift")
    with pytest.raises(StaleExpectation, match=rf"you expected it at 1.2, but it is at 1.1 \({phase}\)"):
        command(r, Position(1, 2))
    assert command(r, Position(1, 1)) is not None


@pytest.mark.parametrize(("text", "position"), [("2", (1, 2)), ("1.2", (1, 2)), ("12.3456", (12, 3456))])
def test_a_position_is_wave_and_step(text: str, position: tuple[int, int]) -> None:
    assert parse_position(text) == Position(*position)


@pytest.mark.parametrize("text", ["", "0", "1.0", "01.1", "1.", ".1", "1.2.3", "12345", "1,2", " 1", "-1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a position; write WAVE\.STEP"):
        parse_position(text)


def test_where_it_stands_is_said_in_one_form() -> None:
    assert commands.state_of(standing(2, reason="x")) == {
        "id": "r1",
        "phase": "progressing",
        "reason": "x",
        "position": {"wave": 1, "step": 2},
        "epoch": 1,
    }
