"""The pages of a command for many rollouts: a confirmation that lists what it touches, and what became of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.domain.errors import InputError
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.api.service import service_of
from rollout.interfaces.dashboard import bulk, buttons, confirmations, formatting, overview_page
from rollout.interfaces.dashboard.actions import by_of
from rollout.interfaces.dashboard.bulk import BulkCommand
from rollout.interfaces.dashboard.overview_page import OverviewFilter
from rollout.interfaces.dashboard.page_route import form_of, render, shown, visitor
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.views import rollout as views

_POOLS = {BulkCommand.PAUSE: "urgent", BulkCommand.RESUME: "change", BulkCommand.ROLLBACK: "urgent"}
_VERBS = {BulkCommand.PAUSE: "Pause", BulkCommand.RESUME: "Resume", BulkCommand.ROLLBACK: "Roll back"}
_SAYS = {
    BulkCommand.PAUSE: "Each rollout stays at its position: callers keep reaching the same versions, and no step "
    "follows until somebody resumes it. Gates keep watching and may still roll it back.",
    BulkCommand.RESUME: "Each rollout continues from its position; the next step follows when its hold and gates allow.",
    BulkCommand.ROLLBACK: "Every number goes back to its baseline now, whatever hold, gate, window or pause says.",
}


@dataclass(frozen=True, slots=True)
class TouchedRow:
    """One rollout that the command would touch; `note` says what else the reader should know about it."""

    of: Rollout
    agent: str
    weight: float
    numbers: int
    note: str


def add(router: APIRouter) -> None:
    """Add the confirmation and the form of every bulk command."""
    for command in BulkCommand:
        _confirmation(router, command)
        _form(router, command)


def _confirmation(router: APIRouter, command: BulkCommand) -> None:
    @router.get(f"/bulk/{command}", **shown(buttons.RIGHTS[command], "read"))
    async def confirmation(request: Request) -> Response:
        """List what the command touches, of what the filter of the overview shows, and ask for the reason."""
        return await _ask(request, command, overview_page.read_filter(request.query_params))


def _form(router: APIRouter, command: BulkCommand) -> None:
    @router.post(f"/bulk/{command}", **shown(buttons.RIGHTS[command], _POOLS[command]))
    async def form(request: Request) -> Response:
        """Order it for each chosen rollout, and say what became of each."""
        service, caller, given = service_of(request), visitor(request).caller, form_of(request)
        try:
            by = by_of(caller, given, command)
            answers = await service.pools.run(_POOLS[command], lambda: bulk.order(service, caller, command, by, given))
        except InputError as error:
            chosen = overview_page.read_filter(request.query_params)
            return await _ask(request, command, chosen, status=error.status, trouble=error.message)
        if command is BulkCommand.ROLLBACK:
            for answer in answers:
                if not answer.trouble:
                    service.followers.follow(answer.id)  # driven here at once; any process continues it
        failed = [a for a in answers if a.trouble]
        done = [a for a in answers if not a.trouble]
        return render(request, "bulk_done.html", verb=_VERBS[command], done=done, failed=failed)


async def _ask(
    request: Request, command: BulkCommand, chosen: OverviewFilter, *, status: int = 200, trouble: str = ""
) -> Response:
    page_state: PageState = request.state.page_state
    caller = visitor(request).caller

    def work() -> Response:
        fitting = chosen.live(page_state, caller)[1]
        touched = [r for r in fitting if bulk.touches(command, r)]
        sizes = page_state.service.queries.sizes([r.id for r in touched])
        values: dict[str, Any] = {
            "command": str(command),
            "verb": _VERBS[command],
            "says": _SAYS[command],
            "chosen": chosen,
            "rows": [_row(command, r, sizes.get(r.id, 0)) for r in touched],
            "numbers": sum(sizes.values()),
            "left": len(fitting) - len(touched),
            "trouble": trouble,
            "request_id": secrets.token_hex(10),
        }
        return render(request, "bulk.html", status, **values)

    return await page_state.service.pools.run("read", work)


def _row(command: BulkCommand, r: Rollout, numbers: int) -> TouchedRow:
    return TouchedRow(r, formatting.tried(r.plan), views.summary(r)["weight"], numbers, _note(command, r))


def _note(command: BulkCommand, r: Rollout) -> str:
    if command is BulkCommand.RESUME and confirmations.has_failed(r):
        return "Its gates have failed: resuming overrides that."
    if r.phase is Phase.PENDING:
        return {
            BulkCommand.PAUSE: "Scheduled: it does not start until it is resumed.",
            BulkCommand.ROLLBACK: "Scheduled: it will not start.",
        }.get(command, "")
    return ""
