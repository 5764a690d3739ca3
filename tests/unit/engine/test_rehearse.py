"""The words of a rehearsal."""

from __future__ import annotations

import pytest

from rollout.engine.rehearse import _days


@pytest.mark.parametrize(
    ("calls", "text"), [(10, "2.4 hours"), (99, "23.8 hours"), (100, "1.0 days"), (250, "2.5 days")]
)
def test_a_time_is_in_hours_below_a_day(calls: float, text: str) -> None:
    assert _days(calls, 100) == text
