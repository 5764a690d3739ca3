"""The words of a rehearsal."""

from __future__ import annotations

import pytest

from rollout.engine.rehearse import _days, _flow


@pytest.mark.parametrize(
    ("calls", "text"), [(10, "2.4 hours"), (99, "23.8 hours"), (100, "1.0 days"), (250, "2.5 days")]
)
def test_a_time_is_in_hours_below_a_day(calls: float, text: str) -> None:
    assert _days(calls, 100) == text


def test_a_proposed_step_is_written_as_yaml() -> None:
    step = {"approve": True, "hold": "1h", "weight": 0.1, "min_calls": 20}
    assert _flow(step) == "weight: 0.1, hold: 1h, min_calls: 20, approve: true"
    assert _flow({"weight": 1, "approve": False}) == "weight: 1, approve: false"
