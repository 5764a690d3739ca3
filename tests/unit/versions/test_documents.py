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


@pytest.mark.parametrize(
    ("engine", "kept"),
    [
        (ResponseEngine("retell-llm", "llm_1", 3), {"type": "retell-llm", "llm_id": "llm_1", "version": 3}),
        (
            ResponseEngine("conversation-flow", "flow_1"),
            {"type": "conversation-flow", "conversation_flow_id": "flow_1", "version": None},
        ),
        (ResponseEngine("retell-llm"), None),
        (ResponseEngine("custom-llm"), None),
    ],
)
def test_an_engine_that_retell_keeps_is_named_as_its_requests_do(
    engine: ResponseEngine, kept: dict[str, Any] | None
) -> None:
    assert engine.is_kept is (kept is not None)
    if kept is not None:
        assert engine.to_json() == kept
        assert ResponseEngine.of({"response_engine": kept}) == engine


def test_an_engine_whose_id_is_empty_is_not_kept() -> None:
    assert ResponseEngine.of({"response_engine": {"type": "retell-llm", "llm_id": ""}}) == ResponseEngine("retell-llm")
    assert ResponseEngine.of({"response_engine": {"type": "retell-llm", "version": 3.5}}) == ResponseEngine(
        "retell-llm"
    )
