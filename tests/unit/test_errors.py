"""Errors as programs see them."""

from __future__ import annotations

import pytest

from rollout.domain.errors import (
    InputError,
    NotPromoted,
    NotReachable,
    Refused,
    RolloutError,
    StaleExpectation,
    Unauthenticated,
    UnknownRollout,
    code_of,
)


@pytest.mark.parametrize(
    ("error", "code", "exit_code", "status"),
    [
        (RolloutError, "rollout_error", 1, 500),
        (InputError, "input_error", 2, 422),
        (UnknownRollout, "unknown_rollout", 2, 404),
        (Refused, "refused", 3, 409),
        (StaleExpectation, "stale_expectation", 3, 409),
        (NotReachable, "not_reachable", 4, 503),
        (Unauthenticated, "unauthenticated", 4, 401),
        (NotPromoted, "not_promoted", 5, 500),
    ],
)
def test_programs_tell_errors_apart(error: type[RolloutError], code: str, exit_code: int, status: int) -> None:
    assert (code_of(error), error.exit_code, error.status) == (code, exit_code, status)


def test_an_error_says_its_message_or_what_its_kind_says() -> None:
    assert StaleExpectation().message == "The rollout has moved on since you looked."
    error = Refused("wait until it is confirmed", phase="paused")
    assert (error.message, error.details) == ("wait until it is confirmed", {"phase": "paused"})
    unknown = UnknownRollout.for_id("r9")
    assert (unknown.message, unknown.details) == ("there is no rollout r9; `rollout list` shows them", {"id": "r9"})
    assert Refused("no", message="of another program").details == {"message": "of another program"}
