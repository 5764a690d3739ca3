"""The verdict: each row of its table, what is remembered, what is refused, and that it can be computed again."""

import json
from dataclasses import replace

import pytest

from rollout.domain.errors import InputError
from rollout.domain.gates import (
    Cell,
    GateConfig,
    Memory,
    Outcome,
    Tally,
    combine,
    from_plan,
    gate_config,
    judge,
    judge_variants,
    rejudge,
)
from rollout.domain.plan_gates import Gates
from rollout.domain.profiles import at_step

STANDARD = gate_config()


def cell(
    weight=0.1,
    position=1,
    day="2026-03-02",
    *,
    success=(0, 0, 0, 0),
    hard=None,
    slow=None,
    negative=None,
    **more,
):
    """A cell whose other metrics are as fine as can be."""
    nc, nb = success[0] + success[1], success[2] + success[3]
    fine = (0, nc, 0, nb)
    counts = {"success": success, "hard_error": hard or fine, "slow:p50": slow or fine, "slow:p90": slow or fine,
              "negative": negative or fine, **more}  # fmt: skip
    return Cell(weight, position, day, (nc, nb), (nc, nb), counts)


def tally(*cells, position=1, step=1, weight=0.1, **more):
    return Tally(tuple(cells), position, step, weight, **more)


GOOD = cell(success=(6, 44, 60, 390), hard=(0, 50, 3, 447), slow=(5, 45, 45, 405), negative=(10, 40, 90, 360))


def verdict(*cells, config=STANDARD, memory=None, **more):
    return judge(config, tally(*cells, **more), memory)


# ------------------------------------------------------------------ the table, row by row


def test_an_outage_fails_at_the_third_canary_call():
    def dead(n):
        return verdict(cell(success=(n, 0, 4, 23), hard=(n, 0, 0, 27)))

    assert dead(2).outcome is Outcome.UNDECIDED
    assert dead(3).outcome is Outcome.FAIL
    assert "3 of its 3 calls" in dead(3).reason and "roll back at 10" in dead(3).reason


def test_two_bad_calls_never_fail_however_strong():
    two = cell(success=(2, 0, 0, 900), hard=(2, 0, 0, 900))
    found = verdict(two)
    assert found.evidence["numbers"]["e_gate"] > 10
    assert (found.outcome, found.alarm) != (Outcome.FAIL, None)


def test_a_proven_step_passes_and_says_what_was_proven():
    found = verdict(GOOD)
    assert (found.outcome, found.alarm) == (Outcome.PASS, None)
    assert "25 points in success" in found.reason and "50 calls" in found.reason


def test_the_same_calls_do_not_pass_the_narrower_margin_of_weight_one_half():
    assert verdict(replace(GOOD, position=2), weight=0.5, step=2, position=2).outcome is Outcome.UNDECIDED


def test_the_floor_counts_this_steps_calls_only():
    found = verdict(GOOD, position=2, step=2)
    assert found.outcome is Outcome.UNDECIDED
    assert "0 of 30 canary calls" in found.reason


def test_amber_holds_a_step_that_is_proven_but_doubtful():
    found = verdict(GOOD, replace(cell(success=(4, 3, 3, 60), negative=(4, 3, 8, 55)), day="2026-03-03"))
    assert 3 <= found.evidence["numbers"]["e_gate"] < 10
    assert (found.outcome, found.alarm) == (Outcome.UNDECIDED, "amber")


@pytest.mark.parametrize(("canary", "calls"), [(0, 100), (60, 100)])
def test_calls_that_ignore_the_weights_raise_the_alarm_and_never_fail(canary, calls):
    bad = canary // 7
    found = verdict(
        cell(success=(bad, canary - bad, (calls - canary) // 7, calls - canary - (calls - canary) // 7))
    )
    assert (found.outcome, found.alarm) == (Outcome.UNDECIDED, "split")
    assert f"{canary} of {calls}" in found.reason and "webhook" in found.reason


def test_results_lost_on_one_side_raise_the_alarm_too():
    lost = replace(GOOD, started=(200, 1800), counts={**GOOD.counts, "success": (0, 50, 270, 1530)})
    found = verdict(lost)
    assert (found.outcome, found.alarm) == (Outcome.UNDECIDED, "split")
    assert "results for success" in found.reason


def test_provider_down_is_unmeasurable_not_fail_and_not_pass():
    found = verdict(GOOD, unavailable="Retell does not answer since 14:02")
    assert found.outcome is Outcome.UNMEASURABLE
    assert "Retell does not answer" in found.reason


def test_no_calls_wait_with_the_reason():
    found = verdict(calls_per_day=50)
    assert (found.outcome, found.alarm) == (Outcome.UNDECIDED, None)
    assert "no forecast yet" in found.reason


def test_waiting_names_the_metric_and_the_forecast():
    few = cell(success=(1, 9, 14, 76), hard=(0, 10, 1, 89))
    found = verdict(few, calls_per_day=50)
    assert found.outcome is Outcome.UNDECIDED
    assert (
        "15 points worse in hard_error" in found.reason
        and "more calls" in found.reason
        and "this week's traffic" in found.reason
    )


def test_a_misnamed_field_is_unmeasurable_and_never_passes():
    config = from_plan(
        {"metrics": [{"name": "success"}, {"name": "booked", "custom": "boked", "margins": [0.2]}]}
    )
    blind = {**GOOD.counts, "booked": (0, 0, 0, 0)}
    found = judge(config, tally(replace(GOOD, counts=blind)))
    assert found.outcome is Outcome.UNMEASURABLE
    assert "'boked'" in found.reason
    early = replace(cell(success=(0, 2, 3, 20)), counts={"success": (0, 2, 3, 20), "booked": (0, 0, 0, 0)})
    assert judge(config, tally(early)).outcome is Outcome.UNDECIDED


def test_a_metric_without_calls_counts_one():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "voicemail"}]})
    silent = replace(GOOD, counts={**GOOD.counts, "voicemail": (0, 0, 0, 0)})
    found = judge(config, tally(silent))
    assert found.evidence["numbers"]["harm"]["voicemail"] == 1.0
    assert found.outcome is Outcome.PASS


def test_no_gates_pass():
    assert judge(gate_config("none"), tally()).outcome is Outcome.PASS
    assert from_plan({"profile": "none"}).metrics == ()


# ------------------------------------------------------------------ memory


def test_a_fail_stays_a_fail():
    dead = verdict(cell(success=(3, 0, 4, 23), hard=(3, 0, 0, 27)))
    later = verdict(GOOD, memory=dead.memory)
    assert (later.outcome, later.reason) == (Outcome.FAIL, dead.reason)


OUTSIDE = from_plan({
    "profile": "none",
    "metrics": [{"name": "handle_time", "http": {"url": "https://m.example", "field": "x", "max": 300, "for": 3}}],
})  # fmt: skip


def test_an_outside_value_fails_after_its_looks_in_a_row():
    memory, seen = Memory(), []
    for value in (310, 290, 310, 320, None, 330):
        found = judge(OUTSIDE, tally(external={"handle_time": value}), memory)
        memory = found.memory
        seen.append(found.outcome.value)
    assert seen == ["undecided", "pass", "undecided", "undecided", "unmeasurable", "fail"]
    assert "above 300 on 3 looks in a row (now 330)" in found.reason


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_outside_value_that_is_no_number_holds(value):
    found = judge(OUTSIDE, tally(external={"handle_time": value}))
    assert found.outcome is Outcome.UNMEASURABLE
    json.dumps(found.evidence, allow_nan=False)


# ------------------------------------------------------------------ after weight 1


def test_bake_passes_on_what_was_proven():
    assert verdict(GOOD, position=2, step=2, weight=1.0).outcome is Outcome.PASS


def test_bake_without_any_comparison_is_unmeasurable():
    alone = cell(weight=1.0, success=(3, 50, 0, 0))
    found = verdict(alone, weight=1.0)
    assert found.outcome is Outcome.UNMEASURABLE
    assert "profile: none" in found.reason


@pytest.mark.parametrize(("acts", "outcome"), [(False, Outcome.UNDECIDED), (True, Outcome.FAIL)])
def test_the_watch_tells_and_acts_only_if_asked(acts, outcome):
    config = from_plan({"act_after_promotion": acts})
    worse = cell(weight=1.0, position=2, success=(60, 20, 0, 0), hard=(30, 50, 0, 0))
    found = judge(config, tally(GOOD, worse, position=2, step=2, weight=1.0))
    assert (found.outcome, found.alarm) == (outcome, "watch")


# ------------------------------------------------------------------ computing again


def test_a_stored_verdict_computes_again_to_the_last_digit():
    for found in (
        verdict(GOOD, calls_per_day=42.5),
        verdict(cell(success=(3, 0, 4, 23), hard=(3, 0, 0, 27))),
        verdict(GOOD, cell(weight=1.0, position=2, success=(9, 20, 0, 0)), weight=1.0, position=2, step=2),
        judge(OUTSIDE, tally(external={"handle_time": 301.5}), Memory(beyond={"handle_time": 2})),
    ):
        stored = json.loads(json.dumps(found.evidence, allow_nan=False))
        assert stored == found.evidence
        assert rejudge(stored) == found


# ------------------------------------------------------------------ variants


def test_variants_are_judged_alone_and_combined():
    dead = tally(cell(weight=1 / 3, success=(20, 0, 4, 36), hard=(20, 0, 0, 40)))
    found = judge_variants(STANDARD, {"b": tally(GOOD), "c": dead})
    assert [v.outcome.value for v in found.values()] == ["pass", "fail"]
    assert combine(found) is Outcome.FAIL
    assert combine({"b": found["b"]}) is Outcome.PASS
    assert combine({"b": found["b"], "c": verdict()}) is Outcome.UNDECIDED


# ------------------------------------------------------------------ configs


def test_profiles():
    strict, low = gate_config("strict"), gate_config("low-traffic")
    assert (STANDARD.alpha, STANDARD.beta, STANDARD.floors) == (0.10, 0.10, (30, 100))
    assert (strict.alpha, strict.beta, strict.critical[0].margins) == (0.05, 0.05, (0.20, 0.10))
    assert (low.floors, low.critical[1].margins) == ((20, 60), (0.20, 0.08))
    assert [(m.name, m.share) for m in STANDARD.metrics] == [
        ("success", 0.5), ("hard_error", 0.25), ("slow", 0.125), ("negative", 0.125)
    ]  # fmt: skip


def test_shares_left_out_take_the_rest_in_their_proportions():
    config = from_plan(
        {"metrics": [{"name": "success"}, {"name": "negative", "share": 0.4}, {"name": "hard_error"}]}
    )
    assert {m.name: round(m.share, 9) for m in config.metrics} == {
        "success": 0.4,
        "negative": 0.4,
        "hard_error": 0.2,
    }
    assert from_plan({"metrics": [{"name": "success", "share": 0.7}]}).unbet == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("values", "weight", "step", "chosen"),
    [
        ((7,), 0.9, 3, 7),
        ((1, 2), 0.49, 3, 1),
        ((1, 2), 0.5, 1, 2),
        ((1, 2, 3), 0.1, 2, 2),
        ((1, 2, 3), 0.1, 9, 3),
    ],
)
def test_values_by_step(values, weight, step, chosen):
    assert at_step(values, weight, step) == chosen


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ({"profile": "brave"}, "gates.profile: 'brave'"),
        (
            {"metrics": [{"name": "succes"}]},
            r"metrics\[0\].name: 'succes' is not known; write one of success",
        ),
        ({"metrics": [{"name": "negative"}]}, "give one metric margins"),
        ({"metrics": [{"name": "success", "margins": [1.0]}]}, "below 1"),
        ({"metrics": [{"name": "success", "share": 1}, {"name": "slow"}]}, "leaves nothing for slow"),
        ({"metrics": [{"name": "x", "http": {"url": "u", "field": "f"}}]}, "write max: or min:"),
        ({"profile": "none", "metrics": [{"name": "success"}]}, "profile none judges no calls"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_words(gates, words):
    with pytest.raises(InputError, match=words):
        from_plan(gates)


def test_configs_survive_json():
    config = from_plan(
        {"metrics": [{"name": "success"}, {"name": "b", "custom": "b", "bad": True, "margins": [0.1]}]}
    )
    assert GateConfig.from_json(json.loads(json.dumps(judge(config, tally()).evidence["config"]))) == config


@pytest.mark.parametrize("aliased", [True, False])
def test_the_gates_of_a_plan_are_understood(aliased):
    outside = {"url": "https://m.example.com", "field": "aht", "max": 300, "for": 4}
    written = {
        "profile": "strict", "floors": [10, 20, 30], "act_after_promotion": True,
        "metrics": [{"name": "success", "margins": [0.2, 0.15, 0.1]}, {"name": "aht", "http": outside}],
    }  # fmt: skip
    config = from_plan(Gates.model_validate(written).model_dump(by_alias=aliased))
    success, aht = config.metrics
    assert (config.profile, config.alpha, config.floors, config.watch_acts) == (
        "strict",
        0.05,
        (10, 20, 30),
        True,
    )
    assert (success.share, success.margins) == (1.0, (0.2, 0.15, 0.1))
    assert (aht.external, aht.maximum, aht.looks) == (True, 300.0, 4)
    assert from_plan(Gates().model_dump(by_alias=aliased)) == STANDARD
