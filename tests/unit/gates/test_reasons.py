"""The sentences of a verdict: which metric they name, by which counts, and what they say is still missing."""

from dataclasses import replace

import pytest

from rollout.domain.gates import reasons
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.gates.verdict import Memory
from tests.unit.gates.test_judge import GOOD, STANDARD, cell, tally, verdict

SLOW = from_plan(
    {"metrics": [{"name": "success"}, {"name": "slow", "margins": [0.2]}, {"name": "booking", "tool_failed": "book"}]}
)


def counted(calls=(50, 450), lost=(0, 0), **bad):
    """Calls of both versions, fine in everything but what is named; `lost`: of the metric that judges a sample."""
    fine = (0, calls[0], 0, calls[1])
    counts = {s: bad.get(s.replace(":", "_"), fine) for s in SLOW.series}
    return judge(SLOW, tally(Cell(0.1, 1, "2026-03-02", calls, calls, counts, {"booking": lost})))


@pytest.mark.parametrize(
    ("e", "shown"),
    [(0.123, "0.12"), (9.94, "9.9"), (10, "10"), (1234.5, "1,234"), (999_999, "999,999"), (1e6, "over a million")],
)
def test_an_e_value_is_rounded_to_the_digits_that_matter(e, shown):
    assert reasons.figure(e) == shown


@pytest.mark.parametrize("series", ["slow_p50", "slow_p90"])
def test_harm_names_the_bet_of_a_metric_that_has_more_bad_calls(series):
    half = {"slow_p50": "half", "slow_p90": "90 %"}[series]
    assert counted(**{series: (30, 20, 45, 405)}).reason == (
        f"The canary is worse: 30 of its 50 calls were slower than the baseline's usual {half}, compared with 45 of the "
        "baseline's 450 (evidence of harm over a million; the limit is 10)."
    )


def test_a_verdict_says_when_a_metric_was_judged_on_a_sample():
    note = " booking is judged on a sample: 164 of 500 calls."
    harm = counted(booking=(10, 5, 9, 140), lost=(35, 301))
    assert harm.reason.startswith("The canary is worse: 10 of its 15 calls were with a failed call of book, compared")
    assert harm.reason.endswith("the limit is 10)." + note)
    fine = counted(success=(6, 44, 60, 390), booking=(1, 14, 9, 140), lost=(35, 301))
    assert fine.reason == (
        "The canary is less than 25 points worse in success and 20 points worse in slow, as 50 calls of this step show "
        "(evidence 887, 10 needed)." + note
    )
    assert "sample" not in counted(success=(6, 44, 60, 390)).reason, "every call was read"
    unread = counted(success=(6, 44, 60, 390), booking=(0, 0, 0, 0), lost=(50, 450))
    assert unread.reason.endswith(" Not judged: booking (no data from either version)."), "none was"


def test_the_metric_with_the_strongest_evidence_is_named_by_what_it_carries():
    """Of the same counts the metric with the greater share."""
    config = from_plan({"metrics": [{"name": "negative", "share": 0.1}, {"name": "success", "share": 0.4}]})
    bad = (12, 18, 27, 243)
    found = judge(config, tally(Cell(0.1, 1, "2026-03-02", (30, 270), (30, 270), {"negative": bad, "success": bad})))
    assert "12 of its 30 calls were not successful" in found.reason


def test_amber_says_where_it_looks_worse_and_from_when_on_the_step_waits():
    found = verdict(GOOD, replace(cell(success=(4, 3, 3, 60), negative=(4, 3, 8, 55)), day="2026-03-03"))
    e = found.evidence.figures.e_gate
    assert found.reason == (
        "The canary looks worse in success, but this may still be chance: evidence of harm "
        f"{e:.2g}; from 3 on the step waits, and at 10 the gate fails."
    )


OUTSIDE = {"url": "https://m.example.com", "field": "x"}


@pytest.mark.parametrize(
    ("limits", "value", "said"),
    [
        ({"max": 300}, 300.5, "above 300 (now 300.5)"),
        ({"min": 0.5}, 0.25, "below 0.5 (now 0.25)"),
        ({"min": 1, "max": 3}, 0.5, "outside 1 to 3 (now 0.5)"),
        ({"min": 1, "max": 3}, 3.5, "outside 1 to 3 (now 3.5)"),
        ({"max": 300}, 300, None),
        ({"min": 0.5}, 0.5, None),
        ({"min": 1, "max": 3}, 1, None),
    ],
)
def test_a_value_from_elsewhere_fails_beyond_its_limit_and_not_at_it(limits, value, said):
    config = from_plan({"profile": "none", "metrics": [{"name": "x", "http": {**OUTSIDE, **limits}}]})
    found = judge(config, tally(external={"x": value}))
    assert found.outcome == ("pass" if said is None else "fail")
    if said is not None:
        assert found.reason == f"x was {said}."


def test_a_value_that_is_outside_but_not_for_long_is_named():
    metrics = [{"name": n, "http": {**OUTSIDE, "max": 3, "for": 2}} for n in ("one", "two")]
    config = from_plan({"profile": "none", "metrics": metrics})
    found = judge(config, tally(external={"one": 1, "two": 4}))
    assert found.reason == "two is outside its limit; the gate fails if it stays there."
    passed = judge(config, tally(external={"one": 1, "two": 3}))
    assert (
        passed.reason
        == "Nothing suggests that the canary is worse after 0 calls; every external metric is within its limit."
    )
    unread = judge(config, tally(external={"one": 1, "two": None}))
    assert unread.reason == "two could not be read; the rollout waits until it can."


def test_a_field_or_metric_that_no_finished_call_has_is_named_with_the_version():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "booked", "custom": "boked", "margins": [0.2]}]})
    cases = (("success", (0, 0, 60, 390), "none of the canary's 50 finished calls has success"),)
    cases += (("success", (6, 44, 0, 0), "none of the baseline's 450 finished calls has success"),)
    cases += (("booked", (0, 0, 60, 390), "none of the canary's 50 finished calls has custom field 'boked'"),)
    for name, counts, said in cases:
        found = judge(
            config,
            tally(replace(GOOD, counts={"success": (6, 44, 60, 390), "booked": (6, 44, 60, 390)} | {name: counts})),
        )
        assert found.outcome == "unmeasurable"
        assert found.reason == (
            f"{name} cannot be measured: {said}. "
            "Check the name, and that call analysis is on; until then this gate cannot pass."
        )


@pytest.mark.parametrize(("finished", "outcome"), [(29, "undecided"), (30, "unmeasurable")])
def test_a_metric_without_values_is_unmeasurable_from_the_floor_of_the_step_on(finished, outcome):
    blind = replace(GOOD, closed=(finished, 400), counts={**GOOD.counts, "success": (0, 0, 60, 390)})
    assert verdict(blind).outcome == outcome


def test_waiting_says_what_is_not_ruled_out_yet_by_the_metric_with_the_least_proof():
    def waits(found):
        assert (found.outcome, found.alarm) == ("undecided", None)
        return found.reason

    assert waits(counted(success=(6, 44, 60, 390), slow_p90=(8, 42, 45, 405))) == (
        "16 % of the canary's 50 calls were slower than the baseline's usual 90 %, 10 % of the baseline's 450. "
        "Not enough calls yet to rule out a 20-point rise in slow."
    )
    assert waits(counted(success=(9, 41, 45, 405))) == (
        "82 % of the canary's 50 calls were successful, 90 % of the baseline's 450. "
        "Not enough calls yet to rule out a 25-point drop."
    )
    even = waits(counted((10, 90), success=(5, 5, 45, 45)))
    assert even.startswith("50 % of the canary's 10 calls were successful, 50 % of the baseline's 90. ")
    alone, only = counted((4, 0), success=(1, 3, 0, 0)), counted((0, 30), success=(0, 0, 4, 26))
    assert waits(alone) == "Not enough calls yet to rule out a 25-point drop.", "there are no two rates"
    assert waits(only) == "Not enough calls yet to rule out a 20-point rise in slow.", "there are no two rates"
    assert waits(verdict(cell(success=(1, 9, 14, 76)), config=replace(STANDARD, variant="b"))) == (
        "0 % of variant b's 10 calls were ended by an error, 0 % of the baseline's 90. "
        "Not enough calls yet to rule out a 15-point rise in hard_error of variant b."
    )
    assert waits(verdict(GOOD, config=replace(STANDARD, floors=(51,)))) == (
        "This step needs 51 judged calls of the canary; 50 so far."
    )


# ------------------------------------------------------------------ alarms


def test_the_split_alarm_says_what_was_expected_of_all_calls_together():
    found = verdict(cell(success=(0, 0, 14, 86)), replace(cell(success=(5, 45, 5, 45)), weight=0.5))
    assert found.alarm == "split"
    assert found.reason.startswith(
        "The calls do not follow the weights: 50 of 200 went to the canary, 10 %, 50 % were expected (evidence "
    )


@pytest.mark.parametrize(("strata_from", "where"), [(10.0, " on +14155550109"), (1e300, "")])
def test_the_split_alarm_names_a_number_from_the_evidence_on_that_has_the_split_paid_by_number(strata_from, where):
    """All calls together tell it sooner than the number does."""
    strata = {f"+1415555010{i}": {"": (i, 40 - i)} for i in (1, 2)} | {"+14155550109": {"": (0, 80)}}
    made = replace(cell(success=(0, 3, 20, 137)), strata=strata)
    config = replace(STANDARD, strata_from=strata_from)
    found = judge(config, tally(made, strata=strata_of([made], list(strata))))
    e = found.evidence.figures.e_split
    assert e["calls"] > e["strata"] >= 10
    assert f"The calls{where} do not follow the weights: {'0 of 80' if where else '3 of 160'} went" in found.reason


def test_the_split_alarm_names_the_time_of_day_where_numbers_are_not_told_apart():
    strata = {"00-06": {"": (10, 90)}, "06-12": {"": (10, 90)}, "12-18": {"": (34, 66)}}
    made = replace(cell(success=(8, 46, 36, 210)), strata=strata)
    found = judge(STANDARD, tally(made, strata=strata_of([made], list(strata))))
    e = found.evidence.figures.e_split
    assert max(e, key=e.get) == "strata"
    assert (
        "The calls between 12-18 UTC do not follow the weights: 34 of 100 went to the canary, 10 % were" in found.reason
    )


def test_of_edition_1_all_calls_are_named_where_they_tell_more_than_the_results():
    config = gate_config(edition=1)
    calls = replace(GOOD, started=(0, 500), counts={**GOOD.counts, "success": (0, 5, 60, 390)})
    assert judge(config, tally(calls)).reason.startswith("The calls do not follow the weights: 0 of 500")
    equal = replace(GOOD, started=(0, 450), counts=dict.fromkeys(GOOD.counts, (0, 0, 60, 390)))
    assert judge(config, tally(equal)).reason.startswith("The calls do not follow the weights: 0 of 450")


def test_the_labels_alarm_names_the_metric_of_the_series_whose_results_are_missing_most():
    counts = {"success": (6, 44, 60, 390), "slow:p50": (5, 30, 45, 405), "slow:p90": (5, 30, 45, 405)}
    made = Cell(0.1, 1, "2026-03-02", (50, 450), (50, 450), counts, {"slow:p50": (15, 0), "slow:p90": (15, 0)})
    config = from_plan({"metrics": [{"name": "success"}, {"name": "slow", "margins": [0.2]}]})
    whole = replace(made, day="2026-03-03", counts=dict.fromkeys(counts, (0, 1, 0, 9)), lost={})
    found = judge(config, tally(made, whole))
    assert found.alarm == "labels"
    assert found.reason.startswith(
        "Results for slow are missing more often for one version: 15 of 51 finished calls of the canary have none, "
        "and 0 of 459 of the baseline's (evidence "
    )


# ------------------------------------------------------------------ what is still needed


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_nothing_is_forecast_where_nothing_is_compared(weight):
    look = tally(GOOD, weight=weight)
    assert reasons.still_needed(STANDARD, look, verdict(GOOD).evidence.figures) is None


def test_the_floor_is_forecast_at_the_weight_of_the_step():
    """Everything is proven: only calls of the step are missing."""
    made = judge(replace(STANDARD, floors=(60,)), tally(GOOD))
    found = reasons.still_needed(made.evidence.config, made.evidence.tally, made.evidence.figures)
    assert (found.what, found.half) == ("calls", pytest.approx((60 - 50) / 0.1))
    over = replace(made.evidence.figures, canary_calls=61)
    assert reasons.still_needed(made.evidence.config, made.evidence.tally, over).half == 0


def test_the_forecast_is_that_of_the_metric_that_takes_longest_on_the_calls_of_its_wave():
    few = cell(success=(2, 8, 14, 76))

    def needed(*cells, config=STANDARD, **more):
        found = judge(config, Tally(cells, 1, 1, 0.1, narrow=True, **more))
        return reasons.still_needed(found.evidence.config, found.evidence.tally, found.evidence.figures)

    alone = needed(few)
    assert (alone.what, alone.half) == ("success", pytest.approx(1829.6, rel=1e-3))
    empty = replace(few, counts=dict.fromkeys(few.counts, (0, 0, 0, 0)), wave=2)
    assert needed(few, empty, wave=2) is None, "no call of the wave tells its rate"
    first = gate_config(edition=1)
    assert needed(few, empty, config=first, wave=2) == needed(few, config=first), "which edition 1 did not ask for"


def test_a_fail_is_remembered_in_its_words():
    assert verdict(GOOD, memory=Memory(failed="It was bad.")).reason == "It was bad."
