"""The record of a baseline's earlier calls, as it is kept and read again."""

from __future__ import annotations

import json

from rollout.domain.gates.history import BaselineHistory


def test_a_history_is_read_as_it_was_kept() -> None:
    kept = BaselineHistory(2, {"success": 0.125}, {"slow:p50": 599.0}, 200)
    assert BaselineHistory.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def test_the_two_limits_that_earlier_versions_kept_are_those_of_latency() -> None:
    earlier = BaselineHistory.from_json({"edition": 1, "rates": {"success": 0.1}, "slow_ms": [600.0, 900.0]})
    assert earlier == BaselineHistory(1, {"success": 0.1}, {"slow:p50": 600.0, "slow:p90": 900.0}, 0)
    assert BaselineHistory.from_json({"edition": 1, "slow_ms": None}) == BaselineHistory(1)
    assert BaselineHistory.from_json({"edition": 2, "slow_ms": [1.0, 2.0], "limits": {"cost": 40.0}}).limits == {
        "cost": 40.0
    }
