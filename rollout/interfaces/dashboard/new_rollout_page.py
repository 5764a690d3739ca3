"""A new rollout: what check finds in a plan, what rehearsal expects, the tests by hand, and the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rollout.adapters.planfile import load_plan
from rollout.domain.errors import InputError, RolloutError
from rollout.domain.plan.plan import Plan
from rollout.domain.versions.difference import difference_lines
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard.actions import by_of
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.dashboard.patch_preview import PatchPreview
from rollout.interfaces.views import agent_tests

NAME = "plan"


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
    report = page_state.service.backend.examine(plan)
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


def rehearsal_of(page_state: PageState, plan: Plan) -> dict[str, Any] | None:
    """The expectation of a rehearsal; None when this service cannot rehearse; {"trouble"} when it cannot now."""
    play = page_state.service.rehearse
    if play is None:
        return None
    try:
        return play(plan)
    except RolloutError as error:
        return {"trouble": error.message}


def run_tests(page_state: PageState, caller: Caller, plan: Plan, told: Callable[[str], None]) -> str:
    """Run the plan's batch tests on Retell now and wait for their end, with progress; the outcome in a sentence."""
    page_state.service.allow_plan(caller, plan)
    if plan.tests is None:
        raise InputError("tests: the plan has none; tick *Run Retell's batch tests first*")
    report = page_state.service.backend.examine(plan, tests=told)
    if not report["ok"]:
        return "✗ " + "; ".join(report["problems"])
    return "✓ " + agent_tests.lines(report["tests"])[0]


def start(page_state: PageState, caller: Caller, form: Mapping[str, str]) -> str:
    """Start the plan of the form; the rollout's id. Refused changes nothing."""
    by = by_of(caller, form, "start")
    plan = plan_of(text_of(form))
    page_state.service.allow_plan(caller, plan)
    at, strict = _at(form.get("at", "")), form.get("strict") == "on"
    return page_state.service.app.commands.start(plan, by, at=at, strict=strict).id


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
