"""Growing pauses of a loop that fails."""

from __future__ import annotations

from rollout.domain.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=1.0, longest=5.0)
    assert backoff.left(0.0) == 0
    assert [backoff.failed(100.0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.left(103.0) == 2
    assert backoff.left(200.0) == 0
    backoff.succeeded()
    assert backoff.left(100.0) == 0
    assert backoff.failed(100.0) == 1


def test_a_year_of_failures_does_not_overflow() -> None:
    backoff = Backoff(first=0.5, longest=30.0)
    assert {backoff.failed(0.0) for _ in range(10_000)} <= {0.5, 1, 2, 4, 8, 16, 30}
