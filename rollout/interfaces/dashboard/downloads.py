"""Files of a rollout to keep: its report, its journal, its plan, and the kit."""

from __future__ import annotations

import json
from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from rollout.adapters.store import archive
from rollout.adapters.store.anchors import anchors_of, shared_anchors
from rollout.app import App
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.dashboard.page_route import shown, visitor
from rollout.interfaces.views import report_pages
from rollout.interfaces.views import rollout as views
from rollout.kit.build import make_kit

Make = Callable[[App, Rollout], str]


def add(router: APIRouter) -> None:
    """Add the routes of the files."""
    _file(router, "report.html", "report-{}.html", "text/html", Right.READ, _report)
    _file(router, "journal.jsonl", "journal-{}.jsonl", "application/jsonl", Right.READ, _journal)
    _file(router, "plan.json", "plan-{}.json", "application/json", Right.READ, _plan)
    _file(router, "kit.py", "rollback-{}.py", "text/x-python", Right.HALT, _kit)


def _file(router: APIRouter, path: str, name: str, media_type: str, right: Right, make: Make) -> None:
    @router.get(f"/rollouts/{{id}}/{path}", **shown(right))
    async def file(request: Request, id: str) -> Response:
        """The file, to be saved and never shown in the page's own origin."""
        service, caller = service_of(request), visitor(request).caller

        def work() -> Response:
            r = service.find(caller, id)
            headers = {"Content-Disposition": f'attachment; filename="{name.format(r.id)}"'}
            return Response(make(service.app, r), 200, headers, media_type)

        return await service.pools.run("read", work)


def _report(app: App, r: Rollout) -> str:
    return report_pages.html(LocalBackend(app).report_on(r))


def _journal(app: App, r: Rollout) -> str:
    entries = app.store.history(r.id)
    anchors = [*anchors_of(entries), *shared_anchors(app.database)]
    return "".join(f"{line}\n" for line in archive.lines(entries, anchors))


def _plan(app: App, r: Rollout) -> str:
    return json.dumps(views.plan_document(r.plan), indent=2, ensure_ascii=False) + "\n"


def _kit(app: App, r: Rollout) -> str:
    settings = app.settings
    return make_kit(
        r, base_url=settings.retell_base_url, lease=settings.lease, horizon=settings.horizon, now=app.store.now()
    )
