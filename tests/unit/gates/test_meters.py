"""The figures for people agree with the verdict they belong to."""

import json
from datetime import UTC, datetime

import pytest

from rollout.domain.gates.meters import meters
from rollout.domain.gates.verdict import Cell, Tally, gate_config, judge

FINE = dict.fromkeys(("hard_error", "slow:p50", "slow:p90", "negative"), (0, 50, 0, 450))


def shown(success, weight=0.1, per_day=50.0, cells=True):
    nc, nb = success[0] + success[1], success[2] + success[3]
    cell = Cell(weight, 1, "2026-03-02", (nc, nb), (nc, nb), {**FINE, "success": success})
    tally = Tally((cell,) if cells else (), 1, 1, weight, calls_per_day=per_day)
    found = judge(gate_config(), tally)
    return found, meters(json.loads(json.dumps(found.evidence)), datetime(2026, 3, 2, 10, tzinfo=UTC))


def test_a_row_shows_counts_rates_difference_and_interval():
    _, out = shown((10, 40, 45, 405))
    row = out["metrics"][0]
    assert (row["metric"], row["canary"]["rate"], row["baseline"]["rate"]) == ("success", 0.2, 0.1)
    assert row["difference"] == pytest.approx(0.1)
    assert row["interval"][0] < 0.1 < row["interval"][1]
    json.dumps(out, allow_nan=False)


def test_meters_are_full_when_the_verdict_is_made():
    failed, out = shown((30, 20, 45, 405))
    assert (failed.outcome, out["rollback"]["meter"]) == ("fail", 1.0)
    passed, out = shown((5, 45, 45, 405))
    assert passed.outcome == "pass"
    assert [r["proof"]["meter"] for r in out["metrics"] if r["proof"]] == [1.0, 1.0]
    assert out["rollback"]["meter"] == 0.0


def test_without_calls_there_is_nothing_to_see():
    _, out = shown((0, 0, 0, 0), cells=False)
    row = out["metrics"][0]
    assert (row["difference"], row["interval"]) == (None, [-1.0, 1.0])
    assert out["forecast"] == {"words": "no forecast yet", "calls": None}


def test_the_forecast_names_a_day():
    _, out = shown((2, 8, 14, 76))
    assert out["forecast"]["words"].endswith("at this week's traffic")
    assert out["forecast"]["calls"] > 0
