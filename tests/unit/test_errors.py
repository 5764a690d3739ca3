"""Errors as programs see them, and the refusals that are about a rollout's name."""

from __future__ import annotations

import pytest

from rollout.domain import names
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
    unknown = UnknownRollout.called("r9")
    assert (unknown.message, unknown.details) == ("there is no rollout r9; `rollout list` shows them", {"id": "r9"})


def test_a_name_that_means_several_rollouts_lists_their_ids() -> None:
    ids = [f"r{i}" for i in range(7)]
    assert names.ambiguous("desk", ids[:2]) == (
        "2 live rollouts are named desk: write the id of the one you mean, r0 or r1"
    )
    assert names.begins_several("r", ids) == (
        "r is the beginning of 7 ids: write more of the one you mean, r0 or r1 or r2 or r3 or r4"
    )
    assert names.name_taken("desk", "r1").startswith("name: desk is already the name of a live rollout (r1): ")
