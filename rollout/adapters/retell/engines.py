"""Response engines behind agent versions: a version's response engine, and the agent's tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.adapters.retell.reader import Reader
from rollout.adapters.retell.request import LARGE, RequestSpec
from rollout.adapters.retell.wire import AnswerError, segment
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure

_OPERATIONS = {
    "retell-llm": ("get-retell-llm", "llm_id"),
    "conversation-flow": ("get-conversation-flow", "conversation_flow_id"),
}


class EngineReader:
    """get-retell-llm, get-conversation-flow and get-agent-root; each read takes at most `within` seconds."""

    def __init__(self, reader: Reader, *, within: float) -> None:
        self._reader, self._within = reader, within

    def engine(self, engine: ResponseEngine) -> Mapping[str, Any] | Failure:
        """See `ports.ResponseEngines.engine`."""
        operation, id_field = _OPERATIONS[engine.kind]
        path = f"/{operation}/{segment(str(engine.engine_id))}"
        path += "" if engine.version is None else f"?version={engine.version}"

        def parse(document: Any) -> Mapping[str, Any]:
            if not isinstance(document, dict) or document.get(id_field) != engine.engine_id:
                raise AnswerError(f"it is about a different {id_field}")
            if engine.version is not None and document.get("version", engine.version) != engine.version:
                raise AnswerError(f"it is about a version other than {engine.version}")
            return document

        return self._reader.ask(RequestSpec(operation, "GET", path, limit=LARGE), parse, within=self._within)

    def tags(self, agent_id: str) -> Mapping[str, Any] | Failure | None:
        """The agent's tags by name; None where Retell offers no agent roots (404, 405)."""

        def parse(document: Any) -> Mapping[str, Any]:
            if not isinstance(document, dict) or document.get("agent_id", agent_id) != agent_id:
                raise AnswerError("it is about a different agent_id")
            tags = document.get("tags")
            if not isinstance(tags, dict):
                raise AnswerError("it has no tags")
            return {tag: value for tag, value in tags.items() if isinstance(value, dict)}

        path = f"/get-agent-root/{segment(agent_id)}"
        found = self._reader.ask(RequestSpec("get-agent-root", "GET", path), parse, within=self._within)
        return None if isinstance(found, Failure) and found.status in (404, 405) else found
