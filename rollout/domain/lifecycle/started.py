"""The answer to the start of a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.domain.lifecycle.entries import PreflightSummary

NO_FINDINGS = PreflightSummary()


@dataclass(frozen=True, slots=True)
class StartedRollout:
    """The new rollout's id, and the findings of its pre-flight."""

    id: str
    preflight: PreflightSummary

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **self.preflight.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StartedRollout:
        return cls(str(data["id"]), PreflightSummary.from_json(data))
