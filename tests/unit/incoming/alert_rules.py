"""Rules of a plan for alerts."""

from __future__ import annotations

from rollout.domain.plan.notices import AlertRule as Rule


def rule(action: str = "rollback", **match: str) -> Rule:
    return Rule.model_validate({"match": match, "action": action})
