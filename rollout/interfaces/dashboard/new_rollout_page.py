"""A new rollout: the plan as pasted, what check finds, what rehearsal expects, and the start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollout.adapters.planfile import load_plan
from rollout.domain.errors import InputError, RolloutError
from rollout.domain.lifecycle.commands import By
from rollout.domain.plan.plan import Plan
from rollout.domain.versions.difference import difference_lines
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard.confirmations import PatchPreview
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.views import agent_tests

NAME = "plan"
EXAMPLE = """\
version: 1
name: frontdesk-v7
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: agent_abc, agent_version: 7}
steps:
  - {weight: 0.1, hold: 30m, min_calls: 20}
  - {weight: 0.5, hold: 2h}
  - {weight: 1.0, hold: 1d}
"""


def text_of(form: Mapping[str, str]) -> str:
    """The plan: a chosen file goes before what was pasted."""
    text = form.get("file") or form.get("plan", "")
    if not text.strip():
        raise InputError("plan: it is empty; paste a plan, or choose a file")
    return text.replace("\r\n", "\n")


def plan_of(text: str) -> Plan:
    """PlanError with every complaint, with line and column."""
    return load_plan(text, NAME)


def check(page_state: PageState, caller: Caller, plan: Plan) -> dict[str, Any]:
    """Pre-flight of a plan: its report, and the bodies as orders by step. Reads Retell, writes nothing."""
    page_state.service.allow_plan(caller, plan)
    report = page_state.service.direct.examine(plan)
    return {
        **report,
        "tests": agent_tests.lines(report.get("tests")),
        "difference": "\n".join(difference_lines(report.get("differences", []))),
        "bodies": [
            {
                "steps": [PatchPreview(tuple(r["numbers"]), body) for body in r["steps"]],
                "rollback": PatchPreview(tuple(r["numbers"]), r["rollback"]),
            }
            for r in report["requests"]
        ],
    }


def rehearse(page_state: PageState, plan: Plan) -> dict[str, Any] | None:
    """The expectation of a rehearsal; None when this service cannot rehearse; {"trouble"} when it cannot now."""
    play = page_state.service.rehearse
    if play is None:
        return None
    try:
        return play(plan)
    except RolloutError as error:
        return {"trouble": error.message}


def start(page_state: PageState, caller: Caller, form: Mapping[str, str]) -> str:
    """Start the plan of the form; the rollout's id. Refused changes nothing."""
    plan = plan_of(text_of(form))
    page_state.service.allow_plan(caller, plan)
    by = By(caller.actor, form.get("reason", "").strip(), form.get("request_id") or None)
    answer = page_state.service.app.commands.start(
        plan, by, at=_at(form.get("at", "")), strict=form.get("strict") == "on"
    )
    return str(answer["id"])


def _at(text: str) -> datetime | None:
    text = text.strip()
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InputError(f"at: {text[:40]} is not a time with its zone; write for example 2026-12-01T09:00:00-08:00")
    return found


def complaints(error: RolloutError) -> list[dict[str, Any]]:
    """Complaints about the plan, one entry each, with the line where there is one."""
    found = error.details.get("problems") or error.details.get("errors") or []
    listed = [p if isinstance(p, dict) else {"field": "", "problem": str(p), "advice": ""} for p in found]
    return [{"line": None, "field": "", "advice": "", **p} for p in listed][:50]


def pretty(body: str) -> str:
    """A body as it is sent, with one agent a line; every character but the white space is the same."""
    document = json.loads(body)
    lists = [
        f"  {json.dumps(field)}: [\n" + ",\n".join(f"    {json.dumps(e)}" for e in entries) + "\n  ]"
        if isinstance(entries, list)
        else f"  {json.dumps(field)}: {json.dumps(entries)}"
        for field, entries in document.items()
    ]
    return "{\n" + ",\n".join(lists) + "\n}"
