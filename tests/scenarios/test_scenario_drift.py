"""Another hand on our numbers: told, never written over silently, and answered by a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollout.domain.errors import IllegalTransition, Refused
from tests.support.scene import ME, PATCH, Scene
from tests.support.values import ONE, entry

DAY = 86_400
FOREIGN = [entry(8, 0.3), entry(6, 0.7)]


@pytest.fixture
def sdk(scene: Scene) -> Iterator[Any]:
    """Retell's own client: a hand that is not ours."""
    retell = pytest.importorskip("retell", reason="retell-sdk is a development dependency")
    with retell.Retell(api_key="other", base_url=scene.sandbox.url, max_retries=0) as made:
        yield made


def drifted(scene: Scene, step: int = 1) -> None:
    """A rollout that stands at a step and is held, because somebody edited its number."""
    scene.given_at(step)
    scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
    assert scene.scan() == 1
    scene.stands("held", step, "drift")


# ------------------------------------------------------------------ found


def test_an_edit_by_retells_own_client_is_found_by_the_scan(scene: Scene, sdk: Any) -> None:
    scene.given_at(1)
    sdk.phone_number.update(ONE, inbound_agents=FOREIGN)
    scene.scan()
    scene.stands("held", 1, "drift")
    assert ONE in scene.rollout.why
    (target,) = scene.rollout.targets
    assert (str(target.state), target.live) == ("drifted", {"inbound_agents": FOREIGN})
    assert scene.live(ONE) == FOREIGN


def test_an_edit_is_found_before_the_next_step_and_not_written_over(scene: Scene, sdk: Any) -> None:
    scene.given_at(1)
    sdk.phone_number.update(ONE, inbound_agents=FOREIGN)
    scene.after(30 * 60)
    scene.stands("held", 1, "drift")
    assert "advanced" not in scene.journal(), "the step was not counted"
    assert len(scene.patches(ONE)) == 2, "our first step and the other hand's"
    assert scene.live(ONE) == FOREIGN


@pytest.mark.parametrize("touch", [False, True], ids=["edited", "touched"])
@pytest.mark.parametrize("how", ["the hold ends", "a person promotes", "a person promotes to the last step"])
def test_drift_during_a_hold_is_held_at_the_step_in_force_and_restore_writes_that_one(
    scene: Scene, how: str, touch: bool
) -> None:
    scene.given_at(1)
    scene.sandbox.edit(ONE, **({"touch": True} if touch else {"inbound_agents": FOREIGN}))
    if how == "the hold ends":
        scene.after(30 * 60)
    else:
        scene.app.commands.promote(scene.id, ME, full="last" in how)
        scene.drive()
    scene.stands("held", 1, "touched" if touch else "drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    scene.after(30 * 60)
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5


def test_an_edit_of_a_later_waves_number_is_found_before_that_wave_is_counted(scene: Scene) -> None:
    numbers = scene.add_numbers(2)
    scene.given_at(3, numbers=numbers, waves=[1, "100%"])
    scene.sandbox.edit(numbers[1], inbound_agents=FOREIGN)
    scene.after(DAY)
    scene.stands("held", 3, "drift")
    assert scene.rollout.position.wave == 1
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.live(numbers[1]) == [entry(6)]
    assert scene.weight(numbers[0]) == 1.0


def test_one_edited_number_of_many_stops_all(scene: Scene) -> None:
    numbers = scene.add_numbers(5)
    scene.given_at(1, numbers=numbers)
    scene.sandbox.edit(numbers[2], inbound_agents=FOREIGN)
    scene.after(30 * 60)
    scene.stands("held", reason="drift")
    assert scene.live(numbers[2]) == FOREIGN
    assert numbers[2] in scene.rollout.why


def test_an_edit_before_the_first_step_is_not_written_over(scene: Scene) -> None:
    scene.given()
    scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
    scene.drive()
    scene.stands("held", 1, "drift")
    assert scene.live(ONE) == FOREIGN


def test_the_scan_costs_one_request_and_finds_nothing_where_nothing_is(scene: Scene) -> None:
    scene.given_at(1, numbers=scene.add_numbers(30))
    scene.sandbox.clear_log()
    assert scene.scan() == 0
    assert [e["path"] for e in scene.sandbox.log()] == ["/v2/list-phone-numbers"]


def test_held_is_held(scene: Scene) -> None:
    drifted(scene)
    for _ in range(3):
        scene.scan()
        scene.after(DAY)
    scene.restart()
    scene.after(DAY)
    scene.stands("held", 1, "drift")
    assert len(scene.patches(ONE)) == 1
    for command in (scene.app.commands.promote, scene.app.commands.resume, scene.app.commands.pause):
        with pytest.raises(IllegalTransition):
            command(scene.id, ME)


@pytest.mark.parametrize(
    "edit",
    [{"nickname": "Renamed"}, {"inbound_webhook_url": "https://example.test/hook"}, {"outbound_agents": [entry(6)]}],
    ids=["nickname", "webhook", "a-list-outside-the-plan"],
)
def test_an_edit_of_another_field_is_noted_and_goes_on(scene: Scene, edit: dict[str, Any]) -> None:
    scene.given_at(1)
    scene.sandbox.edit(ONE, **edit)
    scene.scan()
    scene.stands("progressing", 1)
    (noted,) = [e for e in scene.app.store.history(scene.id) if e.kind == "observed"]
    assert "another field was changed" in noted.reason
    scene.after(2 * DAY)
    scene.stands("promoted")
    shown = scene.sandbox.number(ONE).to_json()
    assert {k: shown[k] for k in edit} == edit


def test_a_touch_that_changes_nothing_is_held_as_touched(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.edit(ONE, touch=True)
    scene.scan()
    scene.stands("held", 1, "touched")
    scene.app.commands.adopt(scene.id, ME)
    scene.after(2 * DAY)
    scene.stands("promoted")


# ------------------------------------------------------------------ answered


def test_adopt_takes_the_live_split_and_goes_on(scene: Scene) -> None:
    drifted(scene)
    scene.app.commands.adopt(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.live(ONE) == FOREIGN, "adopting writes nothing"
    scene.after(30 * 60)
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5


def test_restore_writes_ours_again_and_holds_anew(scene: Scene) -> None:
    drifted(scene)
    scene.after(29 * 60)
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    scene.after(30 * 60 - 1)
    scene.stands("progressing", 1)
    scene.after(1)
    scene.stands("progressing", 2)


def test_rollback_answers_drift_with_the_baseline(scene: Scene) -> None:
    drifted(scene)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]


def test_stop_answers_drift_by_leaving_everything(scene: Scene) -> None:
    drifted(scene)
    scene.app.commands.stop(scene.id, ME)
    scene.drive()
    scene.stands("stopped")
    assert scene.live(ONE) == FOREIGN


def test_a_number_that_was_taken_down_cannot_be_adopted(scene: Scene) -> None:
    scene.given_at(1)
    scene.sandbox.edit(ONE, inbound_agents=None)
    scene.scan()
    scene.stands("held", 1, "drift")
    with pytest.raises(Refused, match="has no inbound_agents now: restore, roll back or stop instead"):
        scene.app.commands.adopt(scene.id, ME)
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.1


@pytest.mark.parametrize("answer", ["adopt", "restore"])
def test_a_rollout_that_was_paused_stays_paused_after_the_answer(scene: Scene, answer: str) -> None:
    scene.given_at(1)
    scene.app.commands.pause(scene.id, ME)
    scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
    scene.scan()
    scene.stands("held", 1, "drift")
    getattr(scene.app.commands, answer)(scene.id, ME)
    scene.after(DAY)
    scene.stands("paused", 1)
    left = f"; resume writes the split of {ONE} again" if answer == "restore" else ""
    assert scene.rollout.why == f"paused by a person{left}", "a pause writes nothing, and says what it leaves"


def test_the_baseline_by_another_hand_is_a_rollback_outside(scene: Scene, sdk: Any) -> None:
    scene.given_at(2)
    sdk.phone_number.update(ONE, inbound_agents=[entry(6)])
    scene.sandbox.clear_log()
    scene.after(3 * 3_600)
    scene.stands("rolled_back", reason="rolled back outside the service")
    assert PATCH not in scene.requests(ONE)


# ------------------------------------------------------------------ after the end


def test_after_promoted_the_scan_goes_on_and_a_foreign_edit_is_only_told(scene: Scene) -> None:
    scene.given()
    scene.after(2 * DAY)
    scene.stands("promoted")
    scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
    scene.scan()
    scene.stands("promoted")
    assert str(scene.rollout.targets[0].state) == "drifted"
    assert scene.live(ONE) == FOREIGN


def test_after_promoted_an_edit_over_a_late_write_of_ours_is_left_alone_and_ends_the_pass(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.given_at(3)
    first = scene.patches(ONE)[0]
    scene.after(DAY)
    scene.stands("promoted")
    scene.sandbox.edit(ONE, **first)
    apply = scene.app.driver.protocol.apply

    def meet(*args: Any) -> Any:
        scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
        return apply(*args)

    monkeypatch.setattr(scene.app.driver.protocol, "apply", meet)
    scene.scan()
    scene.stands("promoted")
    assert scene.live(ONE) == FOREIGN
    (target,) = scene.rollout.targets
    assert str(target.state) == "drifted"


def test_after_rolled_back_a_foreign_edit_is_left_alone(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.sandbox.edit(ONE, inbound_agents=FOREIGN)
    scene.scan()
    scene.stands("rolled_back")
    assert str(scene.rollout.targets[0].state) == "foreign"
    assert scene.live(ONE) == FOREIGN


def test_after_seven_days_nobody_looks_any_more(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.after(7 * DAY - 1)
    scene.sandbox.clear_log()
    scene.scan()
    assert len(scene.sandbox.log()) == 1
    scene.after(1)
    scene.scan()
    assert len(scene.sandbox.log()) == 1


# ------------------------------------------------------------------ If-Match


@pytest.fixture
def conditional(sqlite_url: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The product beside a Retell that shows an ETag, and honours or ignores If-Match."""
    with Scene(sqlite_url, preconditions=request.param) as made:
        yield made


def _meeting(scene: Scene, monkeypatch: pytest.MonkeyPatch, **edit: Any) -> None:
    """Somebody edits the number between our next intent and its PATCH."""
    send = scene.app.driver.protocol._send

    def meet(*args: Any) -> Any:
        monkeypatch.undo()
        scene.sandbox.edit(ONE, **edit)
        return send(*args)

    monkeypatch.setattr(scene.app.driver.protocol, "_send", meet)


def _meeting_at_the_first_step(scene: Scene, monkeypatch: pytest.MonkeyPatch, **edit: Any) -> None:
    scene.given()
    _meeting(scene, monkeypatch, **edit)
    scene.drive()


@pytest.mark.parametrize("conditional", ["honoured"], indirect=True)
def test_an_edit_between_our_reading_and_our_write_is_drift_and_not_written_over(
    conditional: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = conditional
    _meeting_at_the_first_step(scene, monkeypatch, inbound_agents=FOREIGN)
    scene.stands("held", 1, "drift")
    assert scene.live(ONE) == FOREIGN
    assert scene.rollout.unresolved == ()
    (settled,) = [e for e in scene.app.store.history(scene.id) if e.kind == "settled"]
    assert settled.data["outcomes"][ONE]["outcome"] == "changed"
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.1


@pytest.mark.parametrize("conditional", ["honoured"], indirect=True)
def test_an_edit_of_another_field_between_our_reading_and_our_write_holds_nothing_up(
    conditional: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = conditional
    _meeting_at_the_first_step(scene, monkeypatch, nickname="Night desk")
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    assert [e["status"] for e in scene.sandbox.log(number=ONE, method=PATCH)] == [412, 200]


@pytest.mark.parametrize("conditional", ["ignored"], indirect=True)
def test_where_if_match_is_ignored_an_edit_between_our_reading_and_our_write_is_written_over(
    conditional: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = conditional
    _meeting_at_the_first_step(scene, monkeypatch, inbound_agents=FOREIGN)
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1


@pytest.mark.parametrize("conditional", ["honoured"], indirect=True)
def test_a_rollback_has_no_condition(conditional: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = conditional
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    _meeting(scene, monkeypatch, inbound_agents=FOREIGN)
    scene.drive()
    assert scene.live(ONE) == [entry(6)]
    assert [e["status"] for e in scene.sandbox.log(number=ONE, method=PATCH)] == [200, 200]
