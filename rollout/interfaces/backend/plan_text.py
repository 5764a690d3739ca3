"""A plan as somebody wrote it and as it was read: parsed once, and still the text that a service is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rollout.adapters.planfile import load_plan
from rollout.domain.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class PlanText:
    """The text of a plan, the name of its file for complaints, and the plan itself."""

    text: str
    name: str
    plan: Plan

    @classmethod
    def read(cls, text: str, name: str) -> Self:
        """PlanError with every complaint, with line and column."""
        return cls(text, name, load_plan(text, name))
