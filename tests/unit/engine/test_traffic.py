"""The traffic of a plan's numbers: a bounded read of Retell's list, and a fair estimate from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.calls import CallRecord
from rollout.domain.errors import NotReachable
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.preflight import Preflight
from rollout.engine.traffic import HISTORY, MOST_CALLS, Traffic, calls_per_day, traffic
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, plan, target


@dataclass
class Listed:
    """Implements rollout.engine.ports.Calls: each number takes so many calls a day."""

    per_day: dict[str, float]
    given: dict[str, int] = field(default_factory=dict)

    def since(
        self, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
    ) -> Iterator[CallRecord | Failure]:
        assert agents == ((AGENT, 6),)
        self.given[number] = 0
        every = timedelta(days=1) / self.per_day[number]
        at = since + every / 2
        while at < START:
            self.given[number] += 1
            yield CallRecord(
                f"{number}{at}", AGENT, 6, number, channel, at, at, "ended", successful=True, analyzed=True
            )
            at += every


def found(*numbers: str) -> Preflight:
    return Preflight(plan(numbers, gates=None), targets=tuple(target(n) for n in numbers))


@pytest.mark.parametrize("per_day", [20, 5_000])
def test_a_week_is_counted_and_more_than_is_read_is_estimated(per_day: float) -> None:
    calls = Listed({ONE: per_day})
    seen = traffic(found(ONE), calls, START)
    assert seen.calls_per_day == pytest.approx(per_day, rel=0.01)
    assert calls.given[ONE] == min(MOST_CALLS, per_day * HISTORY.days)
    assert seen.history.calls == calls.given[ONE]


def test_a_busy_number_leaves_the_quiet_one_its_share() -> None:
    calls = Listed({ONE: 5_000, TWO: 20})
    seen = traffic(found(ONE, TWO), calls, START)
    assert seen.calls_per_day == pytest.approx(5_020, rel=0.01)
    assert calls.given == {ONE: MOST_CALLS // 2, TWO: 140}


def test_hardly_any_calls_are_none_and_the_month_is_read_for_the_rates() -> None:
    calls = Listed({ONE: 0.5})
    seen = traffic(found(ONE), calls, START)
    assert seen.calls_per_day is None
    assert calls.given[ONE] == 15


def test_more_calls_than_are_read_in_the_first_moment_are_a_minutes() -> None:
    class AtOnce(Listed):
        def since(self, *asked: Any) -> Iterator[CallRecord]:
            at = asked[3]
            for i in range(MOST_CALLS + 1):
                yield CallRecord(f"{i}", AGENT, 6, ONE, "inbound", at, at, "ended", successful=True, analyzed=True)

    assert traffic(found(ONE), AtOnce({}), START).calls_per_day == MOST_CALLS * 24 * 60


@pytest.mark.parametrize(("per_week", "per_day"), [(7, 1.0), (6, None)])
def test_a_call_a_day_is_traffic_and_less_is_hardly_any(per_week: int, per_day: float | None) -> None:
    for gates in (None, []):
        of = Preflight(plan([ONE], gates=gates), targets=(target(ONE),))
        assert traffic(of, Listed({ONE: per_week / 7}), START).calls_per_day == pytest.approx(per_day)


def test_of_many_numbers_some_are_asked_and_stand_for_all() -> None:
    numbers = [f"+1415777{i:04}" for i in range(50)]
    calls = Listed(dict.fromkeys(numbers, 10.0))
    assert traffic(found(*numbers), calls, START).calls_per_day == pytest.approx(500)
    assert sorted(calls.given) == numbers[:25]


@pytest.mark.parametrize(("per_day", "days"), [(15, 7), (14, 30)])
def test_a_month_is_read_where_a_week_has_fewer_than_a_hundred_judged_calls(per_day: float, days: int) -> None:
    calls = Listed({ONE: per_day})
    seen = traffic(found(ONE), calls, START)
    assert seen.history.calls == calls.given[ONE] == per_day * days


def test_without_a_number_or_a_gate_there_is_nothing_to_know() -> None:
    assert traffic(Preflight(plan(gates=None)), Listed({}), START) == Traffic(None, BaselineHistory())
    ungated = Preflight(plan([ONE]), targets=(target(ONE),))
    assert traffic(ungated, Listed({ONE: 20}), START) == Traffic(pytest.approx(20), BaselineHistory())
    assert calls_per_day(found(ONE), Listed({ONE: 0.5}), START) == 0.0


def test_a_list_that_cannot_be_read_is_said() -> None:
    class Broken(Listed):
        def since(self, *_asked: object) -> Iterator[CallRecord | Failure]:
            yield Failure(Trouble.UNREACHABLE, "no answer")

    with pytest.raises(NotReachable, match="no answer"):
        traffic(found(ONE), Broken({}), START)
