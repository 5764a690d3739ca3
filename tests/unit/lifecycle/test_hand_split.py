"""A split that a person set, as it is kept and read again."""

from __future__ import annotations

import json

import pytest

from rollout.domain.lifecycle.hand_split import HandSplit


@pytest.mark.parametrize("ships", [None, "b"])
def test_a_split_is_read_as_it_was_kept(ships: str | None) -> None:
    split = HandSplit(2, 1, 3, {"b": 6_000, "c": 4_000}, ships)
    kept = split.to_json()
    assert HandSplit.from_json(json.loads(json.dumps(kept))) == split
    assert ("ships" in kept) is (ships is not None), "records of earlier versions have no such key"
