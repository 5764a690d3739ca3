"""Response engines by version, and tags: what is believed of an answer, and what it means that there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.adapters.retell import RetellClient
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble
from tests.integration.retell.retell_peer import Peer, http, says

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
LLM = ResponseEngine("retell-llm", "llm/1", 7)
FLOW = ResponseEngine("conversation-flow", "flow_1", 3)


@pytest.mark.parametrize(
    ("engine", "answer", "path"),
    [
        (LLM, {"llm_id": "llm/1", "version": 7, "general_prompt": "x"}, "/get-retell-llm/llm%2F1?version=7"),
        (
            FLOW,
            {"conversation_flow_id": "flow_1", "version": 3, "nodes": []},
            "/get-conversation-flow/flow_1?version=3",
        ),
    ],
)
def test_an_engine_is_asked_for_by_its_version(
    serve: Serve, client: Make, engine: ResponseEngine, answer: dict[str, Any], path: str
) -> None:
    peer = serve(says(http(answer)))
    assert client(peer).engine(engine) == answer
    assert [seen.path for seen in peer.seen] == [path]


@pytest.mark.parametrize("answer", [{"llm_id": "other", "version": 7}, {"llm_id": "llm/1", "version": 8}, [], None])
def test_another_engine_is_not_taken_for_it(serve: Serve, client: Make, answer: Any) -> None:
    found = client(serve(says(http(answer)))).engine(LLM)
    assert isinstance(found, Failure) and found.trouble is Trouble.UNREACHABLE


def test_tags_are_those_that_retell_shows(serve: Serve, client: Make) -> None:
    tags = {"prod": {"version": 6, "dynamic_variables": {"city": "Oslo"}}, "staging": {}, "odd": 5}
    made = client(serve(says(http({"agent_id": "a", "tags": tags}))))
    assert made.tags("a") == {"prod": tags["prod"], "staging": {}}


@pytest.mark.parametrize("status", [404, 405])
def test_tags_cannot_be_read_where_there_are_no_agent_roots(serve: Serve, client: Make, status: int) -> None:
    assert client(serve(says(http({"status": "error", "message": "No."}, status)))).tags("a") is None


@pytest.mark.parametrize("answer", [http({"agent_id": "b", "tags": {}}), http({"agent_id": "a"}), http({}, 401)])
def test_other_answers_about_tags_are_failures(serve: Serve, client: Make, answer: Any) -> None:
    assert isinstance(client(serve(says(answer))).tags("a"), Failure)
