"""The answer to the start of a rollout."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.lifecycle.entries import PreflightSummary
from rollout.domain.lifecycle.started import NO_FINDINGS, StartedRollout

FOUND = PreflightSummary(("no calls yet",), ({"arm": "canary"},))


def test_the_id_comes_first_in_the_json() -> None:
    document = StartedRollout("r1", FOUND).to_json()
    assert list(document) == ["id", "warnings", "differences"]
    assert StartedRollout.from_json(document) == StartedRollout("r1", FOUND)


@pytest.mark.parametrize("stored", [{"id": "r1"}, {"warnings": [], "id": "r1"}])
def test_an_answer_of_an_earlier_version_loads(stored: dict[str, Any]) -> None:
    assert StartedRollout.from_json(stored) == StartedRollout("r1", NO_FINDINGS)
