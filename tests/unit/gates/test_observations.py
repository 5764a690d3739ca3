"""What a look rests on: which weight stood when, which calls belong to the step, how many come in a day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.calls import CallRecord
from rollout.domain.gates.counting import WeightSpan
from rollout.domain.gates.observations import Observations, baseline_pairs, position_index, share
from rollout.domain.gates.weight_events import WeightEvent
from rollout.domain.lifecycle.state import Position
from tests.support import retreating
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, entry, plan, rollout, target

MINUTE = timedelta(minutes=1)
STEPS = [{"weight": 0.1, "hold": "30m"}, {"weight": 0.5, "hold": "2h"}, {"weight": 1.0, "hold": "1d"}]
TWO_WAVES = plan([ONE, TWO], steps=STEPS, waves=[1])


def at(minutes: float) -> datetime:
    return START + minutes * MINUTE


def turn(kind: str, minutes: float, **data: Any) -> WeightEvent:
    return WeightEvent.from_journal(kind, at(minutes), json.dumps(data))


def seen(*turns: WeightEvent, calls: tuple[CallRecord, ...] = ()) -> Observations:
    return Observations(calls, turns, {}, None)


def call(minutes: float | None, version: int = 7, agent: str = AGENT, analyzed: datetime | None = None) -> CallRecord:
    began = None if minutes is None else at(minutes)
    return CallRecord(
        f"call_{minutes}_{version}", agent, version, ONE, "inbound", began, None, "ended", analyzed_at=analyzed
    )


# ------------------------------------------------------------------ which weight stood when


def test_a_weight_stands_from_its_confirmation_to_the_next_turn() -> None:
    found = seen(
        turn("confirmed", 0, position="1.1"),
        turn("advanced", 30),
        turn("confirmed", 31, position="1.2"),
        turn("failed", 40),
    )
    assert found.spans(TWO_WAVES, "canary", 1) == [
        WeightSpan(at(0), at(30), 0.1, 1),
        WeightSpan(at(31), at(40), 0.5, 2),
    ]


def test_the_last_weight_stands_without_end() -> None:
    assert seen(turn("confirmed", 5, position="1.3")).spans(TWO_WAVES, "canary", 1) == [WeightSpan(at(5), None, 1.0, 3)]
    assert seen(turn("advanced", 5)).spans(TWO_WAVES, "canary", 1) == []


def test_an_earlier_wave_stays_at_the_last_step_and_a_later_one_has_none() -> None:
    found = seen(turn("confirmed", 0, position="2.1"), turn("advanced", 9))
    assert found.spans(TWO_WAVES, "canary", 1) == [WeightSpan(at(0), at(9), 1.0, 4)]
    assert found.spans(TWO_WAVES, "canary", 2) == [WeightSpan(at(0), at(9), 0.1, 4)]
    assert found.spans(TWO_WAVES, "canary", 3) == []


@pytest.mark.parametrize(
    ("between", "whole"),
    [
        (turn("adopt", 10), True),
        (turn("completed", 10), True),
        (turn("held", 10, reason="split"), True),
        (turn("held", 10), True),
        (turn("held", 10, reason="drift"), False),
        (turn("held", 10, reason="identity"), False),
        (turn("rollback", 10), False),
    ],
)
def test_a_weight_ends_when_the_live_split_is_not_ours_any_more(between: WeightEvent, whole: bool) -> None:
    (span,) = seen(turn("confirmed", 0, position="1.1"), between).spans(TWO_WAVES, "canary", 1)
    assert span.end == (None if whole else at(10))


def test_calls_at_the_retreat_weight_stand_beside_those_of_the_position() -> None:
    found = seen(
        turn("confirmed", 0, position="1.2"),
        turn("retreated", 10, retreated=500),
        turn("reached", 11, position="1.2", retreated=500),
        turn("returned", 20),
        turn("reached", 21, position="1.2"),
    )
    assert found.spans(TWO_WAVES, "canary", 1) == [
        WeightSpan(at(0), at(10), 0.5, 2),
        WeightSpan(at(11), at(20), 0.05, -2),
        WeightSpan(at(21), None, 0.5, 2),
    ]
    high = seen(turn("reached", 0, position="1.1", retreated=2_000)).spans(TWO_WAVES, "canary", 1)
    assert high == [WeightSpan(at(0), None, 0.1, -1)], "a step below the retreat's weight keeps its own"


# ------------------------------------------------------------------ calls of the step


def test_the_calls_of_the_step_are_the_canarys_since_its_confirmation() -> None:
    calls = (call(9.9), call(10), call(11), call(12, version=6), call(13, agent="agent_b"), call(None))
    confirmed = rollout(confirmed_at=at(10))
    assert seen(calls=calls).calls_in_step(confirmed) == 2
    assert seen(calls=calls).calls_in_step(rollout(confirmed_at=None)) == 0


def test_calls_while_it_is_retreated_are_none_of_the_step() -> None:
    calls = tuple(call(m) for m in (0, 9.9, 10, 14.9, 15, 20, 25, 29.9, 30))
    turns = (
        turn("confirmed", 0, position="1.2"),
        turn("retreated", 10, retreated=500),
        turn("reached", 11, position="1.2", retreated=500),
        turn("reached", 15, position="1.2"),
        turn("retreated", 20, retreated=500),
        turn("retreated", 22, retreated=500),
        turn("confirmed", 30, position="1.3"),
    )
    assert seen(*turns, calls=calls).calls_in_step(rollout(confirmed_at=at(0))) == 4  # 0, 9.9, 15 and 30
    down = turns[:2]
    assert seen(*down, calls=calls).calls_in_step(rollout(confirmed_at=at(0))) == 2, "away until it is said otherwise"


# ------------------------------------------------------------------ how fast, how many


def test_delays_are_those_of_the_last_week_whose_arrival_was_seen() -> None:
    day = 24 * 60
    calls = (call(0, analyzed=at(3)), call(day, analyzed=at(day + 1.5)), call(day + 1), call(None, analyzed=at(day)))
    assert seen(calls=calls).delays(at(7 * day)) == [90.0], "a week ago to the second is over"
    assert seen(calls=calls).delays(at(7 * day - 1)) == [180.0, 90.0]


def test_calls_a_day_are_those_of_the_last_week_or_of_what_was_seen() -> None:
    calls = tuple(call(m) for m in range(0, 120, 10))
    assert seen(calls=calls).per_day(at(120)) == 12 * 12
    assert seen(calls=(*calls, call(None))).per_day(at(120)) == 12 * 12
    assert seen(calls=calls).per_day(at(7 * 24 * 60)) == pytest.approx(12 / 7)
    assert seen(calls=calls).per_day(at(7 * 24 * 60 + 1)) == pytest.approx(11 / 7), "the first is more than a week ago"
    assert seen(calls=(call(0),)).per_day(at(1)) == 1440
    assert seen(calls=(call(0),)).per_day(at(0.99)) is None
    assert seen().per_day(START) is None


# ------------------------------------------------------------------ shares and places


def test_the_baselines_versions_are_those_that_its_lists_name_by_number() -> None:
    served = {"inbound_agents": [entry(6, 0.5), entry("prod", 0.5)], "outbound_agents": None}
    other = {"inbound_agents": [entry(5), {"agent_id": "agent_b", "weight": 1}]}
    assert baseline_pairs((target(baseline=served), target(TWO, baseline=other))) == {(AGENT, 6), (AGENT, 5)}


def test_an_arms_share_is_among_its_own_calls_and_the_baselines() -> None:
    several = plan(
        canary=None,
        variants={"b": {"agent_id": "agent_b", "agent_version": 1}, "c": {"agent_id": "agent_c", "agent_version": 2}},
        steps=[{"weights": {"b": 0.2, "c": 0.3}, "hold": "1d"}, {"weights": {"b": 1.0}, "hold": "1d"}],
    )
    assert share(several.weights(1), "b") == pytest.approx(0.2 / 0.7)
    assert share(several.weights(1), "c") == pytest.approx(0.3 / 0.8)
    assert (share(several.weights(2), "b"), share(several.weights(2), "c")) == (1.0, 0.0)


def test_positions_are_counted_in_the_order_in_which_they_are_reached() -> None:
    assert [position_index(TWO_WAVES, Position(w, s)) for w in (1, 2) for s in (1, 2, 3)] == [1, 2, 3, 4, 5, 6]


# ------------------------------------------------------------------ weights that a person set


def test_weights_by_hand_open_a_cell_of_their_own_and_end_the_one_before() -> None:
    split = {"number": 2, "wave": 1, "step": 2, "weights": {"canary": 3000}}
    found = seen(
        turn("confirmed", 0, position="1.2"),
        turn("set", 10, by_hand=split),
        turn("confirmed", 11, position="1.2", by_hand=split),
        turn("advanced", 30),
    )
    assert found.spans(TWO_WAVES, "canary", 1) == [
        WeightSpan(at(0), at(10), 0.5, 2),
        WeightSpan(at(11), at(30), 0.3, 2.002),
    ]
    assert found.spans(TWO_WAVES, "canary", 2) == []
    later = seen(turn("confirmed", 0, position="2.2", by_hand={**split, "wave": 2}), turn("advanced", 9))
    assert [s.weight for w in (1, 2) for s in later.spans(TWO_WAVES, "canary", w)] == [1.0, 0.3]


def test_what_is_shipped_has_every_call_of_every_wave() -> None:
    split = {"number": 1, "wave": 2, "step": 3, "weights": {"canary": 10_000}, "ships": "canary"}
    last = turn("confirmed", 6, position="2.3", by_hand=split)
    found = seen(turn("confirmed", 0, position="1.1"), turn("shipped", 5), last)
    for wave in (1, 2):
        assert found.spans(TWO_WAVES, "canary", wave)[-1] == WeightSpan(at(6), None, 1.0, 6.001)


def test_calls_belong_to_what_was_read_back_and_those_of_a_change_to_nothing() -> None:
    kinds = ["confirmed", "retreated", "reached", "returned", "reached"]
    turns = [
        turn(kind, 60 * hours, position="2.1", retreated=2000 if hours == 2 else None)
        for hours, kind in enumerate(kinds)
    ]
    seen = Observations((), turns, {}, None)
    hours = [START + i * retreating.HOUR for i in range(5)]
    assert seen.spans(retreating.LOW, "canary", 1) == [
        WeightSpan(hours[0], hours[1], 1.0, 4),
        WeightSpan(hours[2], hours[3], 0.2, -4),
        WeightSpan(hours[4], None, 1.0, 4),
    ]
    assert [span.weight for span in seen.spans(retreating.LOW, "canary", 2)] == [0.1, 0.1, 0.1], "it was left alone"
    calls = [
        CallRecord(str(i), AGENT, 7, ONE, "inbound", START + i * retreating.HOUR / 2, None, "ended") for i in range(10)
    ]
    seen = replace(seen, calls=calls)
    r = retreating.standing(confirmed_at=START, position=Position(2, 1))
    assert seen.calls_in_step(r) == 2 + 2, "before the order, and after the weights were read back again"
