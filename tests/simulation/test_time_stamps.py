"""Time stamps that Retell gets wrong: none of them traps a rollback, and none lets a step over an edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollout.domain.writes.answers import Reading

from .scenario import NUMBER, Scenario
from .session import SimRetell
from .weather import Bounds

Make = Callable[..., Scenario]
HOUR, MONTH = 3_600_000, 30 * 86_400_000


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the next readings (or answers) that are let through show a time stamp so many milliseconds ahead."""

    def show(by: int, times: int = 1, skip: int = 0) -> None:
        left = {"skip": skip, "times": times}

        def stamped(self: SimRetell, found: Reading) -> Reading:
            if left["skip"]:
                left["skip"] -= 1
                return found
            if not left["times"]:
                return found
            left["times"] -= 1
            return replace(found, modified=found.modified + by)

        monkeypatch.setattr(SimRetell, "stamped", stamped)

    return show


def rolling(scenario: Make, **how: Any) -> tuple[Scenario, str]:
    s = scenario(**how)
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    return s, id_


@pytest.mark.parametrize("by", [HOUR, MONTH], ids=["an-hour", "a-month"])
@pytest.mark.parametrize("skip", range(5))
@pytest.mark.parametrize("staleness", [0.0, 5.0])
def test_a_stamp_far_ahead_in_any_answer_or_reading_does_not_trap_a_rollback(
    scenario: Make, ahead: Callable[..., None], by: int, skip: int, staleness: float
) -> None:
    s, id_ = rolling(scenario, bounds=Bounds(staleness=staleness))
    ahead(by, skip=skip)
    s.command("rollback", id_)
    s.until_phase(id_, "rolled_back", within=300)
    assert s.weight() == 0
    s.check()


@pytest.mark.parametrize("by", [HOUR, MONTH], ids=["an-hour", "a-month"])
def test_a_stamp_far_ahead_at_the_step_before_does_not_trap_a_rollback(
    scenario: Make, ahead: Callable[..., None], by: int
) -> None:
    s = scenario()
    ahead(by, times=2, skip=2)
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until(lambda: bool(s.remote.messages) and s.remote.messages[-1].applied_at is not None)
    s.run(30)
    s.command("rollback", id_)
    s.until_phase(id_, "rolled_back", within=300)
    assert s.weight() == 0
    s.check()


def test_retells_clock_that_goes_back_does_not_trap_a_rollback(scenario: Make) -> None:
    s = scenario()
    s.world.weather.jumps = 1e-12
    s.remote.ahead = HOUR
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.remote.ahead = 0
    s.command("rollback", id_)
    s.until_phase(id_, "rolled_back", within=300)
    assert s.weight() == 0
    s.check()


def test_a_stop_in_a_hold_for_identity_comes_to_its_end(scenario: Make, ahead: Callable[..., None]) -> None:
    s = scenario()
    ahead(MONTH, times=2, skip=2)  # the answer and the read-back of the first step
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until_phase(id_, "held", within=1200)
    assert s.rollout(id_).reason == "identity"
    s.command("stop", id_)
    s.until_phase(id_, "stopped")


def test_a_person_who_restores_a_number_of_another_identity_writes_it_again(
    scenario: Make, ahead: Callable[..., None]
) -> None:
    s = scenario()
    ahead(MONTH, times=2, skip=2)  # the answer and the read-back of the first step
    id_ = s.start((0.1, "600s"), (1.0, "60s"))
    s.until_phase(id_, "held", within=1200)
    sent = len(s.remote.messages)
    s.command("restore", id_)
    s.until(lambda: len(s.remote.messages) > sent, within=60)
    s.until_phase(id_, "promoted")
    s.check()


def test_an_edit_with_an_older_stamp_is_not_written_over(scenario: Make) -> None:
    s = scenario()
    s.world.weather.jumps = 1e-12
    s.remote.ahead = HOUR
    id_ = s.start((0.1, "60s"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    s.remote.ahead = 0
    s.remote.edit(NUMBER, "foreign", "lists", lists=s.lists(0.33))
    s.until_phase(id_, "held", within=600)
    assert s.remote.numbers[NUMBER].live.author == "foreign"
    assert s.rollout(id_).position == (1, 1)
    s.check()


def test_an_edit_behind_a_wrong_stamp_is_seen_while_a_person_is_waited_for(
    scenario: Make, ahead: Callable[..., None]
) -> None:
    s = scenario()
    ahead(MONTH, times=2, skip=2)  # the answer and the read-back of the first step
    id_ = s.start((0.1, "2h"), (1.0, "60s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    sent = len(s.remote.messages)
    s.remote.edit(NUMBER, "foreign", "lists", lists=s.lists(0.33))
    s.until_phase(id_, "held", within=1200)  # the hold of two hours is not waited for
    assert s.rollout(id_).reason == "identity"
    assert len(s.remote.messages) == sent
    assert s.remote.numbers[NUMBER].live.author == "foreign"
    s.check()
