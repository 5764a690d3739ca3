"""The calls of a rollout counted for its gates: weights, positions, waves, strata, and what is waited for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.calls import CallRecord
from rollout.domain.gates.observations import Observations
from rollout.domain.gates.tally import Tally
from rollout.domain.gates.weight_events import WeightEvent
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.engine.gate_check import config_of
from rollout.engine.gate_tally import tally_of
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, plan, rollout

MINUTE = timedelta(minutes=1)
NOW = START + timedelta(hours=3)
GATED = plan(gates=None)


def call(minute: float, version: int, number: str = ONE, **changes: Any) -> CallRecord:
    at = START + minute * MINUTE
    values = {"status": "ended", "successful": True, "sentiment": "Neutral", "analyzed": True, **changes}
    return CallRecord(f"{number}{minute}", AGENT, version, number, "inbound", at, at + MINUTE, **values)


def turns(*positions: tuple[float, str]) -> tuple[WeightEvent, ...]:
    return tuple(
        WeightEvent.from_journal("confirmed", START + m * MINUTE, f'{{"position": "{position}"}}')
        for m, position in positions
    )


def tally(r: Rollout, calls: list[CallRecord], confirmations: Any, arm: str = "canary", **more: Any) -> Tally:
    config = config_of(r.plan)
    assert config is not None
    return tally_of(r, config, Observations(calls, confirmations, {}, None), NOW, arm, **more)


def judged(of: Any = GATED, *numbers: str, **changes: Any) -> Rollout:
    targets = tuple(confirmed(n, of=of, ord=i, wave=1 + i if of.waves else 1) for i, n in enumerate(numbers or (ONE,)))
    return rollout(**{"plan": of, "targets": targets, "confirmed_at": START, **changes})


def test_calls_are_counted_by_the_weight_under_which_they_came() -> None:
    calls = [call(1, 7), call(2, 6), call(3, 6), call(61, 7, successful=False), call(62, 6), call(-5, 6)]
    found = tally(judged(position=Position(1, 2)), calls, turns((0, "1.1"), (60, "1.2")))
    assert [(c.weight, c.position, c.started) for c in found.cells] == [(0.1, 1, (1, 2)), (0.5, 2, (1, 1))]
    assert found.cells[1].counts["success"] == (1, 0, 0, 1)
    assert (found.position, found.step, found.weight, found.wave) == (2, 2, 0.5, 1)
    assert found.unavailable is None
    assert found.external == {}


@pytest.mark.parametrize(
    ("position", "narrow", "last"), [((1, 1), False, False), ((1, 2), True, False), ((1, 3), False, True)]
)
def test_the_step_before_weight_1_and_the_last_position_are_known(
    position: tuple[int, int], narrow: bool, last: bool
) -> None:
    found = tally(judged(position=Position(*position)), [], ())
    assert (found.narrow, found.last) == (narrow, last)


def test_the_first_step_of_a_later_wave_follows_the_last_of_the_one_before() -> None:
    of = plan([ONE, TWO], gates=None, waves=[1, "100%"])
    r = judged(of, ONE, TWO, position=Position(2, 1))
    calls = [call(1, 7), call(71, 7, TWO), call(72, 6, TWO), call(73, 7)]
    found = tally(r, calls, turns((0, "1.3"), (70, "2.1")))
    assert (found.position, found.wave, found.last) == (4, 2, False)
    assert [(c.wave, c.position, c.weight, c.started) for c in found.cells] == [
        (1, 3, 1.0, (1, 0)),
        (1, 4, 1.0, (1, 0)),
        (2, 4, 0.1, (1, 1)),
    ]
    assert tally(replace(r, position=Position(2, 3)), [], ()).last


def test_a_weight_that_a_person_set_is_that_of_the_step() -> None:
    split = HandSplit(1, 1, 1, {"canary": 2_500})
    found = tally(judged(by_hand=(split.to_json(),), hand_split=1), [], ())
    assert (found.weight, found.position) == (0.25, 1.001)
    nearly_all = HandSplit(1, 1, 1, {"canary": 10_000})
    assert tally(judged(by_hand=(nearly_all.to_json(),), hand_split=1), [], ()).weight == 1.0


def test_calls_without_a_result_are_waited_for_by_the_wave_that_has_most() -> None:
    of = plan([ONE, TWO], gates=None, waves=[1, "100%"])
    r = judged(of, ONE, TWO, position=Position(2, 1))
    late: dict[str, Any] = {"analyzed": False, "successful": None, "sentiment": None}
    calls = [call(150 + i, 7, **late) for i in range(3)] + [call(160 + i, 7, TWO, **late) for i in range(2)]
    assert tally(r, calls, turns((0, "1.1"), (100, "2.1"))).open == 3
    assert tally(r, [], turns((0, "1.1"))).open == 0


def test_calls_a_day_are_those_of_the_wave_under_way() -> None:
    of = plan([ONE, TWO], gates=None, waves=[1, "100%"])
    calls = [call(0, 7), call(60, 6), *(call(m, 6, TWO) for m in (0, 10, 20, 30))]
    r = judged(of, ONE, TWO)
    assert tally(r, calls, ()).calls_per_day == 16
    assert tally(replace(r, position=Position(2, 1)), calls, ()).calls_per_day == 32


def test_calls_are_told_apart_by_number_or_by_the_time_of_day_where_there_is_one() -> None:
    calls = [call(1, 7), call(2, 6)]
    alone = tally(judged(), calls, turns((0, "1.1")))
    assert len(alone.strata) == 4
    assert sum(canary + other for _, by in alone.strata for _, canary, other in by) == 2
    of = plan([ONE, TWO], gates=None)
    both = tally(judged(of, ONE, TWO), [*calls, call(3, 7, TWO)], turns((0, "1.1")))
    assert both.strata == ((ONE, ((0.1, 1, 1),)), (TWO, ((0.1, 1, 0),)))


VARIANTS = plan(
    canary=None,
    variants={n: {"agent_id": AGENT, "agent_version": v} for n, v in (("b", 7), ("c", 8))},
    steps=[{"weights": {"b": 0.1, "c": 0.3}, "hold": "1h"}, {"weights": {"b": 0.5, "c": 0.25}, "hold": "1h"}],
    gates=None,
)


def test_a_variant_is_counted_beside_the_baseline_or_beside_another() -> None:
    calls = [*(call(i, 7) for i in (1, 2)), *(call(i, 8) for i in (3, 4, 5)), call(6, 6)]
    r = judged(VARIANTS, position=Position(1, 2))
    beside = tally(r, calls, turns((0, "1.2")), "b")
    assert (beside.weight, beside.cells[0].started, beside.cells[0].weight) == (2 / 3, (2, 1), 2 / 3)
    against = tally(r, calls, turns((0, "1.2")), "b", against="c")
    assert (against.weight, against.cells[0].started, against.cells[0].weight) == (2 / 3, (2, 3), 2 / 3)
    first = tally(judged(VARIANTS), calls, turns((0, "1.1")), "c", against="b")
    assert (first.weight, first.cells[0].started) == (0.75, (3, 2))
