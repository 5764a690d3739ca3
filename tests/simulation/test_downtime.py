"""Clocks and time away: a wall clock that is set makes no step early, and no hold longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from rollout.adapters.clock import SystemClock

from .scenario import Scenario

Make = Callable[..., Scenario]


class Machine:
    """A machine whose wall and boot clock the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.boot = datetime(2026, 3, 28, 23, 0, tzinfo=UTC), 1000.0
        machine = self

        class Wall:
            @staticmethod
            def now(_zone: object) -> datetime:
                return machine.wall

        monkeypatch.setattr("rollout.adapters.clock.datetime", Wall)
        monkeypatch.setattr("rollout.adapters.clock.time.clock_gettime", lambda _which: machine.boot)

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.boot += seconds


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_wall_clock_that_is_set_moves_no_time_of_ours(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    machine = Machine(monkeypatch)
    clock = SystemClock()
    began = clock.now()
    machine.wall += timedelta(hours=hours)
    assert clock.now() == began
    machine.passes(60)
    assert clock.now() - began == timedelta(seconds=60)


def test_a_replica_whose_clock_is_set_makes_no_step_early(scenario: Make) -> None:
    """Replicas that share a database go by its clock, whatever theirs say."""
    s = scenario(replicas=2)
    id_ = s.start((0.1, "1h"), (1.0, "0s"))
    s.until(lambda: s.rollout(id_).confirmed_at is not None)
    for jump in (7200, -86_400, 300):
        s.run(600)
        for replica in s.sim.replicas:
            replica.process.skew += jump
    s.until_phase(id_, "promoted", within=7200)
    assert s.at(id_, "advanced")[0] - s.at(id_, "confirmed")[0] >= 3600
    s.check()


@pytest.mark.parametrize("asleep", [3.0, 100.0, 3600.0])
def test_a_suspended_replica_sends_nothing_when_it_wakes(scenario: Make, asleep: float) -> None:
    """Stopped between its intent and its PATCH: another one takes over, and the late bytes go nowhere."""
    s = scenario(replicas=2)
    s.world.weather.gap = 1.0
    id_ = s.start((0.1, "10s"), (1.0, "10s"))
    s.until(lambda: bool(s.sim.file.one("SELECT 1 FROM writes")))
    s.world.weather.gap = 0.0
    process = next(t.process for t in s.world.tasks if t.claim is not None and not t.done)
    process.suspended_until = s.world.now + asleep
    s.until_phase(id_, "promoted", within=20_000)
    s.check()
