"""The verdict: each row of its table, what is remembered, what is refused, and that it can be computed again."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.domain.errors import InputError
from rollout.domain.gates.judge import combine, judge, rejudge
from rollout.domain.gates.profiles import GateConfig, at_step, before_full, from_plan, gate_config
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.gates.verdict import GateEvidence, GateOutcome, Memory, Verdict
from rollout.domain.plan.gates import Gates, with_new_names

STANDARD = gate_config()


def cell(
    weight=0.1, position=1, day="2026-03-02", *, success=(0, 0, 0, 0), hard=None, slow=None, negative=None, **more
):
    """A cell whose other metrics are as fine as can be."""
    nc, nb = success[0] + success[1], success[2] + success[3]
    fine = (0, nc, 0, nb)
    counts = {
        "success": success,
        "hard_error": hard or fine,
        "slow:p50": slow or fine,
        "slow:p90": slow or fine,
        "negative": negative or fine,
        **more,
    }
    return Cell(weight, position, day, (nc, nb), (nc, nb), counts)


def tally(*cells, position=1, step=1, weight=0.1, **more):
    return Tally(tuple(cells), position, step, weight, **more)


GOOD = cell(success=(6, 44, 60, 390), hard=(0, 50, 3, 447), slow=(5, 45, 45, 405), negative=(10, 40, 90, 360))


def stored(found):
    """A verdict as it comes back from where it was kept."""
    return Verdict.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))


def verdict(*cells, config=STANDARD, memory=None, **more):
    return judge(config, tally(*cells, **more), memory)


# ------------------------------------------------------------------ the table, row by row


def test_an_outage_fails_at_the_third_canary_call():
    def dead(n):
        return verdict(cell(success=(n, 0, 4, 23), hard=(n, 0, 0, 27)))

    assert dead(2).outcome is GateOutcome.UNDECIDED
    assert dead(3).outcome is GateOutcome.FAIL
    assert "3 of its 3 calls" in dead(3).reason and "the limit is 10" in dead(3).reason


def test_two_bad_calls_never_fail_however_strong():
    two = cell(success=(2, 0, 0, 900), hard=(2, 0, 0, 900))
    found = verdict(two)
    assert found.evidence.figures.e_gate > 10
    assert (found.outcome, found.alarm) != (GateOutcome.FAIL, None)


def test_a_proven_step_passes_and_says_what_was_proven():
    found = verdict(GOOD)
    assert (found.outcome, found.alarm) == (GateOutcome.PASS, None)
    assert "25 points worse in success" in found.reason and "50 calls" in found.reason


def test_the_same_calls_do_not_pass_the_narrower_margin_of_weight_one_half():
    assert verdict(replace(GOOD, position=2), weight=0.5, step=2, position=2).outcome is GateOutcome.UNDECIDED


def test_the_floor_counts_this_steps_calls_only():
    found = verdict(GOOD, position=2, step=2)
    assert found.outcome is GateOutcome.UNDECIDED
    assert "needs 30 judged calls of the canary; 0 so far" in found.reason


def test_amber_holds_a_step_that_is_proven_but_doubtful():
    found = verdict(GOOD, replace(cell(success=(4, 3, 3, 60), negative=(4, 3, 8, 55)), day="2026-03-03"))
    assert 3 <= found.evidence.figures.e_gate < 10
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, "amber")


@pytest.mark.parametrize(("canary", "calls"), [(0, 100), (60, 100)])
def test_calls_that_ignore_the_weights_raise_the_alarm_and_never_fail(canary, calls):
    bad = canary // 7
    found = verdict(cell(success=(bad, canary - bad, (calls - canary) // 7, calls - canary - (calls - canary) // 7)))
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, "split")
    assert f"{canary} of {calls}" in found.reason and "webhook" in found.reason


def test_edition_1_results_lost_on_one_side_raise_the_split_alarm():
    lost = replace(GOOD, started=(200, 1800), counts={**GOOD.counts, "success": (0, 50, 270, 1530)})
    found = verdict(lost, config=gate_config(edition=1))
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, "split")
    assert "Results for success" in found.reason


@pytest.mark.parametrize("lost", [(15, 0), (0, 200)], ids=["canary", "baseline"])
def test_results_that_go_missing_on_one_side_raise_the_labels_alarm_and_never_pass(lost):
    nc, nb = 50 - lost[0], 450 - lost[1]
    success = (nc // 7, nc - nc // 7, nb // 7, nb - nb // 7)
    one_sided = replace(GOOD, counts={**GOOD.counts, "success": success}, lost={"success": lost})
    found = verdict(one_sided)
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, "labels")
    assert f"{lost[0]} of {lost[0] + nc} finished calls of the canary" in found.reason
    assert f"{lost[1]} of {lost[1] + nb} of the baseline's" in found.reason


def test_results_that_go_missing_on_both_sides_alike_are_no_alarm():
    both = replace(GOOD, lost={"success": (6, 54), "hard_error": (1, 9)})
    assert verdict(both).outcome is GateOutcome.PASS


def test_a_waves_own_proof_is_asked_besides_the_pooled_one():
    ten_worse = replace(cell(success=(3, 9, 15, 85), hard=(0, 12, 1, 99)), wave=2, position=3, day="2026-03-09")
    config = replace(STANDARD, floors=(10,))
    found = verdict(GOOD, ten_worse, config=config, wave=2, position=3)
    assert found.outcome is GateOutcome.UNDECIDED
    assert "more calls" in found.forecast
    assert verdict(GOOD, replace(ten_worse, wave=1), config=config, wave=1, position=3).outcome is GateOutcome.PASS
    assert verdict(GOOD, ten_worse, config=replace(config, edition=1), wave=2, position=3).outcome is GateOutcome.PASS


def test_the_step_before_weight_1_asks_for_the_narrowest_margin_whatever_its_own_weight():
    found = verdict(GOOD, narrow=True)
    assert found.outcome is GateOutcome.UNDECIDED
    assert found.evidence.figures.margins == {"success": 0.08, "hard_error": 0.05}
    explicit = from_plan({"metrics": [{"name": "success", "margins": [0.25, 0.2, 0.1]}]})
    figures = judge(explicit, tally(GOOD, narrow=True)).evidence.figures
    assert figures.margins == {"success": 0.25}, "a list of three or more belongs to the steps"


@pytest.mark.parametrize(
    ("shares", "before"), [([0.1, 1], [1]), ([0.1, 0.5, 1], [2]), ([0.1, 0.3], []), ([1], []), ([0.5, 0.1, 1, 1], [2])]
)
def test_which_steps_stand_before_weight_1(shares, before):
    assert [s for s in range(1, len(shares) + 1) if before_full(shares, s)] == before


def two_numbers(calls=400):
    """A harmless canary; one number of base 10 % sends 70 % of its calls past the split, one of base 40 % none."""
    quiet, loud = (4, 36, 34, 326), (18, 27, 140, 260)  # canary shares 10 % and 10 %
    quiet = tuple(int(n * (0.3 if i < 2 else 1.19)) for i, n in enumerate(quiet))
    counts = tuple(a + b for a, b in zip(quiet, loud, strict=True))
    strata = {
        "+14155550100": {"": (quiet[0] + quiet[1], quiet[2] + quiet[3])},
        "+14155550101": {"": (loud[0] + loud[1], loud[2] + loud[3])},
    }
    strata = {name: dict.fromkeys(("", *STANDARD.series), arms[""]) for name, arms in strata.items()}
    made = replace(cell(success=counts), strata=strata)
    return tally(made, strata=strata_of([made], list(strata)))


def test_a_split_that_is_wrong_on_one_number_is_paid_for_by_number_and_remembered():
    found = judge(STANDARD, two_numbers())
    trusting = judge(STANDARD, replace(two_numbers(), strata=()))
    assert found.memory.by_strata and not trusting.memory.by_strata
    for name, e in found.evidence.figures.harm.items():
        assert e < trusting.evidence.figures.harm[name]
    still = judge(STANDARD, replace(two_numbers(), strata=()), found.memory)
    assert still.evidence.figures.harm == found.evidence.figures.harm
    assert rejudge(stored(found).evidence) == found


def test_while_the_numbers_follow_their_weights_their_counts_are_not_kept():
    fair = tally(replace(GOOD, strata={"a": {"": (25, 225)}, "b": {"": (25, 225)}}))
    found = judge(STANDARD, replace(fair, strata=strata_of(fair.cells, ["a", "b"])))
    assert not found.memory.by_strata
    kept = stored(found).evidence.tally
    assert kept.cells[0].strata == {}
    assert kept.strata == (("a", ((0.1, 25, 225),)), ("b", ((0.1, 25, 225),)))
    assert rejudge(stored(found).evidence) == found


def test_the_split_alarm_names_the_number_that_an_override_sits_on():
    strata = {f"+1415555010{i}": {"": (10, 90)} for i in range(3)} | {"+14155550109": {"": (0, 100)}}
    made = replace(cell(success=(4, 26, 54, 316)), strata=strata)
    found = judge(STANDARD, tally(made, strata=strata_of([made], list(strata))))
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, "split")
    assert "on +14155550109 do not follow the weights: 0 of 100" in found.reason


@pytest.mark.parametrize(
    ("series", "who"), [({"negative": (0, 0, 90, 360)}, "the canary"), ({"slow": (0, 0, 0, 0)}, "either version")]
)
def test_a_pass_names_the_metrics_that_had_no_data(series, who):
    name = next(iter(series))
    found = verdict(
        replace(
            GOOD, counts={**GOOD.counts, **dict.fromkeys([s for s in GOOD.counts if s.startswith(name)], series[name])}
        )
    )
    assert found.outcome is GateOutcome.PASS
    assert found.reason.endswith(f"Not judged: {name} (no data from {who}).")
    assert "Not judged" not in verdict(GOOD).reason
    first = judge(gate_config(edition=1), found.evidence.tally)
    assert (first.outcome, "Not judged" in first.reason) == (GateOutcome.PASS, False), "as it was said under edition 1"


def test_a_pass_at_weight_1_names_every_metric_without_data_too():
    blind = cell(success=(6, 44, 60, 390), hard=(0, 50, 3, 447), slow=(0, 0, 45, 405), negative=(10, 40, 90, 360))
    none = replace(GOOD, counts={**GOOD.counts, "negative": (0, 0, 0, 0)})
    for before, told in (
        (GOOD, ""),
        (blind, " Not judged: slow (no data from the canary)."),
        (none, " Not judged: negative (no data from either version)."),
    ):
        full = cell(weight=1.0, position=2, success=(6, 44, 0, 0))
        found = verdict(before, full, weight=1.0, position=2, step=2)
        assert found.outcome is GateOutcome.PASS
        assert found.reason == "No calls go to the baseline, and nothing suggests that the canary is worse." + told


def test_provider_down_is_unmeasurable_not_fail_and_not_pass():
    found = verdict(GOOD, unavailable="Retell does not answer since 14:02")
    assert found.outcome is GateOutcome.UNMEASURABLE
    assert "Retell does not answer" in found.reason


def test_no_calls_wait_with_the_reason():
    found = verdict(calls_per_day=50)
    assert (found.outcome, found.alarm) == (GateOutcome.UNDECIDED, None)
    assert found.reason == "Not enough calls yet to rule out a 25-point drop."
    assert found.outlook == "Not enough calls yet to rule out a 25-point drop: no forecast yet."


def test_waiting_names_the_metric_and_the_forecast():
    few = cell(success=(1, 9, 14, 76), hard=(0, 10, 1, 89))
    found = verdict(few, calls_per_day=50)
    assert found.outcome is GateOutcome.UNDECIDED
    assert re.match(
        r"0 % of the canary's 10 calls were ended by an error, 1 % of the baseline's 90\. Not enough calls yet to rule out "
        r"a 15-point rise in hard_error: about \d+ more calls, [0-9.]+ days at this week's traffic\.$",
        found.outlook,
    )


def test_a_misnamed_field_is_unmeasurable_and_never_passes():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "booked", "custom": "boked", "margins": [0.2]}]})
    blind = {**GOOD.counts, "booked": (0, 0, 0, 0)}
    found = judge(config, tally(replace(GOOD, counts=blind)))
    assert found.outcome is GateOutcome.UNMEASURABLE
    assert "'boked'" in found.reason
    early = replace(cell(success=(0, 2, 3, 20)), counts={"success": (0, 2, 3, 20), "booked": (0, 0, 0, 0)})
    assert judge(config, tally(early)).outcome is GateOutcome.UNDECIDED


def test_a_metric_without_calls_counts_one():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "voicemail"}]})
    silent = replace(GOOD, counts={**GOOD.counts, "voicemail": (0, 0, 0, 0)})
    found = judge(config, tally(silent))
    assert found.evidence.figures.harm["voicemail"] == 1.0
    assert found.outcome is GateOutcome.PASS


def test_no_gates_pass():
    assert judge(gate_config("none"), tally()).outcome is GateOutcome.PASS
    assert from_plan({"profile": "none"}).metrics == ()


# ------------------------------------------------------------------ memory


def test_a_fail_stays_a_fail():
    dead = verdict(cell(success=(3, 0, 4, 23), hard=(3, 0, 0, 27)))
    later = verdict(GOOD, memory=dead.memory)
    assert (later.outcome, later.reason) == (GateOutcome.FAIL, dead.reason)


OUTSIDE = from_plan(
    {
        "profile": "none",
        "metrics": [{"name": "handle_time", "http": {"url": "https://m.example", "field": "x", "max": 300, "for": 3}}],
    }
)


def test_an_outside_value_fails_after_its_looks_in_a_row():
    memory, seen = Memory(), []
    for value in (310, 290, 310, 320, None, 330):
        found = judge(OUTSIDE, tally(external={"handle_time": value}), memory)
        memory = found.memory
        seen.append(found.outcome.value)
    assert seen == ["undecided", "pass", "undecided", "undecided", "unmeasurable", "fail"]
    assert "above 300 on 3 looks in a row (now 330)" in found.reason


def test_looks_beyond_a_limit_are_remembered_by_value_and_those_that_read_nothing_leave_the_count():
    source = {"url": "https://m.example", "field": "x", "max": 3, "for": 9}
    config = from_plan({"metrics": [{"name": "success"}, *({"name": n, "http": source} for n in ("a", "b"))]})
    memory = None
    for a, b, beyond in (
        (4, 1, (1, 0)),
        (5, None, (2, 0)),
        (None, 9, (2, 1)),
        (float("inf"), 3, (2, 0)),
        (3, 4, (0, 1)),
    ):
        memory = judge(config, tally(GOOD, external={"a": a, "b": b}), memory).memory
        assert memory.beyond == dict(zip("ab", beyond, strict=True))


def test_rows_are_asked_in_their_order():
    """Each of these looks has the reasons of those after it as well."""
    source = {"url": "https://m.example", "field": "x", "max": 3, "for": 2}
    config = from_plan({"metrics": [{"name": n} for n in ("success", "negative")] + [{"name": "x", "http": source}]})
    worse = (12, 18, 54, 306)
    ill = Cell(0.1, 1, "2026-03-02", (80, 360), (80, 360), {"success": worse, "negative": (0, 0, 9, 351)})
    ill = replace(ill, lost={"success": (50, 0)})
    look = tally(ill, external={"x": 9.0}, unavailable="no answer")
    fails = judge(config, look, Memory(beyond={"x": 1}))
    assert (fails.outcome, fails.reason.split(" ")[0]) == (GateOutcome.FAIL, "x")
    seen = [judge(config, look)]
    assert seen[0].reason == "The gate cannot read the calls: no answer."
    look = replace(look, unavailable=None)
    seen.append(judge(config, look))
    look = replace(look, cells=(replace(ill, started=(40, 360), closed=(40, 360)),))
    seen.append(judge(config, look))
    look = replace(look, cells=(replace(look.cells[0], lost={}),))
    seen.append(judge(config, replace(look, external={"x": None})))
    seen.append(judge(config, look))
    calm = replace(look.cells[0], counts={"success": (5, 35, 54, 306), "negative": (4, 36, 40, 320)})
    seen.append(judge(config, replace(look, cells=(calm,))))
    seen.append(judge(config, replace(look, cells=(calm,), external={"x": 3.0})))
    assert [v.alarm or v.outcome for v in seen] == [
        "unmeasurable",
        "split",
        "labels",
        "unmeasurable",
        "amber",
        "undecided",
        "pass",
    ]
    assert seen[5].reason == "x is outside its limit; the gate fails if it stays there."


def test_at_weight_1_a_value_beyond_its_limit_still_waits_for_its_looks():
    source = {"url": "https://m.example", "field": "x", "max": 3, "for": 2}
    config = from_plan({"metrics": [{"name": "success"}, {"name": "x", "http": source}]})
    look = {"weight": 1.0, "position": 2, "step": 2}
    assert judge(config, tally(GOOD, external={"x": 4}, **look)).outcome is GateOutcome.UNDECIDED
    assert judge(config, tally(GOOD, external={"x": 3}, **look)).outcome is GateOutcome.PASS


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_outside_value_that_is_no_number_holds(value):
    found = judge(OUTSIDE, tally(external={"handle_time": value}))
    assert found.outcome is GateOutcome.UNMEASURABLE
    stored(found)


# ------------------------------------------------------------------ after weight 1


def test_bake_passes_on_what_was_proven():
    assert verdict(GOOD, position=2, step=2, weight=1.0).outcome is GateOutcome.PASS


def test_bake_without_any_comparison_is_unmeasurable():
    alone = cell(weight=1.0, success=(3, 50, 0, 0))
    found = verdict(alone, weight=1.0)
    assert found.outcome is GateOutcome.UNMEASURABLE
    assert "profile: none" in found.reason


@pytest.mark.parametrize(("acts", "outcome"), [(False, GateOutcome.UNDECIDED), (True, GateOutcome.FAIL)])
def test_the_watch_tells_and_acts_only_if_asked(acts, outcome):
    config = from_plan({"act_at_full_weight": acts})
    worse = cell(weight=1.0, position=2, success=(60, 20, 0, 0), hard=(30, 50, 0, 0))
    full = tally(GOOD, worse, position=2, step=2, weight=1.0, last=True)
    found = judge(config, full)
    assert (found.outcome, found.alarm) == (outcome, "watch")
    assert "alarm is at 100" in found.reason
    assert "alarm is at 40" in judge(replace(config, watch_alarm=40.0), full).reason
    earlier = judge(config, replace(full, last=False))
    assert earlier.outcome is GateOutcome.UNDECIDED, "it acts in the last hold only"
    assert judge(config, replace(full, weight=0.5)).outcome is GateOutcome.UNDECIDED, "and at weight 1"
    first = replace(config, edition=1)
    assert judge(first, replace(full, last=False)).outcome is outcome, "under edition 1 in every hold at weight 1"
    exact = replace(config, watch_alarm=found.evidence.figures.e_watch)
    assert judge(exact, full).alarm == "watch", "from the alarm on"


def days_at_full_weight(good, dead, edition):
    """A look after so many good days of 50 calls at weight 1, and so many calls of an outage."""
    fine = [cell(weight=1.0, position=2, day=f"2026-03-{d:02}", success=(8, 42, 0, 0)) for d in range(3, 3 + good)]
    gone = cell(weight=1.0, position=2, day="2026-03-28", success=(dead, 0, 0, 0), hard=(dead, 0, 0, 0))
    full = tally(GOOD, *fine, gone, position=2, step=2, weight=1.0, last=True)
    return judge(gate_config(edition=edition), full)


@pytest.mark.parametrize("good", [1, 7, 14])
def test_an_outage_after_good_days_at_weight_1_is_told_within_eight_calls(good):
    assert days_at_full_weight(good, 0, 2).outcome is GateOutcome.PASS
    told = next(n for n in range(1, 100) if days_at_full_weight(good, n, 2).alarm == "watch")
    assert told <= 8
    assert days_at_full_weight(good, told, 1).alarm is None, "one ledger is protected by its past"


# ------------------------------------------------------------------ computing again


def test_a_stored_verdict_computes_again_to_the_same_figures():
    for found in (
        verdict(GOOD, calls_per_day=42.5),
        verdict(cell(success=(3, 0, 4, 23), hard=(3, 0, 0, 27))),
        verdict(GOOD, cell(weight=1.0, position=2, success=(9, 20, 0, 0)), weight=1.0, position=2, step=2),
        judge(OUTSIDE, tally(external={"handle_time": 301.5}), Memory(beyond={"handle_time": 2})),
    ):
        assert stored(found).to_json() == found.to_json()
        assert rejudge(stored(found).evidence) == found


# ------------------------------------------------------------------ variants


def test_variants_are_judged_alone_and_combined():
    dead = tally(cell(weight=1 / 3, success=(20, 0, 4, 36), hard=(20, 0, 0, 40)))
    found = {"b": judge(STANDARD, tally(GOOD)), "c": judge(STANDARD, dead)}
    assert [v.outcome.value for v in found.values()] == ["pass", "fail"]
    assert combine(found) is GateOutcome.FAIL
    assert combine({"b": found["b"]}) is GateOutcome.PASS
    assert combine({"b": found["b"], "c": verdict()}) is GateOutcome.UNDECIDED
    down = verdict(unavailable="no answer")
    assert combine({"b": found["b"], "c": verdict(), "d": down}) is GateOutcome.UNMEASURABLE
    assert combine({**found, "d": down}) is GateOutcome.FAIL
    assert combine({}) is GateOutcome.PASS


# ------------------------------------------------------------------ configs


def test_profiles():
    strict, low = gate_config("strict"), gate_config("low-traffic")
    assert (STANDARD.alpha, STANDARD.beta, STANDARD.floors) == (0.10, 0.10, (30, 100))
    assert (strict.alpha, strict.beta, strict.critical[0].margins) == (0.05, 0.05, (0.20, 0.08))
    assert STANDARD.critical[0].margins == (0.25, 0.08)
    assert gate_config(edition=1).critical[0].margins == (0.25, 0.10)
    assert gate_config("strict", edition=1).critical[0].margins == (0.20, 0.10)
    assert gate_config("low-traffic", edition=1).critical == low.critical
    assert (low.floors, low.critical[1].margins) == ((20, 60), (0.20, 0.08))
    assert [(m.name, m.share) for m in STANDARD.metrics] == [
        ("success", 0.5),
        ("hard_error", 0.25),
        ("slow", 0.125),
        ("negative", 0.125),
    ]


def test_shares_left_out_take_the_rest_in_their_proportions():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "negative", "share": 0.4}, {"name": "hard_error"}]})
    assert {m.name: round(m.share, 9) for m in config.metrics} == {"success": 0.4, "negative": 0.4, "hard_error": 0.2}
    assert from_plan({"metrics": [{"name": "success", "share": 0.7}]}).unbet == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("values", "weight", "step", "chosen"),
    [((7,), 0.9, 3, 7), ((1, 2), 0.49, 3, 1), ((1, 2), 0.5, 1, 2), ((1, 2, 3), 0.1, 2, 2), ((1, 2, 3), 0.1, 9, 3)],
)
def test_values_by_step(values, weight, step, chosen):
    assert at_step(values, weight, step) == chosen


@pytest.mark.parametrize(("values", "chosen"), [((0.3,), 0.3), ((0.3, 0.1), 0.1), ((0.1, 0.3), 0.1), ((3, 2, 1), 3)])
def test_the_narrower_of_two_holds_before_weight_1_in_whatever_order_they_stand(values, chosen):
    assert at_step(values, 0.1, 1, narrow=True) == chosen


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ({"profile": "brave"}, "gates.profile: 'brave'"),
        ({"metrics": [{"name": "succes"}]}, r"metrics\[0\].name: 'succes' is not known; write one of success"),
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
    config = from_plan({"metrics": [{"name": "success"}, {"name": "b", "custom": "b", "bad": True, "margins": [0.1]}]})
    assert GateConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("aliased", [True, False])
def test_the_gates_of_a_plan_are_understood(aliased):
    outside = {"url": "https://m.example.com", "field": "aht", "max": 300, "for": 4}
    written = {
        "profile": "strict",
        "floors": [10, 20, 30],
        "act_at_full_weight": True,
        "metrics": [{"name": "success", "margins": [0.2, 0.15, 0.1]}, {"name": "aht", "http": outside}],
    }
    config = from_plan(Gates.model_validate(written).model_dump(by_alias=aliased))
    success, aht = config.metrics
    assert (config.profile, config.alpha, config.floors, config.watch_acts) == ("strict", 0.05, (10, 20, 30), True)
    assert (success.share, success.margins) == (1.0, (0.2, 0.15, 0.1))
    assert (aht.external, aht.maximum, aht.looks) == (True, 300.0, 4)
    assert from_plan(Gates().model_dump(by_alias=aliased)) == STANDARD


LOOKS_OF_EDITION_1 = json.loads((Path(__file__).parent / "data" / "looks-of-edition-1.json").read_text())


@pytest.mark.parametrize("look", LOOKS_OF_EDITION_1, ids=lambda look: f"{look['outcome']} {look['alarm']}")
def test_a_look_stored_under_the_first_edition_computes_again_to_the_same_figures(look):
    """As the program wrote them that knew no other rules; its profiles had other margins."""
    kept = GateEvidence.from_json(look["evidence"])
    again = rejudge(kept)
    assert (again.outcome, again.alarm) == (look["outcome"], look["alarm"])
    assert again.evidence.figures.agrees_with(kept.figures)


def test_a_history_is_stored_with_the_look_and_computes_again():
    config = replace(STANDARD, history={"success": 0.1234, "hard_error": 0.0})
    found = judge(config, tally(GOOD))
    assert stored(found).evidence.config.history == config.history
    assert found.evidence.figures.harm != verdict(GOOD).evidence.figures.harm
    assert rejudge(stored(found).evidence) == found


def test_the_former_name_of_a_key_is_refused_with_the_new_one():
    with pytest.raises(ValueError, match="write act_at_full_weight"):
        Gates.model_validate({"act_after_promotion": False})
    stored = {"name": "x", "gates": {"profile": "strict", "act_after_promotion": True}}
    assert with_new_names(stored)["gates"] == {"profile": "strict", "act_at_full_weight": True}
    assert with_new_names({"name": "x"}) == {"name": "x"}


@pytest.mark.parametrize(
    "cells",
    [
        (),
        (cell(success=(20, 0, 10, 90)),),
        (cell(success=(8, 3, 3, 60)),),
        (cell(success=(1, 9, 14, 76)),),
        (cell(success=(0, 0, 14, 86)),),
        (replace(GOOD, counts={**GOOD.counts, "negative": (0, 0, 90, 360)}),),
        (replace(GOOD, lost={"success": (15, 0)}),),
        (GOOD, cell(weight=1.0, position=2, success=(6, 44, 0, 0))),
    ],
)
def test_a_variants_verdict_names_the_variant_and_no_canary(cells):
    last = cells[-1] if cells else None
    at_full = {"weight": 1.0, "position": 2, "step": 2} if last is not None and last.weight == 1.0 else {}
    found = verdict(*cells, config=replace(STANDARD, variant="b"), **at_full)
    assert "ariant b" in found.reason and "canary" not in found.reason
    assert rejudge(found.evidence).reason == found.reason
