"""A plan out of a request's body: an object, or the text of a plan file."""

from __future__ import annotations

import json

from rollout.adapters.planfile import build_plan, load_plan
from rollout.adapters.planfile.text_positions import MAX_BYTES
from rollout.domain.plan.plan import Plan
from rollout.interfaces.api.problems import BodyTooLarge
from rollout.interfaces.api.schemas import PlanBody


def plan_of(body: PlanBody) -> Plan:
    """PlanError with every complaint, with line and column if it came as text; BodyTooLarge beyond 256 KiB."""
    if isinstance(body.plan, str):
        return load_plan(body.plan, body.name)
    if len(json.dumps(body.plan, ensure_ascii=False).encode()) > MAX_BYTES:
        raise BodyTooLarge(f"the plan is larger than {MAX_BYTES // 1024} KiB; split it, or select numbers")
    return build_plan(body.plan, body.name)
