"""What follows from a rollout's snapshot: where it goes next, what counts, and which weights callers get."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import BaselineWrite, Kind, Position, Rollout, Target, TargetState, Write
from rollout.domain.writes.protocol import wanted_lists
from tests.support import hand_splits, retreating
from tests.support.clock import START
from tests.support.values import ONE, THREE, TWO, applied, confirmed, plan, rollout, target, write

SECOND = timedelta(seconds=1)
WAVES = (confirmed(step=3), confirmed(TWO, ord=1, wave=2), target(THREE, ord=2, wave=3))


def in_waves(wave: int, step: int) -> Rollout:
    return rollout(targets=WAVES, position=Position(wave, step))


@pytest.mark.parametrize(
    ("here", "following"),
    [((1, 1), (1, 2)), ((1, 2), (1, 3)), ((1, 3), (2, 1)), ((2, 3), (3, 1)), ((3, 2), (3, 3)), ((3, 3), None)],
)
def test_after_the_last_step_comes_the_next_wave(here: tuple[int, int], following: tuple[int, int] | None) -> None:
    r = in_waves(*here)
    assert r.next_position == (None if following is None else Position(*following))
    assert (r.waves, r.last_position) == (3, Position(3, 3))
    assert rollout(targets=()).last_position == Position(1, 3)


def test_each_number_is_wanted_by_its_wave() -> None:
    assert [in_waves(2, 1).wanted_step(t) for t in WAVES] == [3, 1, 0]
    assert [in_waves(2, 1).wanted_step(t, Position(1, 2)) for t in WAVES] == [2, 0, 0]
    assert [t.number for t in in_waves(2, 1).outstanding] == []
    assert [t.number for t in in_waves(3, 2).outstanding] == [TWO, THREE]


def test_the_weights_are_those_of_the_number_furthest_behind_in_the_wave_under_way() -> None:
    behind = (confirmed(step=2), confirmed(TWO, ord=1, step=1), confirmed(THREE, ord=2, wave=2, step=3))
    r = rollout(targets=behind, position=Position(1, 2))
    assert r.weights == {"canary": 1000}
    assert replace(r, targets=behind[:1]).weights == {"canary": 5000}
    assert replace(r, targets=(target(), behind[1])).weights == {}, "one still shows its baseline"
    assert replace(r, phase=Phase.ROLLED_BACK).weights == {}
    assert replace(r, targets=()).weights == {}


def test_a_write_is_open_until_its_outcome_is_known_and_its_horizon_has_passed() -> None:
    unknown, known = write(), applied(write(TWO, id="w2"), START + SECOND)
    theirs = applied(write(ONE, id="w3"), START + SECOND)
    r = rollout(writes=(unknown, known), foreign_open=(theirs,))
    assert [w.id for w in r.open_writes(START)] == ["w1", "w2", "w3"]
    assert [w.id for w in r.open_writes(START + SECOND)] == ["w1"]
    assert [w.id for w in r.open_writes(START, ONE)] == ["w1", "w3"]
    assert [w.id for w in r.unresolved] == ["w1"]
    assert unknown.is_open(unknown.horizon_until + SECOND), "its outcome is not known"


def test_baselines_written_back_are_counted_since_the_order() -> None:
    def back(id_: str, after: int, answered: int | None, number: str = ONE) -> Write:
        return write(number, 0, id=id_, kind=Kind.BASELINE, at=START + after * SECOND, answered=answered)

    writes = (
        back("a", -1, 200),
        back("b", 0, 200),
        back("c", 1, 503),
        back("d", 2, 200),
        back("e", 3, None, TWO),
        write(),
    )
    r = rollout(phase=Phase.ROLLING_BACK, rollback_at=START, writes=writes)
    assert r.baseline_writes == {
        ONE: BaselineWrite(START + 2 * SECOND, True, 2),
        TWO: BaselineWrite(START + 3 * SECOND, False, 0),
    }
    assert r.contested_numbers([ONE, TWO, THREE]) == []
    earlier = replace(r, rollback_at=START - SECOND)
    assert earlier.baseline_writes[ONE].times == 3
    assert earlier.contested_numbers([TWO, ONE, THREE]) == [ONE]
    fourth = replace(earlier, writes=(*writes, back("f", 4, 200)))
    assert fourth.contested_numbers([ONE]) == [], "it is told once"


def test_what_a_later_rollout_has_was_written_and_is_not_its_own() -> None:
    targets = (confirmed(), confirmed(TWO, ord=1, state=TargetState.SUPERSEDED), target(THREE, ord=2))
    r = rollout(targets=targets)
    assert [t.number for t in r.written] == [ONE, TWO]
    assert [t.number for t in r.owned_targets] == [ONE]


def test_a_hold_counts_from_the_read_back_or_the_return_and_less_what_was_stood() -> None:
    r = rollout(confirmed_at=START)
    assert r.counts_since == START
    assert replace(r, back_at=START + SECOND).counts_since == START + SECOND
    for changes in ({"confirmed_at": None}, {"retreated": 500}, {"turning_since": START}):
        assert replace(r, **changes).counts_since is None
    assert r.hold_left == timedelta(minutes=30)
    assert replace(r, stood=60.0).hold_left == timedelta(minutes=29)


def test_a_split_by_hand_is_a_step_behind_the_plans_last() -> None:
    splits = [
        {"number": 1, "wave": 1, "step": 1, "weights": {"canary": 4000}},
        {"number": 2, "wave": 1, "step": 2, "weights": {"canary": 3000}},
    ]
    r = rollout(by_hand=splits, hand_split=2, position=Position(1, 2))
    assert (r.step, r.shipped) == (5, None)
    assert [r.weights_at(step) for step in (1, 3, 4, 5)] == [{"canary": w} for w in (1000, 10_000, 4000, 3000)]
    assert [r.plan_step(step) for step in (1, 3, 4, 5)] == [1, 3, 1, 2]
    assert rollout(position=Position(1, 2)).step == 2
    assert rollout(plan=plan()).hand is None


@pytest.mark.parametrize(
    ("retreated", "here", "position", "wanted"),
    [
        (None, retreating.at(2), (1, 2), (2, None)),
        (None, retreating.low(), (1, 2), (2, None)),  # opening: back to the step
        (2000, retreating.at(2), (1, 2), (2, 2000)),
        (2000, retreating.low(), (1, 2), (2, 2000)),
        (2000, retreating.low(step=2), (1, 3), (2, 2000)),  # it is as low as it can be: nothing is written twice
        (2000, retreating.at(1), (1, 1), (1, None)),  # 0.1 is less than the retreat
        (2000, retreating.at(1), (1, 2), (1, None)),  # the step was wanted and not written in time: it waits below
        (2000, retreating.at(0), (1, 2), (0, None)),
        (2000, retreating.at(2), (1, 3), (3, 2000)),
        (2000, retreating.at(0, wave=2), (1, 3), (0, None)),  # its wave has not come
        (2000, retreating.at(3), (2, 1), (3, 2000)),  # an earlier wave stands at the last step
        (2000, retreating.at(1, wave=2), (2, 1), (1, None)),
        (2000, retreating.at(-1), (1, 2), (2, 2000)),  # to be written again: at the retreat weight
        (2000, retreating.at(-1), (1, 1), (1, None)),
    ],
)
def test_where_a_number_is_wanted(
    retreated: int | None, here: Target, position: tuple[int, int], wanted: tuple[int, int | None]
) -> None:
    r = retreating.standing(position=Position(*position), retreated=retreated, targets=(here,))
    assert r.wanted(here) == wanted
    assert bool(r.outstanding) is (wanted != (here.step, here.retreated))


def test_only_a_wave_that_was_begun_or_stands_above_has_something_to_take_down() -> None:
    assert not retreating.standing(1).retreats
    assert retreating.standing(2).retreats
    second = retreating.standing(1, position=Position(2, 1), targets=(retreating.at(3), retreating.at(1, TWO, wave=2)))
    assert second.retreats, "the first wave stands at the last step"
    assert not retreating.standing(
        1, position=Position(1, 1), targets=(retreating.at(1), retreating.at(0, TWO, wave=2))
    ).retreats


def test_a_plan_that_keeps_wants_what_it_wanted() -> None:
    r = rollout(position=Position(1, 2), targets=(confirmed(step=2),))
    assert (r.steps_above, r.retreats, r.is_down, r.outstanding) == (frozenset(), False, False, ())


@pytest.mark.parametrize(
    ("retreated", "turning", "is_down"),
    [(None, None, False), (2000, START, False), (2000, None, True), (None, START, True)],
)
def test_what_was_read_back_last(retreated: int | None, turning: datetime | None, is_down: bool) -> None:
    here = retreating.low() if is_down else retreating.at(2)
    r = retreating.standing(retreated=retreated, turning_since=turning, targets=(here,))
    assert r.is_down is is_down
    assert r.weights == {"canary": 2000 if is_down else 5000}


def test_callers_get_the_retreat_weight_once_every_number_was_read_back_at_it_and_until_all_are_back() -> None:
    other = retreating.at(2, TWO, ord=1)
    way_down = retreating.standing(retreated=2000, turning_since=START, targets=(retreating.low(), other))
    assert way_down.weights == {"canary": 5000}
    way_up = retreating.standing(turning_since=START, targets=(retreating.low(), other))
    assert way_up.weights == {"canary": 2000}
    assert replace(way_up, targets=(retreating.at(2), other)).weights == {"canary": 5000}
    assert retreating.standing(1, retreated=2000, targets=(retreating.at(1),)).weights == {"canary": 1000}, (
        "its step is below it"
    )


def test_the_weights_of_a_number_to_be_written_again_are_nothing_and_no_error() -> None:
    assert retreating.standing(targets=(retreating.at(-1),)).weights == {}


def test_the_weights_in_force_are_those_of_the_numbers_furthest_behind() -> None:
    assert hand_splits.there().weights == {"canary": 3000}
    assert hand_splits.by_hand().weights == {"canary": 5000}
    half = (confirmed(step=2), replace(confirmed(TWO, ord=1), step=5))
    assert hand_splits.by_hand(targets=half).weights == {"canary": 5000}
    assert hand_splits.by_hand(hand_split=None, targets=half).weights == {"canary": 3000}, (
        "on its way to the plan's step"
    )


def test_closing_time_takes_down_what_a_person_set_above_the_retreat_weight() -> None:
    hours = {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}
    assert not hand_splits.there(1, plan=plan(**hours, closing={"retreat": 0.35})).retreats
    r = hand_splits.there(1, plan=plan(**hours, closing={"retreat": 0.2}), retreated=2000)
    assert r.retreats
    assert r.wanted(r.targets[0]) == (5, 2000)
    assert wanted_lists(r, r.targets[0])["inbound_agents"][0]["weight"] == 0.2
