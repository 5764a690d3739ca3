"""The figures for people agree with the verdict they belong to."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.forecast_wording import words
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.summary import ArmCalls, Meter, meters, summarise, wilson
from rollout.domain.gates.tally import Cell, Tally
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.machine import Phase
from rollout.interfaces.views import gates
from tests.support.values import rollout
from tests.support.verdicts import ENOUGH, ab_verdict

FINE = dict.fromkeys(("hard_error", "slow:p50", "slow:p90", "negative"), (0, 50, 0, 450))
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def shown(success, weight=0.1, per_day=50.0, cells=True, config=None, **more):
    nc, nb = success[0] + success[1], success[2] + success[3]
    cell = Cell(weight, 1, "2026-03-02", (nc, nb), (nc, nb), {**FINE, "success": success})
    arm = judge(config or gate_config(), Tally((cell,) if cells else (), 1, 1, weight, calls_per_day=per_day, **more))
    found = GateVerdict(arm.outcome, arm.alarm, arm.reason, arms={"canary": arm})
    return summarise(rollout(verdict=found))


def test_a_row_shows_counts_rates_difference_and_interval():
    (arm,) = shown((10, 40, 45, 405)).arms
    row = arm.metrics[0]
    assert (row.name, row.canary.rate, row.baseline.rate) == ("success", 0.2, 0.1)
    assert row.difference == pytest.approx(0.1)
    assert row.interval[0] < 0.1 < row.interval[1]
    assert [m.outcome for m in arm.metrics if m.name == "slow"] == ["slow:p50", "slow:p90"]
    json.dumps(gates.arms(shown((10, 40, 45, 405))), allow_nan=False)


def test_an_interval_says_worse_when_the_forty_bets_do():
    assert shown((3, 0, 4, 23)).arms[0].metrics[0].interval[0] >= 0


def test_meters_end_where_the_verdict_is_made() -> None:
    config = from_plan({"metrics": [{"name": n, "share": s} for n, s in (("success", 0.4), ("slow", 0))]})
    (arm,) = shown((1, 9, 10, 20), config=config).arms
    assert [(m.outcome, m.harm.line) for m in arm.metrics] == [
        ("success", pytest.approx(25.0)),
        ("slow:p50", math.inf),
        ("slow:p90", math.inf),
    ]
    success, slow, _ = arm.metrics
    assert (success.proof.line, success.margin, slow.proof, slow.margin) == (10.0, 0.25, None, None)
    assert (arm.rollback.line, arm.split.line, arm.labels) == (10.0, 100.0, Meter(1.0, 100.0))
    assert arm.split.e > 1, "a quarter of the calls at a tenth"
    assert (success.canary, success.baseline, success.sample) == (ArmCalls(1, 10), ArmCalls(10, 30), None)
    assert success.interval == (-0.69, 0.37)
    rollback, proofs = meters(judge(config, Tally((), 1, 1, 0.1)))
    assert (rollback.line, [p.line for p in proofs]) == (10.0, [10.0])


def test_an_interval_is_that_of_the_cells_in_which_both_served_by_weight() -> None:
    counts = {
        0.1: ((1, 9, 10, 80), (3, 17, 20, 160)),
        0.5: ((5, 35, 4, 36),),
        0.0: ((0, 0, 9, 9),),
        1.0: ((9, 9, 0, 0),),
    }
    cells = tuple(
        Cell(w, i, "2026-03-02", (n[0] + n[1], n[2] + n[3]), (1, 1), dict.fromkeys(gate_config().series, n))
        for w, several in counts.items()
        for i, n in enumerate(several)
    )
    arm = judge(gate_config(), Tally(cells, 1, 1, 0.5))
    found = summarise(rollout(verdict=GateVerdict(arm.outcome, arm.alarm, arm.reason, arms={"canary": arm})))
    assert found is not None
    row = found.arms[0].metrics[0]
    assert (row.canary, row.baseline) == (ArmCalls(9, 70), ArmCalls(34, 310))
    assert row.interval == ev.shown_interval([(4, 26, 30, 240), (5, 35, 4, 36)], [0.1, 0.5])


@pytest.mark.parametrize(("lost", "sample"), [((0, 0), None), ((1, 0), (60, 61)), ((30, 270), (60, 360))])
def test_a_metric_that_judges_a_sample_says_of_how_many(lost: tuple[int, int], sample: tuple[int, int] | None) -> None:
    config = from_plan({"metrics": [{"name": "success"}, {"name": "backup_model"}]})
    counts = {"success": (5, 45, 45, 405), "backup_model": (0, 10, 1, 49)}
    cell = Cell(0.1, 1, "2026-03-02", (50, 450), (50, 450), counts, {"backup_model": lost})
    arm = judge(config, Tally((cell,), 1, 1, 0.1))
    found = summarise(rollout(verdict=GateVerdict(arm.outcome, None, arm.reason, arms={"canary": arm})))
    assert found is not None
    assert [m.sample for m in found.arms[0].metrics] == [None, sample]


def test_the_reason_tells_the_forecast_while_the_rollout_continues_and_not_after() -> None:
    arm = judge(gate_config(), Tally((), 1, 1, 0.1, calls_per_day=5.0, open=3))
    kept = GateVerdict(arm.outcome, None, arm.reason, arms={"canary": arm})
    for phase, said in ((Phase.PROGRESSING, arm.outlook), (Phase.PAUSED, arm.outlook), (Phase.HELD, arm.reason)):
        found = summarise(rollout(verdict=kept, phase=phase))
        assert found is not None
        assert found.reason == found.arms[0].reason == said
    assert arm.outlook != arm.reason
    (shown_,) = found.arms
    assert (shown_.open, shown_.calls_per_day, shown_.canary_calls, shown_.floor) == (3, 5.0, 0, 30)


def test_arms_that_are_not_shipped_are_judged_no_more() -> None:
    found = shown((5, 45, 45, 405))
    arms = tuple(replace(found.arms[0], name=n) for n in "bc")
    assert replace(found, arms=arms).judged == arms
    assert replace(found, arms=arms, shipped="c").judged == arms[1:]
    assert summarise(rollout(verdict=None)) is None


def test_meters_are_full_when_the_verdict_is_made():
    (failed,) = shown((30, 20, 45, 405)).arms
    assert (failed.outcome, failed.rollback.part) == ("fail", 1.0)
    (passed,) = shown((5, 45, 45, 405)).arms
    assert passed.outcome == "pass"
    assert (passed.decides, passed.forecast) == (False, None), "nothing is waited for any more"
    assert [m.proof.part for m in passed.metrics if m.proof] == [1.0, 1.0]
    assert passed.rollback.part == 0.0


@pytest.mark.parametrize(
    ("e", "line", "part"),
    [
        *((5, 1, 0.0), (0.9, 0.5, 0.0), (0.2, 10, 0.0), (1, 10, 0.0), (1.5, 10, 0.17609), (1.2, 1.5, 0.44966)),
        *((math.sqrt(10), 10, 0.5), (10, 10, 1), (1e300, 10, 1)),
    ],
)
def test_a_meter_is_full_where_it_decides(e, line, part):
    assert Meter(e, line).part == pytest.approx(part, abs=1e-5)
    assert Meter(e, math.inf).part == 0.0


def test_without_calls_there_is_nothing_to_see():
    (arm,) = shown((0, 0, 0, 0), cells=False).arms
    assert (arm.metrics[0].difference, arm.metrics[0].interval) == (None, None)
    assert arm.decides and arm.forecast is None


def test_the_forecast_names_a_day_and_is_made_only_while_calls_decide():
    found = shown((2, 8, 14, 76)).arms[0]
    assert words(found.forecast, found.calls_per_day, NOW).endswith("at this week's traffic")
    verdict = judge(gate_config(), Tally((), 1, 1, 0.1))
    for phase in Phase:
        kept = GateVerdict(verdict.outcome, None, verdict.reason, arms={"canary": verdict})
        assert summarise(rollout(verdict=kept, phase=phase)).arms[0].decides is (phase in ("progressing", "paused"))


def test_values_from_elsewhere_stand_beside_the_metrics():
    source = {"url": "https://m.example.com", "field": "v", "max": 0.05}
    config = from_plan({"metrics": [{"name": "success", "margins": [0.25]}, {"name": "errors", "http": source}]})
    found = shown((5, 45, 45, 405), config=config, external={"errors": 0.01})
    (value,) = found.arms[0].external
    assert (value.name, value.value, value.maximum, value.minimum) == ("errors", 0.01, 0.05, None)
    assert gates.arms(found)[0]["metrics"][-1]["value"] == 0.01
    assert gates.lines(found)[-1] == "  errors       0.01 (at most 0.05)"


def test_the_lines_of_several_variants_say_whose_they_are():
    found = shown((5, 45, 45, 405))
    (arm,) = found.arms
    several = gates.lines(replace(found, arms=(replace(arm, name="b"), replace(arm, name="c"))))
    assert gates.lines(found)[0] == f"{arm.outcome}: {arm.reason}"
    assert [line for line in several if arm.reason in line] == [f"{n} {arm.outcome}: {arm.reason}" for n in "bc"]
    rows = [line for line in several if line.startswith("  ")]
    assert [n for row in rows for n in "bc" if f" {n} " in row] == ["b"] * 5 + ["c"] * 5


@pytest.mark.parametrize(
    ("e", "written"),
    [(0.432, "harm 0.43 of 20"), (99.6, "harm 100 of 20"), (450.0, "harm 450 of 20"), (25_679.0, "25,679")],
)
def test_evidence_reads_the_same_in_a_line_as_in_a_reason(e: float, written: str) -> None:
    found = shown((10, 40, 45, 405))
    (arm,) = found.arms
    told = replace(arm, metrics=(replace(arm.metrics[0], harm=Meter(e, 20.0)),))
    assert written in gates.lines(replace(found, arms=(told,)))[1]


@pytest.mark.parametrize(("share", "calls"), [(0.0, 10), (1.0, 10), (1.0, 129), (0.1, 1000), (0.5, 0)])
def test_wilson_stays_a_share_around_what_was_seen(share: float, calls: int) -> None:
    low, high = wilson(share, calls)
    assert 0 <= low <= share <= high <= 1


def test_wilson_of_nothing_seen_is_everything_and_of_one_side_alone_ends_there() -> None:
    """Against R's binom.confint(0, 10, methods = "wilson") and (10, 10)."""
    assert wilson(0.5, 0) == (0.0, 1.0)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27754), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.72246, 1.0), abs=1e-4)


def test_the_interval_of_a_rate_is_that_of_good_calls() -> None:
    """Against R's binom.confint(85, 100, methods = "wilson")."""
    assert ArmCalls(15, 100).good == 0.85
    assert ArmCalls(15, 100).good_interval == pytest.approx((0.76717, 0.90694), abs=1e-4)
    assert ArmCalls(0, 0).good is ArmCalls(0, 0).good_interval is None


def test_the_variant_with_the_best_rate_is_shown_against_each_other_one() -> None:
    found = summarise(rollout(verdict=ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1), "d": (ENOUGH, 0.1)})))
    assert found is not None
    assert [(a.leader, a.other, a.metric, a.proof.line) for a in found.against] == [
        ("c", "b", "success", 10.0),
        ("c", "d", "success", 10.0),
    ]
    assert found.against[0].proof.e > 10 > found.against[1].proof.e
    assert gates.lines(found)[-1].startswith("c has the best rate; better than d on success: ")
    assert [entry["other"] for entry in gates.comparison(found)] == ["b", "d"]
