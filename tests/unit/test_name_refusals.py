"""The refusals that are about the name of a rollout."""

from __future__ import annotations

from rollout.domain import name_refusals


def test_a_name_that_means_several_rollouts_lists_their_ids() -> None:
    ids = [f"r{i}" for i in range(7)]
    assert name_refusals.ambiguous("desk", ids[:2]) == (
        "2 live rollouts are named desk: write the id of the one you mean, r0 or r1"
    )
    assert name_refusals.begins_several("r", ids) == (
        "r is the beginning of 7 ids: write more of the one you mean, r0 or r1 or r2 or r3 or r4"
    )
    assert name_refusals.name_taken("desk", "r1").startswith("name: desk is already the name of a live rollout (r1): ")
