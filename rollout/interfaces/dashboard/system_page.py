"""The service itself: replicas, lag, Retell's answers, notices, database, versions, settings. For admins."""

from __future__ import annotations

import platform
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.adapters.settings_check import shown_settings
from rollout.adapters.store.heartbeats import ALIVE_WITHIN
from rollout.adapters.store.system_state import system_state
from rollout.app import App
from rollout.interfaces.auth.roles import Right
from rollout.interfaces.dashboard.page_route import is_fragment, render, shown
from rollout.interfaces.dashboard.page_state import PageState

LATE = timedelta(seconds=10)  # later than this, and nobody at work on it, is trouble


@dataclass(slots=True)
class OperationLine:
    """Requests to Retell of one operation since this process started: by kind of answer, and the mean time in s."""

    operation: str
    mean: float = 0.0
    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.answers.values())


@dataclass(frozen=True, slots=True)
class SettingLine:
    """A setting; `changed`: the environment or rollout.toml sets it."""

    name: str
    value: str
    words: str
    changed: bool


def page(page_state: PageState, checks: dict[str, str]) -> dict[str, Any]:
    """Everything the page shows; `checks` are those of readiness."""
    app = page_state.service.app
    state = system_state(app.database)
    late = state.now - state.late_since if state.late_since is not None else timedelta()
    return {
        "state": state,
        "now": state.now,
        "owner": app.owner,
        "alive": [r for r in state.replicas if state.now - r.beat_at <= ALIVE_WITHIN],
        "versions": sorted({r.version for r in state.replicas if state.now - r.beat_at <= ALIVE_WITHIN}),
        "is_late": late > LATE,
        "checks": checks,
        "operations": operations(app),
        "budget": app.limits.state(),
        "place": app.database.place,
        "retell_url": app.settings.retell_base_url,
        "python": platform.python_version(),
        "settings": settings_lines(app),
    }


def operations(app: App) -> list[OperationLine]:
    """Requests to Retell of this process, by operation."""
    counts, latencies = app.meter.read()
    found: dict[str, OperationLine] = {}
    for (operation, _, status), count in sorted(counts.items()):
        line = found.setdefault(operation, OperationLine(operation))
        line.answers[_kind(status)] += count
    for line in found.values():
        line.mean = latencies[line.operation].total / line.total
    return list(found.values())


def _kind(status: str) -> str:
    if status == "none" or status == "429":
        return status
    return f"{status[0]}xx"


def settings_lines(app: App) -> list[SettingLine]:
    """Every setting, without secrets; those that were set come first."""
    given, fields = app.settings.model_fields_set, type(app.settings).model_fields
    lines = [
        SettingLine(f"ROLLOUT_{name.upper()}", value, fields[name].description or "", name in given)
        for name, value in shown_settings(app.settings).items()
    ]
    return sorted(lines, key=lambda line: not line.changed)


def add(router: APIRouter) -> None:
    """Add the page."""

    @router.get("/system", **shown(Right.ADMIN))
    async def system_page(request: Request) -> Response:
        """The state of the service."""
        page_state: PageState = request.state.page_state
        template = "system_live.html" if is_fragment(request) else "system.html"
        results = request.app.state.checks.results
        return await page_state.service.pools.run(
            "read", lambda: render(request, template, **page(page_state, results()))
        )
