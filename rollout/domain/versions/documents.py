"""The documents of one version of an agent as Retell shows them, and of the response engine behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_IDS = {"retell-llm": "llm_id", "conversation-flow": "conversation_flow_id"}


@dataclass(frozen=True, slots=True)
class ResponseEngine:
    """The reference to a response engine. `engine_id` is None for a custom LLM, which Retell does not keep."""

    kind: str
    engine_id: str | None = None
    version: int | None = None

    @classmethod
    def of(cls, agent: Mapping[str, Any]) -> ResponseEngine | None:
        """The engine that get-agent names; None where it names none that can be read."""
        found = agent.get("response_engine")
        kind = found.get("type") if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not isinstance(kind, str):
            return None
        engine_id, version = found.get(_IDS.get(kind, "")), found.get("version")
        if isinstance(version, bool) or not isinstance(version, int | float) or not 0 <= version < 2**31:
            version = None
        return cls(
            kind,
            engine_id if isinstance(engine_id, str) and engine_id else None,
            int(version) if version is not None and int(version) == version else None,
        )

    @property
    def is_kept(self) -> bool:
        """True if Retell keeps its text, and can therefore show it and test it."""
        return self.kind in _IDS and self.engine_id is not None

    def to_json(self) -> dict[str, Any]:
        """As Retell's requests name it. Raises KeyError for an engine that Retell does not keep."""
        return {"type": self.kind, _IDS[self.kind]: self.engine_id, "version": self.version}


@dataclass(frozen=True, slots=True)
class VersionDocument:
    """get-agent's answer of one version and, where it could be read, the one about its response engine."""

    agent: Mapping[str, Any]
    engine: Mapping[str, Any] = field(default_factory=dict)
    unread: str | None = None
    """Why the engine could not be read; None: it was, or there is none to read."""
