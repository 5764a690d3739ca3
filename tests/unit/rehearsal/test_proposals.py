"""Ladders that cannot decide at their traffic: the smallest change that can, and its figures."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.adapters.planfile import load_plan
from rollout.domain.gates import forecast
from rollout.domain.gates.earlier_calls import margin_warnings
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.rehearsal.proposals import Proposal, as_profile, calls_of, expected_calls, propose
from rollout.domain.rehearsal.rehearsal import USUAL_RATES, play_plan
from rollout.domain.rehearsal.simulation import DAY, PlayStep
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import proposal, rehearse
from tests.support.clock import START

JUMP = (PlayStep(1000, 1800), PlayStep(10_000, 3600))
PLAN = """
version: 1
name: jump
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: a, agent_version: 7}
steps:
  - {weight: 0.1, hold: 30m, min_calls: 20}
  - {weight: 1.0, hold: 1h, approve: true}
"""


def found(steps, per_day, config=None, base=USUAL_RATES, **more):
    return propose(config or gate_config(), steps, per_day, base, **more)


def test_a_jump_to_1_gets_a_step_at_one_half_where_it_decides_too_late():
    better = found(JUMP, 50)
    assert [s.weight for s in better.steps] == [1000, 5000, 10_000]
    assert (better.half_step, better.profile, better.first, better.deadline) == (1, None, None, None)
    assert better.calls_then < 0.7 * better.calls_now
    assert better.calls_now == calls_of(gate_config(), JUMP, 50, USUAL_RATES)


@pytest.mark.parametrize(
    ("steps", "per_day"),
    [(JUMP, 400), ((PlayStep(1000), PlayStep(5000), PlayStep(10_000)), 60), ((PlayStep(10_000),), 5)],
)
def test_a_plan_that_decides_or_compares_nothing_gets_none(steps, per_day):
    assert found(steps, per_day) is None
    assert found(JUMP, 5, from_plan({"profile": "none"})) is None


def test_fewer_calls_ask_for_more_change_and_in_the_end_for_time():
    ladder = (PlayStep(1000), PlayStep(5000), PlayStep(10_000))
    assert found(ladder, 20).words == "profile: low-traffic"
    assert found(JUMP, 20).words == "a step at weight 0.5 before weight 1 and profile: low-traffic"
    least = found(JUMP, 3)
    assert least.deadline is not None and least.deadline % DAY == 0
    assert least.words.endswith("days")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"half_step": 1}, "a step at weight 0.5 before weight 1"),
        ({"first": 2000}, "a first weight of 0.2"),
        ({"profile": "low-traffic", "deadline": 40.6 * DAY}, "profile: low-traffic and a deadline of 41 days"),
        (
            {"half_step": 1, "first": 3000, "profile": "low-traffic"},
            "a step at weight 0.5 before weight 1, a first weight of 0.3 and profile: low-traffic",
        ),
    ],
    ids=["one", "first", "two", "three"],
)
def test_changes_are_listed_with_one_and(changes, words):
    assert Proposal(JUMP, gate_config(), 2, 1, **changes).words == words


LADDER = (
    PlayStep(1000, 60, min_calls=7),
    PlayStep(2000, 120, min_calls=8),
    PlayStep(4000, 180, min_calls=9, approve=True, open=True),
    PlayStep(10_000, 240, min_calls=10),
)


@pytest.mark.parametrize(
    ("per_day", "words", "steps"),
    [
        (
            15,
            "a step at weight 0.5 before weight 1 and a first weight of 0.2",
            [LADDER[1], LADDER[2], PlayStep(5000, 180, open=True), LADDER[3]],
        ),
        (10, "a first weight of 0.3", [replace(LADDER[1], weight=3000), *LADDER[2:]]),
        (8, "a first weight of 0.5", [replace(LADDER[2], weight=5000), LADDER[3]]),
        (3, "a first weight of 0.5 and a deadline of 64 days", [replace(LADDER[2], weight=5000), LADDER[3]]),
    ],
)
def test_a_raised_first_weight_stands_for_the_smaller_ones_before_it(per_day, words, steps):
    config = gate_config("low-traffic")
    better = found(LADDER, per_day, config)
    assert (better.words, list(better.steps)) == (words, steps)
    assert better.calls_then == calls_of(config, steps, per_day, USUAL_RATES) < better.calls_now


def test_a_wider_profile_is_tried_before_a_larger_first_weight_and_keeps_what_is_measured():
    for profile in ("standard", "strict"):
        config = replace(gate_config(profile), watch_acts=True, history={"success": 0.2})
        better = found((PlayStep(1000), PlayStep(5000), PlayStep(10_000)), 20, config)
        assert (better.half_step, better.first, better.profile) == (None, None, "low-traffic")
        assert better.config == replace(gate_config("low-traffic"), watch_acts=True, history={"success": 0.2})
    own = from_plan({"metrics": [{"name": "booked", "custom": "booked", "margins": [0.05]}, {"name": "slow"}]})
    assert as_profile(own, "low-traffic").metrics == own.metrics, "the profile knows no margins of these"


@pytest.mark.parametrize(
    ("steps", "half_step", "weights"),
    [
        ((PlayStep(1000), PlayStep(3000), PlayStep(10_000)), 2, [1000, 3000, 5000, 10_000]),
        ((PlayStep(1000), PlayStep(4999), PlayStep(10_000), PlayStep(10_000)), 2, [1000, 4999, 5000, 10_000, 10_000]),
        ((PlayStep(1000), PlayStep(5000), PlayStep(10_000)), None, [1000, 5000, 10_000]),
        ((PlayStep(1000), PlayStep(2000)), None, [1000, 2000]),
    ],
    ids=["half", "just below", "has it", "no end"],
)
def test_the_half_step_stands_before_the_first_step_at_weight_1(steps, half_step, weights):
    per_day = 27 if half_step else 15
    better = found(steps, per_day)
    assert (better.half_step, [s.weight for s in better.steps]) == (half_step, weights)


def test_a_proposed_deadline_leaves_a_quarter_more_than_half_of_the_rollouts_need():
    config = gate_config("low-traffic")
    steps = (PlayStep(5000), PlayStep(10_000))
    need = calls_of(config, steps, 1, USUAL_RATES)
    whole = -(-need / 0.8 // 1)
    assert found(steps, 1, config).deadline == whole * DAY
    assert found(steps, whole / 365, config).deadline == 365 * DAY
    assert found(steps, whole / 367, config) is None, "nobody waits for longer than a year"


def test_a_margin_too_small_to_be_proven_is_told_and_nothing_proposed():
    plan = load_plan(PLAN + "gates: {metrics: [{name: booked, custom: booked, margins: [0.0000001]}]}\n")
    assert proposal(plan, 200) is None
    config = from_plan(plan.canonical()["gates"])
    notes = play_plan(config, JUMP, 200, runs=1, deadline=DAY).notes
    assert "the proof of booked, about 1,000,000,000,000 calls" in notes[0]
    assert "This plan cannot decide" in notes[1]


SUCCESS = from_plan({"metrics": [{"name": "success"}]})


@pytest.mark.parametrize(
    ("step", "index", "narrow", "base", "expected"),
    [
        (PlayStep(1000), 0, False, 0.2, 300),
        (PlayStep(1000), 0, True, 0.2, forecast.to_prove(0.1, 0.08, 0.2, 0.1).half),
        (PlayStep(5000), 1, False, 0.2, forecast.to_prove(0.5, 0.08, 0.2, 0.1).half),
        (PlayStep(1000), 0, True, 0.0, forecast.to_prove(0.1, 0.08, 0.001, 0.1).half),
        (PlayStep(1000), 0, True, 1.0, 300),
        (PlayStep(1000, min_calls=400), 0, True, 0.2, 4000),
    ],
)
def test_a_step_waits_for_its_slowest_proof_or_for_its_calls(step, index, narrow, base, expected):
    calls, what = expected_calls(SUCCESS, step, index, {"success": base}, narrow=narrow)
    assert calls == pytest.approx(expected)
    assert what == ("calls" if expected in (300, 4000) else "success")


def test_each_step_of_a_list_of_margins_has_its_own():
    config = from_plan({"metrics": [{"name": "success", "margins": [0.3, 0.2, 0.1]}], "floors": [10, 20, 30]})
    for index, margin in enumerate((0.3, 0.2, 0.1)):
        calls, _ = expected_calls(config, PlayStep(1000), index, {"success": 0.2})
        assert calls == pytest.approx(forecast.to_prove(0.1, margin, 0.2, 0.1).half)
        assert expected_calls(config, PlayStep(1000), index, {"success": 1.0})[0] == pytest.approx(100 * (index + 1))


@pytest.mark.parametrize("weight", [0, 10_000])
def test_a_step_with_one_version_alone_waits_for_no_proof(weight):
    assert expected_calls(SUCCESS, PlayStep(weight, min_calls=9), 0, {"success": 0.2}) == (0.0, "nothing")


def test_calls_of_a_ladder_are_the_longer_of_hold_and_proof_of_each_step():
    steps = (PlayStep(1000, DAY), PlayStep(5000, 100 * DAY), PlayStep(10_000, 2 * DAY))
    proof, _ = expected_calls(SUCCESS, steps[0], 0, {"success": 0.2})
    assert calls_of(SUCCESS, steps, 50, {"success": 0.2}) == proof + 100 * 50 + 2 * 50


def test_a_deadline_of_the_plan_is_the_time_there_is():
    assert found(JUMP, 100) is None
    assert found(JUMP, 100, patience=11 * DAY).words == "a step at weight 0.5 before weight 1"
    assert proposal(load_plan(PLAN + "deadline: 60d\n"), 50) is None, "more than people wait where none is named"
    assert "step at weight 0.5" in proposal(load_plan(PLAN + "deadline: 11d\n"), 100)["change"]


@pytest.mark.parametrize(("deadline", "written"), [("", False), ("deadline: 20d\n", True)])
def test_a_deadline_is_written_where_the_plan_has_one(deadline, written):
    better = proposal(load_plan(PLAN + deadline), 2)
    assert better["change"].endswith("days")
    assert ("deadline:" in better["yaml"]) is written


def test_a_ladder_that_leaves_nothing_to_change_is_given_time():
    steps = (PlayStep(5000), PlayStep(10_000))
    assert found(steps, 1, gate_config("low-traffic")).words.endswith("days")


VARIANTS = """
version: 1
name: ab
numbers: ["+14157774444"]
channels: [inbound]
variants: {b: {agent_id: a, agent_version: 7}}
steps: [{weights: {b: 0.1}, hold: 30m}, {weights: {b: 1.0}, hold: 1h}]
"""


def test_a_plan_of_variants_gets_no_ladder():
    plan = load_plan(VARIANTS)
    assert proposal(plan, 5) is None
    assert "proposal" not in rehearse(plan, 5, calendars=Calendars(), now=START, runs=3)


@pytest.mark.slow
@pytest.mark.parametrize(("deadline", "limit"), [("", 60), ("deadline: 10d\n", 10)])
def test_a_rehearsal_ends_at_the_plans_deadline_and_proposes_once(deadline, limit):
    document = rehearse(load_plan(PLAN + deadline), 4, calendars=Calendars(), now=START, runs=20)
    (note,) = [n for n in document["notes"] if "cannot decide" in n]
    assert f"within {limit} days" in note
    assert "0.5" not in note and "weight of 0.5" in document["proposal"]["change"]
    assert document["proposal"]["then"]["equal_promoted"] > 0.5, "in the time that is proposed"


@pytest.mark.slow
def test_what_is_proposed_decides_when_it_is_played():
    better = found(JUMP, 50)
    now = play_plan(gate_config(), JUMP, 50, runs=60, seed=5, deadline=30 * DAY).scenarios[0]
    then = play_plan(better.config, better.steps, 50, runs=60, seed=5, deadline=30 * DAY).scenarios[0]
    assert then.promoted > 0.8 > 0.65 > now.promoted


def test_the_yaml_is_a_plan_again_and_decides():
    plan = load_plan(PLAN)
    better = proposal(plan, 50)
    assert better["then"]["days"] < better["now"]["days"]
    text = PLAN[: PLAN.index("steps:")] + better["yaml"]
    again = load_plan(text)
    assert [s.weight for s in again.steps] == [0.1, 0.5, 1.0]
    assert [s.hold.duration for s in again.steps] == [timedelta(minutes=30), timedelta(minutes=30), timedelta(hours=1)]
    assert (again.steps[0].min_calls, again.steps[2].approve) == (20, True)
    assert proposal(again, 50) is None


@pytest.mark.parametrize("per_day", [2, 8, 15, 30, 45])
def test_every_proposal_can_be_read_and_none_follows_it(per_day):
    better = proposal(load_plan(PLAN), per_day)
    again = load_plan(PLAN[: PLAN.index("steps:")] + better["yaml"])
    if "days" not in better["change"]:
        assert proposal(again, per_day) is None


@pytest.mark.parametrize(
    ("profile", "rate", "margins"),
    [
        ("standard", 0.005, "[0.25, 0.05]"),
        ("standard", 0.09, "[0.25, 0.06]"),
        ("standard", 0.15, None),
        ("strict", 0.02, "[0.2, 0.05]"),
        ("low-traffic", 0.15, None),
        ("low-traffic", 0.03, "[0.3, 0.08]"),
    ],
)
def test_a_margin_too_wide_for_the_baselines_own_rate_is_told_with_the_one_to_write(profile, rate, margins):
    told = margin_warnings(gate_config(profile), BaselineHistory(rates={"success": rate}, calls=840))
    if margins is None:
        assert told == []
    else:
        assert len(told) == 1
        assert told[0].startswith("success: the last margin is") and "840 calls" in told[0]
        assert told[0].endswith(f"write margins: {margins}")


def test_a_rate_that_is_not_known_warns_of_nothing():
    assert margin_warnings(gate_config(), BaselineHistory()) == []
    wide = replace(gate_config(), metrics=gate_config().metrics)
    assert margin_warnings(wide, BaselineHistory(rates={"negative": 0.01}, calls=500)) == []
