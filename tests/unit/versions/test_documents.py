"""What an agent's document says of its response engine."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.versions.documents import ResponseEngine


@pytest.mark.parametrize(
    ("version", "read"), [(0, 0), (7, 7), (2**31 - 1, 2**31 - 1), (2**31, None), (-1, None), (True, None), ("7", None)]
)
def test_an_engine_version_that_cannot_be_one_is_not_known(version: Any, read: int | None) -> None:
    agent = {"response_engine": {"type": "retell-llm", "llm_id": "llm_1", "version": version}}
    assert ResponseEngine.of(agent) == ResponseEngine("retell-llm", "llm_1", read)
