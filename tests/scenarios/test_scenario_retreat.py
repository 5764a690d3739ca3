"""Plans that retreat at closing time: down at closing, up at opening, and nothing that a person or a gate waits for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.drift import Drift
from rollout.adapters.store.audit import audit
from rollout.domain.errors import Refused
from rollout.domain.lifecycle.state import Position
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.backend.plan_text import PlanText
from rollout.interfaces.views import rollout
from tests.support.scene import ME, Scene
from tests.support.values import ONE, TWO, entry, plan, said

HOURS: dict[str, Any] = {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}], "closing": {"retreat": 0.05}}
STEPS: dict[str, Any] = {
    "steps": [{"weight": 0.1, "hold": "2h"}, {"weight": 0.5, "hold": "10h"}, {"weight": 1.0, "hold": "12h"}]
}
PLAN = HOURS | STEPS


def at(scene: Scene, clock: str, days: int = 0) -> None:
    """Plays until the clock on the wall (UTC) shows this, the same day or `days` later."""
    now = scene.app.store.now()
    hour, minute = (int(part) for part in clock.split(":"))
    then = (now + timedelta(days=days)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    assert then >= now
    scene.after((then - now).total_seconds())


def morning(scene: Scene) -> None:
    """Goes to the next 10:00 UTC without anything being driven."""
    now = scene.app.store.now()
    then = now.replace(hour=10, minute=0, second=0, microsecond=0)
    scene.clock.to(then if then >= now else then + timedelta(days=1))


def at_two(scene: Scene, **more: Any) -> None:
    """Step 2 (0.5 for 10 h) is confirmed at 12:00, four hours after the first."""
    morning(scene)
    scene.given(**(PLAN | more))
    scene.drive()
    at(scene, "12:00")
    scene.stands("progressing", step=2)
    assert scene.rollout.confirmed_at == scene.app.store.now()


def whole(scene: Scene) -> None:
    """The journal's chain verifies and gives the very tables."""
    assert audit(scene.app.store.database)[0] == []


def test_down_at_closing_up_at_opening_and_the_hold_goes_on(scene: Scene) -> None:
    at_two(scene)
    at(scene, "16:59")
    assert scene.weight(ONE) == 0.5
    at(scene, "17:00")
    assert scene.weight(ONE) == 0.05
    assert scene.weight(ONE, 6) == 0.95
    scene.stands("progressing", step=2)
    assert scene.rollout.why == ("retreated to 5 % until Wed 09:00 (outside the plan's hours); daily 09:00-17:00 UTC")
    at(scene, "08:59", days=1)
    assert scene.weight(ONE) == 0.05
    at(scene, "09:00")
    assert scene.weight(ONE) == 0.5
    at(scene, "13:59")  # five of ten hours were stood the day before
    scene.stands("progressing", step=2)
    at(scene, "14:00")
    scene.stands("progressing", step=3)
    assert scene.weight(ONE) == 1
    assert scene.journal({"confirmed", "advanced", "retreated", "returned", "reached"}) == [
        "confirmed",
        "advanced",
        "confirmed",
        "retreated",
        "reached",
        "returned",
        "reached",
        "advanced",
        "confirmed",
    ]
    whole(scene)


def test_the_bake_ends_at_full_weight_and_not_while_it_is_down(scene: Scene) -> None:
    at_two(scene)
    at(scene, "14:00", days=1)
    scene.stands("progressing", step=3)
    at(scene, "10:00", days=1)  # three hours, a night, and then nine more are needed
    scene.stands("progressing", step=3)
    at(scene, "17:00")
    scene.stands("progressing", step=3)
    assert scene.weight(ONE) == 0.05
    at(scene, "09:59", days=1)
    scene.stands("progressing", step=3)
    at(scene, "10:00")
    scene.stands("promoted")
    assert scene.weight(ONE) == 1
    at(scene, "18:00")
    Drift(scene.app).tick()
    scene.drive()
    assert scene.weight(ONE) == 1, "nothing retreats after the end"
    whole(scene)


def test_a_step_at_or_below_the_retreat_weight_is_left_alone(scene: Scene) -> None:
    morning(scene)
    scene.given(**HOURS, steps=[{"weight": 0.05, "hold": "20h"}, {"weight": 1.0, "hold": "1h"}])
    scene.drive()
    at(scene, "08:00", days=1)
    assert len(scene.patches()) == 1
    at(scene, "09:00")
    scene.stands("progressing", step=2)


def test_each_number_by_its_own_step(scene: Scene) -> None:
    """The first wave stands at the last step and retreats; the second at its first, which is low enough."""
    morning(scene)
    scene.given(
        numbers=[ONE, TWO], waves=[1], **HOURS, steps=[{"weight": 0.05, "hold": "1h"}, {"weight": 1.0, "hold": "1h"}]
    )
    scene.drive()
    at(scene, "11:00")
    at(scene, "12:00")
    assert (scene.weight(ONE), scene.weight(TWO)) == (1, 0.05)
    scene.app.commands.pause(scene.id, ME)
    at(scene, "16:00")
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    assert (scene.weight(ONE), scene.weight(TWO)) == (1, 1)
    at(scene, "17:00")  # its hold ends in the minute of closing: the end comes with the opening
    assert (scene.weight(ONE), scene.weight(TWO)) == (0.05, 0.05)
    at(scene, "09:00", days=1)
    scene.stands("promoted")
    assert (scene.weight(ONE), scene.weight(TWO)) == (1, 1)


def test_the_wave_before_retreats_and_the_one_under_way_stays(scene: Scene) -> None:
    morning(scene)
    scene.given(
        numbers=[ONE, TWO], waves=[1], **HOURS, steps=[{"weight": 0.05, "hold": "4h"}, {"weight": 1.0, "hold": "2h"}]
    )
    scene.drive()
    at(scene, "16:30")
    assert (scene.weight(ONE), scene.weight(TWO)) == (1, 0.05)
    at(scene, "18:00")
    assert (scene.weight(ONE), scene.weight(TWO)) == (0.05, 0.05)
    assert len(scene.patches(TWO)) == 1
    at(scene, "09:00", days=1)
    assert (scene.weight(ONE), scene.weight(TWO)) == (1, 0.05)
    at(scene, "11:59")
    assert scene.rollout.position == Position(2, 1)
    at(scene, "12:00")
    assert scene.rollout.position == Position(2, 2)
    whole(scene)


# ------------------------------------------------------------------ what goes before it


def test_a_rollback_at_night_goes_to_the_baseline(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    assert scene.live(ONE) == [entry(6)]
    at(scene, "10:00", days=1)
    scene.stands("rolled_back")
    assert scene.live(ONE) == [entry(6)]
    assert scene.rollout.targets[0].retreated is None
    whole(scene)


def test_a_failing_gate_goes_before_closing_and_before_opening(scene: Scene) -> None:
    at_two(scene)
    scene.gates.verdict = said("undecided")
    at(scene, "20:00")
    assert scene.weight(ONE) == 0.05
    scene.gates.verdict = said("fail")
    at(scene, "20:31")
    assert scene.live(ONE) == [entry(6)]
    whole(scene)


def test_paused_at_closing_time_the_weight_stays(scene: Scene) -> None:
    at_two(scene)
    scene.app.commands.pause(scene.id, ME)
    at(scene, "20:00")
    assert scene.weight(ONE) == 0.5
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.05
    at(scene, "09:00", days=1)
    assert scene.weight(ONE) == 0.5
    at(scene, "11:00")  # eight hours until it was resumed, and two more
    scene.stands("progressing", step=3)


def test_paused_at_night_it_stays_down_and_says_so(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.app.commands.pause(scene.id, ME)
    scene.drive()
    at(scene, "10:00", days=1)
    assert scene.weight(ONE) == 0.05
    assert "it stays at the retreat weight, 5 %" in scene.rollout.why
    assert rollout.show(scene.rollout)["retreated"] == rollout.show(scene.rollout)["weight"] == 0.05
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.5
    whole(scene)


def test_stopped_at_night_the_split_stays_as_it_is(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.app.commands.stop(scene.id, ME)
    at(scene, "10:00", days=1)
    scene.stands("stopped")
    assert scene.weight(ONE) == 0.05
    assert rollout.show(scene.rollout)["weight"] == 0.05


def test_a_person_who_promotes_at_night_is_not_delayed_and_not_turned_back(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    scene.stands("progressing", step=3)
    assert scene.weight(ONE) == 1
    at(scene, "08:00", days=1)
    assert scene.weight(ONE) == 1, "not before the next closing"
    at(scene, "09:00")
    scene.stands("promoted")  # twelve hours were stood at full weight, and promoted waits for the opening
    whole(scene)


def test_a_person_who_promotes_at_night_is_retreated_the_next_evening(scene: Scene) -> None:
    at_two(scene, steps=[*STEPS["steps"][:2], {"weight": 1.0, "hold": "30h"}])
    at(scene, "20:00")
    scene.app.commands.promote(scene.id, ME)
    at(scene, "16:59", days=1)
    assert scene.weight(ONE) == 1
    at(scene, "17:00")
    assert scene.weight(ONE) == 0.05


def test_a_person_ends_the_bake_at_night(scene: Scene) -> None:
    at_two(scene)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    at(scene, "20:00")
    assert scene.weight(ONE) == 0.05
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    scene.stands("promoted")
    assert scene.weight(ONE) == 1
    whole(scene)


def test_closed_before_a_step_was_confirmed(scene: Scene) -> None:
    """What was not written in time waits for the opening; a person may have it written at once."""
    at_two(scene)
    at(scene, "16:00")
    scene.sandbox.fault("status", status=503, method="PATCH", times=None)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    assert scene.rollout.confirmed_at is None
    scene.clock.advance(2 * 3600)
    scene.sandbox.clear_faults()
    scene.drive()
    at(scene, "20:00")
    assert scene.weight(ONE) == 0.05
    assert scene.rollout.confirmed_at is None
    assert scene.rollout.next.startswith("step 1.3")
    scene.app.commands.promote(scene.id, ME, expect=Position(1, 3))
    scene.drive()
    assert scene.weight(ONE) == 1
    assert scene.rollout.confirmed_at is not None
    scene.stands("progressing", step=3)
    whole(scene)


# ------------------------------------------------------------------ crashes, downtime, other hands


def test_down_over_closing_and_over_opening(scene: Scene) -> None:
    at_two(scene)
    scene.clock.advance(8 * 3600)  # nobody was there at 17:00; it is 20:00
    scene.restart()
    scene.drive()
    assert scene.weight(ONE) == 0.05
    assert scene.rollout.stood == 8 * 3600, "until then it stood at its own weight"
    scene.clock.advance(15 * 3600)  # nor at 09:00; it is 11:00
    scene.restart()
    scene.drive()
    assert scene.weight(ONE) == 0.5
    at(scene, "12:59")
    scene.stands("progressing", step=2)
    at(scene, "13:00")
    scene.stands("progressing", step=3)
    whole(scene)


def test_down_for_a_whole_night_nothing_is_written(scene: Scene) -> None:
    at_two(scene)
    before = len(scene.patches())
    scene.clock.advance(24 * 3600)
    scene.restart()
    scene.drive()
    assert len(scene.patches()) == before + 1, "only the next step: its hold was stood"
    scene.stands("progressing", step=3)


@pytest.mark.parametrize("kind", ["retreated", "intended", "settled"])
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_crash_in_the_middle_goes_on(scene: Scene, kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_two(scene, numbers=[ONE, TWO])
    if way == "up":
        at(scene, "20:00")
        at(scene, "08:59", days=1)
        scene.clock.advance(60)
        kind = "returned" if kind == "retreated" else kind
    else:
        at(scene, "16:59")
        scene.clock.advance(60)
    _crash_after(scene, kind, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        scene.drive()
    scene.restart()
    scene.clock.advance(400)
    scene.drive()
    wanted = 0.05 if way == "down" else 0.5
    assert (scene.weight(ONE), scene.weight(TWO)) == (wanted, wanted)
    scene.stands("progressing", step=2)
    whole(scene)


def _crash_after(scene: Scene, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commit: Callable[..., Any] = scene.app.store.commit

    def dies(held: Any, change: Any, entries: Any, *more: Any) -> Any:
        done = commit(held, change, entries, *more)
        if any(e.kind == kind for e in entries):
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(scene.app.store, "commit", dies)


def test_an_edit_at_night_is_drift_and_restore_writes_the_retreat(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.sandbox.edit(ONE, inbound_agents=[entry(6, 0.7), entry(5, 0.3)])
    scene.scan()
    scene.stands("held", reason="drift")
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.05
    at(scene, "09:00", days=1)
    assert scene.weight(ONE) == 0.5
    assert scene.rollout.confirmed_at == scene.app.store.now()
    whole(scene)


def test_an_edit_at_night_that_is_adopted_stays_until_the_opening(scene: Scene) -> None:
    at_two(scene)
    at(scene, "20:00")
    scene.sandbox.edit(ONE, inbound_agents=[entry(6, 0.7), entry(5, 0.3)])
    scene.scan()
    scene.app.commands.adopt(scene.id, ME)
    at(scene, "08:59", days=1)
    assert scene.weight(ONE, 5) == 0.3
    at(scene, "09:00")
    assert scene.weight(ONE) == 0.5
    whole(scene)


def test_a_shared_calendar_that_is_edited_reaches_it_within_minutes(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "calendars.toml"
    always = '[office]\nzone = "UTC"\nwindows = [{{from = "00:00", to = "{}"}}]\n'
    path.write_text(always.format("24:00"))
    with Scene(sqlite_url, calendars=path) as scene:
        scene.given(calendar="office", closing={"retreat": 0.05}, steps=[{"weight": 0.5, "hold": "3d"}])
        scene.drive()
        assert scene.weight(ONE) == 0.5
        now = scene.app.store.now()
        path.write_text(always.format(f"{now:%H:%M}"))
        scene.after(301)
        assert scene.weight(ONE) == 0.05
        path.write_text("this is not TOML")
        scene.after(600)
        assert scene.weight(ONE) == 0.05, "what cannot be read changes nothing"
        path.write_text(always.format("24:00") + "# open again\n")
        scene.after(301)
        assert scene.weight(ONE) == 0.5
        whole(scene)


# ------------------------------------------------------------------ what is said


def test_check_prints_the_body_of_closing_time_and_the_timetable(scene: Scene) -> None:
    morning(scene)
    text = json.dumps(plan(**PLAN).canonical())
    report = LocalBackend(scene.app).check(PlanText.read(text, "plan.json"))
    (request,) = report["requests"]
    at_two(scene)
    at(scene, "18:00")
    sent = [e["body"] for e in scene.sandbox.log(number=ONE, method="PATCH")]
    assert request["retreat"] == sent[-1]
    assert request["steps"][:2] == sent[:2]
    assert ", then 5 % from " in report["timetable"]


def test_show_says_what_remains_and_where_it_is(scene: Scene) -> None:
    at_two(scene)
    at(scene, "18:00")
    document = LocalBackend(scene.app).show(scene.id)
    assert document["weight"] == document["retreated"] == 0.05
    assert document["weights"] == {"canary": 0.05}
    assert document["timetable"].startswith("again 50 % ")
    assert "100 %" in document["timetable"]
    at(scene, "09:00", days=1)
    document = LocalBackend(scene.app).show(scene.id)
    assert (document["weight"], document["retreated"]) == (0.5, None)


def test_promoting_what_is_being_written_is_refused_as_ever(scene: Scene) -> None:
    at_two(scene)
    scene.sandbox.fault("status", status=503, method="PATCH", times=None)
    scene.app.commands.promote(scene.id, ME)
    with pytest.raises(Refused, match="still being written"):
        scene.app.commands.promote(scene.id, ME)


def test_a_retreat_weight_that_nothing_exceeds_is_warned_of(scene: Scene) -> None:
    found = scene.app.commands.check(plan(**(PLAN | {"closing": {"retreat": 1.0}})))
    assert [w for w in found.warnings if w.startswith("closing: ")]
