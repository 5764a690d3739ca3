"""A change as data: merged, laid over a snapshot, and to JSON and back without loss."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.lifecycle.changes import (
    ROLLOUT_TIMES,
    Change,
    WriteResult,
    target_from_json,
    target_to_json,
    utc_text,
    write_from_json,
    write_to_json,
)
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Target, TargetState, WriteOutcome
from rollout.domain.versions.tags import BaselineTag
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, only, rollout, target, write

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
LISTS = st.dictionaries(
    st.sampled_from(["inbound_agents", "outbound_agents"]),
    st.lists(
        st.fixed_dictionaries(
            {
                "agent_id": st.text(min_size=1, max_size=8),
                "agent_version": st.integers(0, 99),
                "weight": st.floats(0.0001, 1),
            }
        ),
        max_size=3,
    ),
    max_size=2,
)
NUMBERS = st.sampled_from([ONE, TWO])
IDS = st.text("abcdef0123456789", min_size=1, max_size=6)


RATES = st.dictionaries(st.sampled_from(["success", "hard_error"]), st.floats(0, 1))


def _some(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


ROLLOUT_VALUES = _some(
    {
        "phase": st.sampled_from(Phase),
        "resume_phase": st.sampled_from(Phase),
        "reason": st.none() | st.text(max_size=20),
        "wave": st.integers(1, 9),
        "step": st.integers(1, 9),
        "waived": st.booleans(),
        "history": st.none() | st.builds(BaselineHistory, rates=RATES, limits=RATES, calls=st.integers(0, 999)),
        "tags": st.none() | st.lists(st.builds(BaselineTag), max_size=2).map(tuple),
        "tests": st.none() | st.builds(AgentTests, st.just(()), st.integers(1, 9), st.none() | MOMENTS),
        **{name: st.none() | MOMENTS for name in ROLLOUT_TIMES},
    }
)
TARGET_VALUES = _some(
    {
        "state": st.sampled_from(TargetState),
        "split": LISTS,
        "live": st.none() | LISTS,
        "live_at": st.none() | MOMENTS,
        "step": st.integers(-1, 9),
        "modified": st.integers(0, 2**53),
        "others": st.text(max_size=8),
        "written": st.booleans(),
    }
)
RESULTS = st.builds(
    WriteResult, st.none() | st.sampled_from(WriteOutcome), st.none() | st.integers(200, 599), st.none() | MOMENTS
)
CHANGES = st.builds(
    Change,
    ROLLOUT_VALUES,
    st.dictionaries(NUMBERS, TARGET_VALUES, max_size=2),
    st.dictionaries(IDS, RESULTS, max_size=3),
    st.lists(st.builds(write, NUMBERS, st.integers(0, 3), id=IDS, at=MOMENTS), max_size=2).map(tuple),
)


@given(CHANGES)
def test_a_change_survives_the_journal(change: Change) -> None:
    text = json.dumps(change.to_json(), allow_nan=False)
    read = Change.from_json(json.loads(text))
    assert read == change
    kinds = {"phase": Phase, "resume_phase": Phase, "state": TargetState, "outcome": WriteOutcome}
    values = [*read.rollout.items(), *(each for t in read.targets.values() for each in t.items())]
    values += [each for result in read.writes.values() for each in result.columns().items()]
    assert all(isinstance(value, kinds[name]) for name, value in values if name in kinds), "values and not their texts"


@given(CHANGES, CHANGES)
def test_merging_is_applying_one_after_the_other(one: Change, two: Change) -> None:
    start = rollout(targets=(target(), target(TWO, ord=1)))
    merged = one.merged(two)
    apart = two.applied_to(one.applied_to(start, START), START)
    together = merged.applied_to(start, START)
    assert together.position == apart.position
    assert together.phase is apart.phase
    assert together.targets == apart.targets


def test_of_two_results_of_a_write_the_later_one_counts_where_it_says_something() -> None:
    first = Change(writes={"w1": WriteResult(answered=200, horizon_until=START), "w2": WriteResult(answered=503)})
    later = Change(
        writes={"w1": WriteResult(WriteOutcome.APPLIED, horizon_until=None), "w3": WriteResult(answered=422)}
    )
    assert first.merged(later).writes == {
        "w1": WriteResult(WriteOutcome.APPLIED, 200, START),
        "w2": WriteResult(answered=503),
        "w3": WriteResult(answered=422),
    }


@pytest.mark.parametrize(
    "known",
    [
        target(),
        confirmed(live=only(8), live_at=START, state=TargetState.DRIFTED),
        target(split={"inbound_agents": None}, live=None),
    ],
    ids=["untouched", "drifted", "null-list"],
)
def test_a_target_survives_the_journal(known: Target) -> None:
    assert target_from_json(json.loads(json.dumps(target_to_json(known)))) == known


def test_a_write_survives_the_journal_by_its_body() -> None:
    done = applied(write(answered=200), START)
    document = json.loads(json.dumps(write_to_json(done)))
    assert "lists" not in document
    assert write_from_json(document) == done


def test_nothing_is_no_change() -> None:
    assert not Change()
    assert Change().to_json() == {}
    assert Change(writes={"w1": WriteResult(answered=200)})


def test_a_snapshot_takes_a_change_over() -> None:
    later = START + timedelta(seconds=9)
    before = rollout(writes=(write(),))
    change = Change(
        {"step": 2, "confirmed_at": None, "phase": Phase.PAUSED},
        {ONE: {"step": 1, "state": TargetState.CONFIRMED}},
        {"w1": WriteResult(WriteOutcome.APPLIED, horizon_until=START)},
        (write(id="w2", step=2, at=later),),
    )
    after = change.applied_to(before, later)
    assert (after.position, after.phase, after.updated_at) == (Position(1, 2), Phase.PAUSED, later)
    assert (after.targets[0].step, after.targets[0].state) == (1, TargetState.CONFIRMED)
    assert {w.id: w.outcome for w in after.writes} == {"w1": WriteOutcome.APPLIED, "w2": None}
    assert before.position == Position(1, 1)


def test_moments_have_one_text() -> None:
    there = START.astimezone(timezone(timedelta(hours=-8)))
    assert utc_text(there) == utc_text(START) == "2026-11-02T17:00:00.000000+00:00"


def test_a_change_keeps_nothing_of_what_it_was_applied_to() -> None:
    mine = write(ONE, 1)
    change = Change(targets={ONE: {"modified": 7}}, writes={mine.id: WriteResult(WriteOutcome.APPLIED)})
    one, two = target(ONE), target(TWO, ord=1)
    before = repr(change), {name: getattr(change, name) for name in Change.__slots__}
    alone, among = (rollout(targets=targets, writes=(mine,)) for targets in ((one,), (two, one)))
    first, second = change.applied_to(alone, START), change.applied_to(among, START)
    assert first.targets[0] == second.targets[1] == replace(one, modified=7)
    assert first.writes[0] == second.writes[0] and first.writes[0].outcome is WriteOutcome.APPLIED
    assert (repr(change), {name: getattr(change, name) for name in Change.__slots__}) == before
    other = replace(one, modified=3)
    assert change.targets_after((other,))[0] == replace(other, modified=7)


def test_a_write_says_so_in_the_journal_and_others_say_nothing_new() -> None:
    low_write, usual = write(step=2, retreated=2000), write(step=2)
    assert write_from_json(write_to_json(low_write)) == low_write
    assert "retreated" not in write_to_json(usual)
    assert write_from_json(write_to_json(usual)) == usual
