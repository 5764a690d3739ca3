"""What follows from a rollout's snapshot: where it goes next, what counts, and which weights callers get."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import BaselineWrite, Kind, Position, Rollout, TargetState, Write
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


def test_only_columns_that_have_a_value_are_cleared() -> None:
    assert rollout(stood=1.0, hand_split=None).cleared("stood", "back_at", "hand_split") == {"stood": None}


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
