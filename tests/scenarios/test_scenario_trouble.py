"""What vanishes, what cannot be read, and answers that get lost on their way."""

from __future__ import annotations

from threading import Event

import pytest

from jobs.advance import MOST_CRASHES, ROLLBACKS, Advance
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout
from tests.support.scene import GET, ME, PATCH, Scene
from tests.support.values import AGENT, ONE, THREE, TWO, entry

DAY = 86_400


def test_a_number_that_vanished_rolls_back_the_others(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO, THREE])
    scene.sandbox.delete_number(TWO)
    scene.after(30 * 60)
    scene.stands("rolled_back")
    assert [str(t.state) for t in scene.rollout.targets] == ["restored", "missing", "restored"]
    assert scene.live(ONE) == scene.live(THREE) == [entry(6)]
    assert f"{TWO} is gone" in str(scene.rollout.reason)


def test_a_number_that_vanished_is_found_by_the_scan(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO])
    scene.sandbox.delete_number(TWO)
    scene.scan()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_a_canary_version_that_vanished_rolls_back(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.delete_version(AGENT, 7)
    scene.after(30 * 60)
    scene.stands("rolled_back")
    assert "version 7 is gone" in str(scene.rollout.reason)
    assert scene.live(ONE) == [entry(6)]


def test_a_canary_version_that_vanished_just_before_the_write_rolls_back(scene: Scene) -> None:
    """Pre-flight and the check before the step both saw it; the refusal of the write is what tells."""
    scene.given()
    scene.sandbox.delete_version(AGENT, 7)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_a_baseline_version_that_vanished_is_held_before_anything_is_written(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.delete_version(AGENT, 6)
    scene.sandbox.clear_log()
    scene.after(30 * 60)
    scene.stands("held", 2, "rollback-impossible")
    assert PATCH not in scene.requests(ONE)
    assert "a rollback would be refused" in scene.rollout.why


def test_a_suspended_agent_counts_as_gone(scene: Scene) -> None:
    scene.sandbox.add_agent("agent_new", [1])
    scene.given_at(1, canary={"agent_id": "agent_new", "agent_version": 1})
    scene.sandbox.add_agent("agent_new", [], is_suspended=True)
    scene.after(30 * 60)
    scene.stands("rolled_back")
    assert "agent_new is suspended" in str(scene.rollout.reason)


# ------------------------------------------------------------------ what cannot be read


def test_nothing_moves_while_retell_is_away_and_it_goes_on_by_itself(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.fault("status", status=503, times=None)
    scene.after(30 * 60 + 120)
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    scene.sandbox.clear_faults()
    scene.after(120)
    assert scene.weight(ONE) == 0.5


def test_a_wrong_key_is_said_and_taken_up_again_when_it_is_right(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.fault("status", status=401, times=None)
    scene.after(30 * 60 + 60)
    scene.stands("progressing", 1)
    assert "API key (401)" in scene.rollout.why
    scene.sandbox.clear_faults()
    scene.after(120)
    assert scene.weight(ONE) == 0.5


@pytest.mark.parametrize("asked", ["progressing", "paused"])
def test_an_edit_that_the_scan_saw_and_that_cannot_be_read_is_read_later(scene: Scene, asked: str) -> None:
    scene.given_at(1)
    if asked == "paused":
        scene.app.commands.pause(scene.id, ME)
    scene.sandbox.edit(ONE, inbound_agents=[entry(8, 0.3), entry(6, 0.7)])
    scene.sandbox.fault("status", status=503, method=GET, number=ONE, times=None)
    scene.scan()
    scene.stands(asked, 1)
    scene.sandbox.clear_faults()
    scene.after(60)
    scene.stands("held", 1, "drift")


def test_one_stale_read_is_not_believed(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.fault("stale", method=GET, number=ONE)
    scene.after(30 * 60 + 60)
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5


# ------------------------------------------------------------------ answers that get lost


@pytest.mark.parametrize("kind", ["drop_after", "truncate", "html", "omit"])
def test_a_write_whose_answer_is_lost_is_found_by_reading(scene: Scene, kind: str) -> None:
    scene.sandbox.fault(kind, method=PATCH, **({"apply": True} if kind == "html" else {}))
    scene.given()
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    assert scene.rollout.confirmed_at is not None
    scene.after(2 * DAY)
    scene.stands("promoted")
    assert len(scene.patches(ONE)) == 3


@pytest.mark.parametrize("kind", ["drop_before", "lie"])
def test_a_write_that_was_not_applied_is_made_again_after_its_horizon(scene: Scene, kind: str) -> None:
    scene.sandbox.fault(kind, method=PATCH)
    scene.given()
    scene.drive()
    assert scene.weight(ONE) == 0
    scene.after(190)
    assert len(scene.patches(ONE)) == 1, "while it may still land nothing is sent"
    scene.after(60)
    assert len(scene.patches(ONE)) == 2
    assert scene.weight(ONE) == 0.1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_that_may_be_none_is_waited_out(scene: Scene, status: int) -> None:
    scene.sandbox.fault("status", status=status, method=PATCH)
    scene.given()
    scene.after(300)
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1


def test_a_bad_request_is_held_and_not_repeated(scene: Scene) -> None:
    scene.sandbox.fault("status", status=400, method=PATCH, times=None)
    scene.given()
    scene.after(3_600)
    scene.stands("held", 1, "rejected")
    assert len(scene.patches(ONE)) == 1


def _crashing(scene: Scene, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service works on what is due so many times, and each time it dies of it."""

    def crash(_held: Claim) -> Rollout:
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as broken:
        broken.setattr(scene.app.driver, "drive", crash)
        for _ in range(times):
            scene.clock.advance(scene.app.timing.lease + 1)
            _tick(scene)


def _tick(scene: Scene) -> None:
    advance = Advance(scene.app)
    assert advance.tick() == 1
    advance.stop()


def test_a_rollout_that_crashes_again_and_again_is_held(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.given_at(1)
    scene.clock.advance(1_801)
    _crashing(scene, MOST_CRASHES, monkeypatch)
    scene.stands("progressing", 1)
    _crashing(scene, 1, monkeypatch)
    scene.stands("held", 1, reason="poison")
    assert scene.rollout.why == f"working on it has crashed {MOST_CRASHES} times in a row"
    assert (scene.rollout.due_at, scene.rollout.next) == (None, "adopt, restore, rollback or stop")
    (held,) = [e for e in scene.app.store.history(scene.id) if e.kind == "held"]
    assert (held.actor, held.reason, held.data["reason"]) == ("service", scene.rollout.why, "poison")
    assert scene.rollout.resume_phase == "progressing"
    assert len(scene.patches(ONE)) == 1
    scene.app.commands.rollback(scene.id, ME)
    scene.after(3_600)
    scene.stands("rolled_back")


def test_a_held_rollout_that_crashes_goes_on_where_it_was_once_answered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.given_at(1)
    scene.sandbox.edit(ONE, inbound_agents=[entry(8, 0.3), entry(6, 0.7)])
    scene.scan()
    scene.stands("held", 1, "drift")
    scene.app.store.wake([scene.id])
    _crashing(scene, MOST_CRASHES, monkeypatch)
    scene.app.store.wake([scene.id])
    _crashing(scene, 1, monkeypatch)
    scene.stands("held", 1, "poison")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)


def test_one_crash_fewer_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.given_at(1)
    scene.clock.advance(1_801)
    _crashing(scene, MOST_CRASHES - 1, monkeypatch)
    scene.clock.advance(scene.app.timing.lease + 1)
    _tick(scene)
    scene.stands("progressing", 2)
    scene.clock.advance(7_201)
    _crashing(scene, 1, monkeypatch)  # what went well in between makes the count begin anew
    scene.clock.advance(scene.app.timing.lease + 1)
    _tick(scene)
    scene.stands("progressing", 3)


def test_a_rollback_is_never_given_up_however_often_it_crashes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    _crashing(scene, 2 * MOST_CRASHES, monkeypatch)
    scene.stands("rolling_back")
    scene.clock.advance(scene.app.timing.lease + 1)
    _tick(scene)
    scene.after(3_600)
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_rollbacks_have_places_of_their_own_and_no_more_are_claimed_than_can_be_driven(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = scene.app.settings.workers
    names = [str(i) for i in range(ROLLBACKS + workers + 1)]
    numbers = scene.add_numbers(2 * len(names))
    ids = [scene.given(name=name, numbers=[number]) for name, number in zip(names, numbers, strict=False)]
    going = Event()
    monkeypatch.setattr(scene.app.driver, "drive", lambda _held: going.wait(30) and scene.rollout)
    for id_ in ids[:ROLLBACKS]:
        scene.app.commands.rollback(id_, ME)
    advance = Advance(scene.app)
    try:
        assert advance.tick() == ROLLBACKS + workers
        scene.app.commands.rollback(ids[-1], ME)
        assert advance.tick() == 0, "every place is taken, and what is claimed would wait while its lease runs"
    finally:
        going.set()
        advance.stop()
