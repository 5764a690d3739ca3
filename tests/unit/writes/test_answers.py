"""What a reading and a failure say by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.domain.writes.answers import Failure, Reading, Trouble


@pytest.mark.parametrize(
    ("status", "refused"), [(401, True), (403, True), (400, False), (404, False), (422, False), (None, False)]
)
def test_a_key_is_refused_by_401_and_403(status: int | None, refused: bool) -> None:
    assert Failure(Trouble.REJECTED, "no", status).key_refused is refused


def test_two_readings_of_the_same_are_equal_whether_they_came_with_an_etag_or_not() -> None:
    alone = Reading("+14157774444", {"inbound_agents": None}, 1_000, "digest", etag='"1"')
    assert replace(alone, etag=None) == alone
    assert replace(alone, modified=1_001) != alone
