"""The evidence that a version needs before it gets every call, and which variant of an A/B test is best."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.shipping import best, comparison_gate, judge_against, leader, missing_evidence
from rollout.domain.gates.tally import Cell, Tally
from rollout.domain.gates.verdict import Comparison, GateOutcome, GateVerdict, Verdict
from tests.support.verdicts import ENOUGH, FEW, ab_verdict

CONFIG = gate_config("standard")


def judged(calls: int, bad: float = 0.1, weight: float = 0.25) -> Verdict:
    """The verdict on a version with these calls beside three times as many of the baseline, a tenth of them bad."""
    own, base = (round(bad * calls), calls - round(bad * calls)), (round(0.1 * 3 * calls), round(0.9 * 3 * calls))
    counts = dict.fromkeys(CONFIG.series, (*own, *base))
    cell = Cell(weight, 1, "2026-03-02", (calls, 3 * calls), (calls, 3 * calls), counts)
    return judge(CONFIG, Tally((cell,), position=1, step=1, weight=weight))


def looked(**arms: Verdict) -> GateVerdict:
    return GateVerdict(GateOutcome.PASS, None, "", arms=arms)


def test_a_version_that_nobody_judged_lacks_everything() -> None:
    assert missing_evidence(None, "b") == "no gate has judged b yet"
    assert missing_evidence(looked(c=judged(500)), "b") == "no gate has judged b yet"


def test_an_undecided_version_lacks_what_its_gate_says() -> None:
    b = judged(10)
    assert b.outcome is GateOutcome.UNDECIDED
    assert missing_evidence(looked(b=b), "b") == f"the gates of b say undecided: {b.reason.removesuffix('.')}"


def test_a_pass_at_a_small_weight_is_not_enough_for_every_call() -> None:
    calls = next(n for n in range(20, 2_000, 5) if judged(n).outcome is GateOutcome.PASS)
    lacks = missing_evidence(looked(b=judged(calls)), "b")
    assert lacks is not None
    assert lacks.startswith("the margins that hold before weight 1 are not proven of b: ")


def test_a_version_that_has_proven_them_lacks_nothing_whatever_the_others_say() -> None:
    assert missing_evidence(looked(b=judged(3_000), c=judged(10)), "b") is None


def test_a_worse_version_lacks_it_however_many_calls_there_are() -> None:
    assert missing_evidence(looked(b=judged(3_000, bad=0.2)), "b") is not None


# ------------------------------------------------------------------ variant against variant


def test_the_best_is_not_worse_than_the_baseline_and_better_than_every_other_variant() -> None:
    found = best(ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1), "d": (ENOUGH, 0.19)}))
    assert found.name == "c"
    assert found.why.startswith("c is proven not worse than the baseline, and better than b (success: evidence ")
    assert "d (success: evidence " in found.why


def test_a_single_variant_has_only_the_baseline_to_beat() -> None:
    found = best(ab_verdict({"b": (ENOUGH, 0.2)}))
    assert (found.name, found.why) == ("b", "b is proven not worse than the baseline")
    assert best(ab_verdict({"b": (ENOUGH, 0.3)})).name is None


@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_a_tie_has_no_best_however_good_both_are(rate: float) -> None:
    found = best(ab_verdict({"b": (ENOUGH, rate), "c": (ENOUGH, rate)}))
    assert found.name is None
    assert found.why.startswith("b is not proven better than c: success: evidence ")
    assert found.why.endswith(" of 10")


def test_the_better_of_two_that_are_worse_than_the_baseline_is_not_best() -> None:
    found = best(ab_verdict({"b": (ENOUGH, 0.45), "c": (ENOUGH, 0.35)}))
    assert found.name is None
    assert found.why.startswith("c has the best rate, but the gates of c say fail: ")


def test_what_is_not_proven_by_the_margins_before_weight_1_is_not_best() -> None:
    found = best(ab_verdict({"b": (400, 0.2), "c": (400, 0.4)}, baseline=(400, 0.2)))
    assert found.name is None
    assert found.why.startswith("b has the best rate, but ")


def test_few_calls_prove_nothing_whatever_they_say() -> None:
    found = best(ab_verdict({"b": (ENOUGH, 0.5), "c": (FEW, 0.0)}))
    assert found.name is None
    assert found.why.startswith("c has the best rate, but the margins that hold before weight 1 are not proven of c: ")


def test_without_calls_there_is_no_best() -> None:
    for verdict in (None, looked(), ab_verdict({"b": (0, 0.0), "c": (0, 0.0)}, baseline=(0, 0.0))):
        assert best(verdict).name is None
        assert best(verdict).why == "the variants have no calls to compare yet"


def test_a_variant_whose_calls_have_no_results_is_beaten_by_none_and_is_not_best() -> None:
    found = ab_verdict({"b": (ENOUGH, 0.1), "c": (ENOUGH, 0.1)}, lost="c")
    assert found.arms["c"].outcome is not GateOutcome.PASS
    assert found.comparison is not None
    assert found.comparison.leader == "b"


def test_the_leader_has_the_best_rate_and_of_equals_the_first() -> None:
    assert leader(ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)}).arms) == "c"
    assert leader(ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.2)}).arms) == "b"
    assert leader(ab_verdict({"b": (FEW, 0.3), "c": (ENOUGH, 0.1)}).arms) == "c", "of its own calls, however many"


def test_the_comparison_asks_for_the_first_metric_alone_with_a_margin_of_0() -> None:
    [metric] = comparison_gate(CONFIG).metrics
    assert (metric.name, metric.margins, comparison_gate(CONFIG).floors) == ("success", (0.0,), CONFIG.floors)


def test_a_comparison_is_stored_with_its_verdict_and_says_the_same_again() -> None:
    found = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)})
    again = GateVerdict.from_json(json.loads(json.dumps(found.to_json())))
    assert best(again) == best(found)
    assert "comparison" not in looked().to_json()


def compared_by(*, calls: int = ENOUGH, lost: int = 0, unavailable: str | None = None) -> GateVerdict:
    """b has proven everything beside the baseline; against c its own comparison has these calls of either."""
    found = ab_verdict({"b": (ENOUGH, 0.1), "c": (ENOUGH, 0.2)})
    pair = comparison_gate(CONFIG)
    counts = {"success": (0, calls - lost, 0, calls)}
    cell = Cell(0.5, 2, "2026-03-02", (calls, calls), (calls, calls), counts, {"success": (lost, 0)})
    tally = Tally((cell,), position=2, step=2, weight=1.0, unavailable=unavailable)
    return replace(found, comparison=Comparison("b", {"c": judge_against(pair, tally, by_strata=False)}))


def test_what_the_comparison_lacks_is_told_by_what_keeps_it_from_its_proof() -> None:
    lacks = "b is not proven better than c: "
    assert best(compared_by(calls=99)).why == lacks + "99 of 100 calls with a result in this step"
    assert best(compared_by(calls=100)).why.startswith(lacks + "success: evidence ")
    down = best(compared_by(unavailable="no answer"))
    assert down.why == lacks + "The gate cannot read the calls: no answer"
    alarm = best(compared_by(lost=60))
    assert alarm.why.startswith(lacks + "Results for success are missing more often")
    assert not alarm.why.endswith(".")


def test_two_variants_are_compared_at_every_weight_with_the_highest_floor() -> None:
    """At weight 0 or 1 one of them has no calls in this step: the earlier ones still compare."""
    said = compared_by().comparison
    assert said is not None
    figures = said.over["c"].evidence.figures
    assert (figures.floor, figures.margins, figures.canary_calls) == (100, {"success": 0.0}, ENOUGH)


def test_without_metrics_of_calls_there_is_no_leader() -> None:
    outside = {"name": "x", "http": {"url": "u", "max": 1}}
    config = from_plan({"profile": "none", "metrics": [outside]})
    cell = Cell(0.5, 1, "2026-03-02", (9, 9), (9, 9), {})
    assert leader({"b": judge(config, Tally((cell,), 1, 1, 0.5, external={"x": 0.5}))}) is None
    assert leader({}) is None
    assert leader({"b": judged(0), "c": judged(10, bad=1.0)}) == "c", "one without calls has no rate"
