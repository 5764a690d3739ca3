"""Response engines by version, and tags: what is believed of an answer, and what it means that there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.engines import EngineReader
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble
from tests.integration.retell.retell_peer import Peer, http, says
from tests.integration.retell.scripted_reader import ScriptedReader, failure

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


def of(answers: dict[str, Any]) -> tuple[EngineReader, ScriptedReader]:
    reader = ScriptedReader(answers)
    return EngineReader(reader, within=3.0), reader


@pytest.mark.parametrize(
    ("version", "answer", "is_it"),
    [
        (7, {"llm_id": "llm/1", "version": 7}, True),
        (7, {"llm_id": "llm/1"}, True),
        (7, {"llm_id": "llm/1", "version": 6}, False),
        (7, {"version": 7}, False),
        (None, {"llm_id": "llm/1", "version": 6}, True),
        (None, {"llm_id": "llm/2"}, False),
    ],
)
def test_an_engine_without_a_version_is_whatever_retell_shows(
    version: int | None, answer: dict[str, Any], is_it: bool
) -> None:
    path = "/get-retell-llm/llm%2F1" + ("" if version is None else "?version=7")
    engines, reader = of({path: answer})
    found = engines.engine(ResponseEngine("retell-llm", "llm/1", version))
    assert (found == answer) is is_it
    assert isinstance(found, Failure) is not is_it
    assert reader.within == [3.0]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"tags": {"prod": {}}}, {"prod": {}}),
        ({"agent_id": "a/b", "tags": {}}, {}),
        (failure(404), None),
        (failure(405), None),
        (failure(403), failure(403)),
        (failure(406), failure(406)),
        (failure(None), failure(None)),
    ],
)
def test_what_retell_shows_of_tags(answer: object, found: object) -> None:
    engines, reader = of({"/get-agent-root/a%2Fb": answer})
    assert engines.tags("a/b") == found
    assert reader.within == [3.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"agent_id": "b", "tags": {}}, "it is about a different agent_id"),
        ([], "it is about a different agent_id"),
        ({"agent_id": "a"}, "it has no tags"),
        ({"tags": []}, "it has no tags"),
    ],
)
def test_what_is_no_answer_about_tags_is_named(answer: object, words: str) -> None:
    found = of({"/get-agent-root/a": answer})[0].tags("a")
    assert isinstance(found, Failure) and words in found.detail
