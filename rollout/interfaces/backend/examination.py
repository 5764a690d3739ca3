"""The answer of `check` on a plan: pre-flight, the exact requests, the timetable, a forecast, and its tests if asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from rollout.app import App
from rollout.domain.agent_tests.judgement import TestOutcome
from rollout.domain.calendar.wording import sentence
from rollout.domain.errors import NotReachable
from rollout.domain.gates.earlier_calls import margin_warnings
from rollout.domain.plan.plan import Plan
from rollout.engine import rehearse
from rollout.engine.gate_check import config_of
from rollout.engine.preflight import Preflight
from rollout.engine.traffic import Traffic, traffic
from rollout.interfaces.views import agent_tests, rollout


def examine(app: App, plan: Plan, strict: bool, tests: Callable[[str], None] | None) -> dict[str, Any]:
    """The report; `strict`: warnings refuse, too. `tests` is called with their progress."""
    found = app.commands.check(plan)
    report = rollout.check(found)
    report["ok"] = report["ok"] and not (strict and found.warnings)
    if found.problems:
        return report
    waves = max((t.wave for t in found.targets), default=1)
    rows = app.calendars.timetable(found.plan, app.store.now(), waves=waves)
    report["timetable"] = sentence(rows, app.store.now())
    seen = _traffic(app, found)
    per_day = None if seen is None else seen.calls_per_day
    rates = None if seen is None else seen.history.rates
    report["forecast"] = _forecast(found, per_day)
    report["proposal"] = rehearse.proposal(found.plan, per_day or rehearse.USUAL_CALLS_PER_DAY, rates)
    config = config_of(found.plan)
    if seen is not None and config is not None:
        report["warnings"] = [*report["warnings"], *margin_warnings(config, seen.history)]
    report["ok"] = report["ok"] and not (strict and report["warnings"])
    if tests is not None and report["ok"]:
        ran = app.commands.run_tests(found, app.clock, tests)
        report["tests"] = agent_tests.document(ran)
        if ran.verdict is not None and ran.verdict.outcome is not TestOutcome.PASSED:
            report |= {"ok": False, "problems": [ran.verdict.reason]}
    return report


def _traffic(app: App, found: Preflight) -> Traffic | None:
    """The numbers' traffic, from Retell's lists; None where it cannot be read: a missing forecast is no reason to refuse."""
    if app.calls is not None:
        with contextlib.suppress(NotReachable):
            return traffic(found, app.calls, app.store.now())
    return None


def _forecast(found: Preflight, per_day: float | None) -> str:
    """One line of rehearsal at last week's traffic; the usual traffic where Retell lists none."""
    if per_day is not None:
        return rehearse.quick_line(found.plan, per_day)
    return (
        rehearse.quick_line(found.plan, rehearse.USUAL_CALLS_PER_DAY)
        + " (hardly any calls last week: 200 a day assumed)"
    )
