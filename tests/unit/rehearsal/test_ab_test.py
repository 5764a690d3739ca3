"""A plan's decision on its A/B test played beforehand: the rule that decides it, and the ends that it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollout.domain.gates.judge import combine, judge
from rollout.domain.gates.profiles import gate_config
from rollout.domain.gates.shipping import best, comparison_gate, judge_against, leader
from rollout.domain.gates.tally import Cell, Tally
from rollout.domain.gates.verdict import Comparison, GateOutcome, GateVerdict
from rollout.domain.plan.plan import Plan
from rollout.domain.rehearsal.ab_test import BASELINE, ABTest, PlayedCalls, ab_test, play_decision, rehearse_decision
from rollout.domain.rehearsal.rehearsal import base_rates
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import rehearse
from tests.support.clock import START

CONFIG = gate_config("low-traffic")
THIRDS = {"b": 3300, "c": 3300}


def ab_plan(**decides: Any) -> Plan:
    return Plan.model_validate(
        {
            "version": 1,
            "name": "greeting",
            "numbers": ["+14157774444"],
            "channels": ["inbound"],
            "variants": {n: {"agent_id": "a", "agent_version": v} for n, v in (("b", 8), ("c", 9))},
            "steps": [{"weights": {"b": 0.1, "c": 0.2}}],
            "decide": {"after": "10d", **decides},
        }
    )


def test_the_test_lasts_as_long_as_the_plan_says_and_until_the_smallest_variant_has_its_calls() -> None:
    assert ab_test(ab_plan(), 100) == ABTest({"b": 1000, "c": 2000}, 1_000, 10.0)
    assert ab_test(ab_plan(min_calls=400), 100) == ABTest({"b": 1000, "c": 2000}, 4_000, 40.0)
    assert ab_test(ab_plan(ship="none"), 100) is None


def test_a_rehearsal_decides_as_the_gates_do_on_the_same_calls() -> None:
    rates = {name: base_rates(CONFIG) for name in (BASELINE, "b", "c")}
    rates["c"] = {**rates["c"], "success": 0.05}
    runs = 6
    calls = PlayedCalls(CONFIG, ABTest(THIRDS, 1_800, 3.0), rates, runs, np.random.default_rng(3))
    against = comparison_gate(CONFIG)

    def tally(config: Any, run: int, arm: str, other: str) -> Tally:
        cells = []
        for day in range(min(3, calls.done // 600 + 1)):
            both = np.concatenate([calls.counts[arm], calls.counts[other]], axis=-1)[:, run, day].astype(int)
            by_series = dict(zip(CONFIG.series, map(tuple, both[:-1]), strict=True))
            n = int(both[-1][:2].sum()), int(both[-1][2:].sum())
            counts = {s: by_series[s] for s in config.series}
            cells.append(Cell(weight(arm, other), 1, f"2026-03-0{day + 1}", n, n, counts))
        return Tally(tuple(cells), position=1, step=1, weight=weight(arm, other), narrow=True)

    def weight(arm: str, other: str) -> float:
        return calls.points[arm] / (calls.points[arm] + calls.points[other])

    found = []
    while calls.done < 1_800:
        calls.take(100)
        if calls.done % 300:
            continue
        for run in range(runs):
            arms = {arm: judge(CONFIG, tally(CONFIG, run, arm, BASELINE)) for arm in THIRDS}
            failed = [arms[a].outcome is GateOutcome.FAIL for a in arms]
            assert failed == [bool(calls.harmed(CONFIG, a)[run]) for a in arms]
            passed = [arms[a].outcome is GateOutcome.PASS for a in arms]
            assert passed == [bool(calls.proven(CONFIG, a, BASELINE)[run]) for a in arms], (calls.done, run)
            first = leader(arms)
            assert first is not None
            other = "b" if first == "c" else "c"
            over = {other: judge_against(against, tally(against, run, first, other), by_strata=False)}
            decided = best(GateVerdict(combine(arms), None, "", arms=arms, comparison=Comparison(first, over))).name
            found.append(decided)
            played = [
                arm
                for arm in THIRDS
                if calls.proven(CONFIG, arm, BASELINE)[run]
                and calls.proven(against, arm, "b" if arm == "c" else "c")[run]
            ]
            assert played == ([] if decided is None else [decided])
    assert found[:runs].count("c") < runs < found[-2 * runs :].count("c")


def test_what_is_shipped_where_the_first_variant_is_better_or_worse() -> None:
    ends = {end.name: end for end in rehearse_decision(CONFIG, ABTest(THIRDS, 4_500, 10.0), runs=40)}
    assert list(ends) == ["equal", "5 points better", "10 points better", "5 points worse", "10 points worse"]
    for end in ends.values():
        assert sum(end.shipped.values()) + end.nothing + end.failed == pytest.approx(1.0)
        assert end.nothing >= -1e-9
    assert ends["10 points better"].shipped["b"] >= 0.9
    assert ends["10 points worse"].shipped["b"] == 0.0
    assert ends["equal"].nothing >= 0.8


def test_a_variant_whose_every_call_is_bad_fails_the_test_and_too_few_calls_decide_nothing() -> None:
    base = base_rates(CONFIG)
    bad = {**base, "success": 1.0, "hard_error": 1.0}
    played: dict[str, Any] = {"name": "x", "runs": 3, "rng": np.random.default_rng(2)}
    for first, second in ((bad, base), (base, bad)):
        rates = {BASELINE: base, "b": first, "c": second}
        end = play_decision(CONFIG, ABTest(THIRDS, 120, 2.0), rates, **played)
        assert (end.name, end.failed, end.nothing, dict(end.shipped)) == ("x", 1.0, 0.0, {"b": 0.0, "c": 0.0})
    ends = rehearse_decision(CONFIG, ABTest(THIRDS, 20, 1.0), runs=2)
    assert [(end.failed, end.nothing) for end in ends] == [(0.0, 1.0)] * 5


def test_calls_are_counted_by_version_and_by_their_part_of_the_test() -> None:
    test = ABTest({"b": 2000, "c": 3000}, 100, 3.5)
    calls = PlayedCalls(
        CONFIG, test, dict.fromkeys((BASELINE, "b", "c"), base_rates(CONFIG)), 2, np.random.default_rng(4)
    )
    assert dict(calls.points) == {BASELINE: 5000, "b": 2000, "c": 3000}
    for _ in range(10):
        calls.take(10)
    assert calls.done == 100
    by_cell = sum(counts[-1].sum(axis=-1) for counts in calls.counts.values())
    assert by_cell.tolist() == [[30, 20, 30, 20]] * 2
    long = PlayedCalls(CONFIG, ABTest({"b": 5000}, 100, 400.0), {}, 1, np.random.default_rng(4))
    assert long.cells == 30


def test_the_rehearsal_of_a_plan_that_decides_has_its_decision_and_no_other_has() -> None:
    played: dict[str, Any] = {"calendars": Calendars(), "now": START, "runs": 4}
    found = rehearse(ab_plan(min_calls=400), 400.0, **played)
    assert (found["decision"]["calls"], found["decision"]["days"], found["decision"]["runs"]) == (4_000, 10.0, 4)
    assert [end["name"] for end in found["decision"]["ends"]][:2] == ["equal", "5 points better"]
    assert set(found["decision"]["ends"][0]["shipped"]) == {"b", "c"}
    assert any("promoted means that its gates pass when the plan decides" in note for note in found["notes"])
    equal = found["scenarios"][0]
    assert equal["days_to_promote"] is None or equal["days_to_promote"] >= 10, "it is decided no sooner"
    assert "decision" not in rehearse(ab_plan(ship="none"), 400.0, **played)
