"""Weights that a person set: what decide makes of them until the plan goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.decide.actions import Apply, Read, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.failures import hold, in_force
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Event, HeldReason
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.drift import NumberScan, absorb
from rollout.domain.writes.protocol import Finding, wanted_lists
from tests.support.clock import START
from tests.support.values import ONE, TWO, confirmed, plan, rollout, said, target

NOW = START + timedelta(hours=1)


def by_hand(step: int = 2, **changes: Any) -> Rollout:
    """Set to 0.3 by a person at this step, the second of their splits; nothing of it written yet."""
    splits = [
        {"number": 1, "wave": 1, "step": 1, "weights": {"canary": 4000}},
        {"number": 2, "wave": 1, "step": step, "weights": {"canary": 3000}},
    ]
    values = {"position": Position(1, step), "targets": (confirmed(step=step),), "by_hand": splits, "hand_split": 2}
    return rollout(**{**values, **changes})


def there(step: int = 2, **changes: Any) -> Rollout:
    """The same, read back at NOW."""
    r = by_hand(step)
    split = wanted_lists(r, r.targets[0])
    return replace(r, **{"targets": (replace(confirmed(), step=5, split=split),), "confirmed_at": NOW, **changes})


def seen(at: datetime, *numbers: str) -> Facts:
    return Facts(look=NumberScan(at, dict.fromkeys(numbers or (ONE,), Finding.AS_EXPECTED), Change()))


def first_split() -> Any:
    r = by_hand(hand_split=1)
    return wanted_lists(r, r.targets[0])


def test_what_a_person_set_is_written() -> None:
    action = decide(by_hand(), Facts(), NOW)
    assert isinstance(action, Apply)
    assert [t.number for t in action.targets] == [ONE]
    assert action.why == "set by a person at 1.2: 30 % canary"


def test_its_read_back_is_recorded_and_the_hold_of_the_step_starts_anew() -> None:
    action = decide(there(confirmed_at=None), Facts(), NOW)
    assert isinstance(action, Record)
    assert (action.event, action.why) == (Event.CONFIRMED, "30 % canary on 1 number, read back")
    waits = decide(there(), Facts(), NOW + timedelta(minutes=1))
    assert isinstance(waits, Wait)
    assert (waits.until, waits.waiting_for) == (NOW + timedelta(hours=2), WaitingFor.HOLD)


def test_then_the_plan_goes_on_with_its_next_step() -> None:
    later = NOW + timedelta(hours=2)
    assert isinstance(decide(there(), Facts(), later), Read)
    action = decide(there(), seen(later), later)
    assert isinstance(action, Record)
    assert (action.event, action.values["step"], action.values["hand_split"]) == (Event.ADVANCED, 3, None)


def test_in_the_last_step_a_person_says_how_it_ends() -> None:
    later = NOW + timedelta(days=2)
    waits = decide(there(3), seen(later), later)
    assert isinstance(waits, Wait)
    assert waits.waiting_for is WaitingFor.APPROVAL
    assert waits.why == "a person set 30 % canary in the last step: somebody must promote, ship, stop or roll it back"
    ends = decide(there(3, promote_asked=True), seen(later), later)
    assert isinstance(ends, Record)
    assert ends.event is Event.COMPLETED


def test_a_later_wave_goes_on_from_the_plan() -> None:
    later = NOW + timedelta(days=2)
    r = there(3, targets=(*there(3).targets, target(TWO, ord=1, wave=2)))
    action = decide(r, seen(later, ONE, TWO), later)
    assert isinstance(action, Record)
    assert (action.values["wave"], action.values["step"]) == (2, 1)
    moved = Change(rollout=action.values).applied_to(r, later)
    assert [t.number for t in moved.outstanding] == [ONE, TWO], "the first wave goes to the plan's last step"


def test_drift_before_the_first_write_is_answered_at_what_was_in_force() -> None:
    assert hold(by_hand(), HeldReason.DRIFT, "").values["hand_split"] is None
    assert in_force(by_hand(1, targets=(replace(confirmed(), step=4, split=first_split()),))) == (Position(1, 1), 1)
    promoted = replace(there(), position=Position(1, 3), hand_split=None, confirmed_at=None)
    assert in_force(promoted) == (Position(1, 2), 2)
    values = hold(promoted, HeldReason.DRIFT, "").values
    assert (values["wave"], values["step"], values["hand_split"]) == (1, 2, 2)
    assert "hand_split" not in hold(there(), HeldReason.DRIFT, "").values


def test_a_late_write_of_an_earlier_split_by_hand_is_ours() -> None:
    found = absorb(there(), {ONE: Reading(ONE, first_split(), 2_000, "digest")}, NOW, NOW)
    assert found.findings == {ONE: Finding.LATE_OWN}


def test_the_weights_in_force_are_those_of_the_numbers_furthest_behind() -> None:
    assert there().weights == {"canary": 3000}
    assert by_hand().weights == {"canary": 5000}
    half = (confirmed(step=2), replace(confirmed(TWO, ord=1), step=5))
    assert by_hand(targets=half).weights == {"canary": 5000}
    assert by_hand(hand_split=None, targets=half).weights == {"canary": 3000}, "on its way to the plan's step"


def test_closing_time_takes_down_what_a_person_set_above_the_retreat_weight() -> None:
    hours = {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}
    assert not there(1, plan=plan(**hours, closing={"retreat": 0.35})).retreats
    r = there(1, plan=plan(**hours, closing={"retreat": 0.2}), retreated=2000)
    assert r.retreats
    assert r.wanted(r.targets[0]) == (5, 2000)
    assert wanted_lists(r, r.targets[0])["inbound_agents"][0]["weight"] == 0.2


# ------------------------------------------------------------------ shipped


def shipping(**changes: Any) -> Rollout:
    """Shipped from 1.1, on two waves of which the second was not begun; nothing of it written yet."""
    splits = [{"number": 1, "wave": 2, "step": 3, "weights": {"canary": 10_000}, "ships": "canary"}]
    targets = (confirmed(), target(TWO, ord=1, wave=2))
    values = {"position": Position(2, 3), "targets": targets, "by_hand": splits, "hand_split": 1}
    return rollout(**{**values, **changes})


def shipped(**changes: Any) -> Rollout:
    r = shipping()
    written = [(confirmed(t.number, ord=t.ord, wave=t.wave), wanted_lists(r, t)) for t in r.targets]
    targets = tuple(replace(t, step=4, split=split) for t, split in written)
    return shipping(**{"targets": targets, "confirmed_at": NOW, **changes})


def test_what_is_shipped_is_written_to_every_number_of_every_wave() -> None:
    action = decide(shipping(), Facts(), NOW)
    assert isinstance(action, Apply)
    assert ([t.number for t in action.targets], action.why) == ([ONE, TWO], "ship canary: 100 % canary")


def test_what_is_shipped_bakes_like_the_last_step_and_is_promoted_without_an_approval() -> None:
    waits = decide(shipped(), Facts(), NOW + timedelta(hours=23))
    assert isinstance(waits, Wait)
    assert (waits.waiting_for, waits.until) == (WaitingFor.HOLD, NOW + timedelta(days=1))
    asks = plan(steps=[{"weight": 0.1}, {"weight": 0.5}, {"weight": 1.0, "hold": "1d", "approve": True}])
    later = NOW + timedelta(days=1)
    ends = decide(shipped(plan=asks), seen(later, ONE, TWO), later)
    assert isinstance(ends, Record)
    assert (ends.event, ends.why) == (Event.COMPLETED, "canary is shipped: the bake is over")


def test_what_is_shipped_is_judged_like_the_last_step() -> None:
    failed = decide(shipped(), Facts(verdict=said("fail", "too many calls break")), NOW)
    assert isinstance(failed, Record)
    assert failed.event is Event.FAILED


def test_drift_before_a_shipped_split_is_written_leads_back_to_what_was_in_force() -> None:
    values = hold(shipping(), HeldReason.DRIFT, "").values
    assert (values["wave"], values["step"], values["hand_split"]) == (1, 1, None)
    half = shipping(targets=(shipped().targets[0], target(TWO, ord=1, wave=2)))
    assert "hand_split" not in hold(half, HeldReason.DRIFT, "").values, "it was begun: restore writes it to the rest"


def test_drift_while_a_whole_wave_shows_what_is_shipped_keeps_it() -> None:
    half = shipping(targets=(shipped().targets[0], target(TWO, ord=1, wave=2)))
    assert in_force(half) == (Position(2, 3), 1)
