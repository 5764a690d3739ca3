"""Rollouts: the list, one, its journal, its events, and starting one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from rollout.domain.errors import InputError
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.started import StartedRollout
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.api.answers import History, RolloutModel, Started, Summaries
from rollout.interfaces.api.guard import KIB, Guarded, caller_of, needs
from rollout.interfaces.api.middleware import root_of
from rollout.interfaces.api.plan_body import plan_of
from rollout.interfaces.api.report_answers import ReportAnswer
from rollout.interfaces.api.schemas import MOST_SEQ, RolloutId, StartBody, same_id
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.api.stream import EventStream
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.views import rollout
from rollout.interfaces.views.report_form import ReportForm
from rollout.interfaces.views.report_pages import written

router = APIRouter(prefix="/api/v1/rollouts", tags=["rollouts"], route_class=Guarded)
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=120,
        description="Repeating it gives the first answer again; equals `request_id`.",
    ),
]
MOST_ITEMS, PAGE, ENTRIES = 200, 50, 100
_REPORT_TYPES = {
    ReportForm.JSON: "application/json",
    ReportForm.TEXT: "text/plain; charset=utf-8",
    ReportForm.HTML: "text/html; charset=utf-8",
}
PLAN_BYTES = 320 * KIB  # a plan of 256 KiB, and what escaping it in JSON adds


@router.get("", response_model=Summaries, summary="Rollouts, newest first", **needs(Right.READ, errors=(422,)))
async def list_rollouts(
    request: Request,
    live: Annotated[bool | None, Query(description="true: unfinished ones; false: finished ones.")] = None,
    name: Annotated[str | None, Query(max_length=80, description="Only those of this name.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items of a page.")] = PAGE,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next` of the previous page; left out: the first page.")
    ] = None,
) -> Response:
    """A page of rollouts without their targets; follow `next` for more."""
    service, caller = service_of(request), caller_of(request)
    before = None if cursor is None else _read_cursor(cursor)
    return await _answer(service, lambda: page(service, caller, live, name, before, limit))


def page(
    service: ApiService,
    caller: Caller,
    live: bool | None,
    name: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> dict[str, Any]:
    """One page of what this caller may see; several reads when most is not theirs to see."""
    found: list[Rollout] = []
    for _ in range(20):
        rows = service.app.store.summaries(live=live, name=name, before=before, limit=limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        if rows:
            before = (rows[-1].created_at, rows[-1].id)
        seen = service.visible(caller, rows)
        if len(found) + len(seen) > limit:
            seen = seen[: limit - len(found)]
            before, more = (seen[-1].created_at, seen[-1].id), True
        found += seen
        if not more or len(found) >= limit:
            break
    following = _write_cursor(before) if more and before is not None else None
    return {"items": [rollout.summary(r) for r in found], "next": following}


@router.post(
    "",
    status_code=201,
    response_model=Started,
    summary="Start a rollout",
    **needs(Right.OPERATE, "retell", PLAN_BYTES, errors=(400, 408, 409, 413, 415, 422)),
)
async def start_rollout(request: Request, body: StartBody, idempotency_key: IdempotencyKey = None) -> JSONResponse:
    """Check the plan against the live numbers and record the rollout; refused changes nothing."""
    service, caller = service_of(request), caller_of(request)
    by = By(caller.actor, body.reason, same_id(idempotency_key, body.request_id))

    def work() -> StartedRollout:
        plan = plan_of(body)
        service.allow_plan(caller, plan)
        return service.app.commands.start(plan, by, at=body.start_at, strict=body.strict)

    started = await service.pools.run("retell", work)
    return JSONResponse(started.to_json(), 201, {"Location": f"{root_of(request)}/api/v1/rollouts/{started.id}"})


@router.get("/{id}", response_model=RolloutModel, summary="One rollout", **needs(Right.READ, errors=(404, 409, 422)))
async def show_rollout(request: Request, id: RolloutId) -> Response:
    """One rollout: where it stands, what happens next, when, and why not yet; its targets with their live split."""
    service, caller = service_of(request), caller_of(request)
    return await _answer(service, lambda: service.backend.document(service.find(caller, id)))


@router.get("/{id}/history", response_model=History, summary="The journal", **needs(Right.READ, errors=(404, 409, 422)))
async def history(
    request: Request,
    id: RolloutId,
    after: Annotated[int, Query(ge=0, le=MOST_SEQ, description="Only entries after this `seq`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items of a page.")] = ENTRIES,
) -> Response:
    """Everything that happened, by whom and why, oldest first."""
    service, caller = service_of(request), caller_of(request)

    def work() -> dict[str, Any]:
        id_ = service.app.store.resolve(id, caller.numbers)
        found = service.app.store.history(id_, after, limit + 1)
        items = [rollout.entry(e) for e in found[:limit]]
        return {"items": items, "next": items[-1]["seq"] if len(found) > limit else None}

    return await _answer(service, work)


_REPORT = needs(Right.READ, errors=(404, 409, 422))
_REPORT["responses"][200] = {
    "content": {media_type: {"schema": {"type": "string"}} for media_type in ("text/html", "text/plain")}
}


@router.get("/{id}/report", response_model=ReportAnswer, summary="The report", **_REPORT)
async def report(
    request: Request,
    id: RolloutId,
    form: Annotated[
        ReportForm, Query(alias="format", description="json; text, for a terminal; html, one self-contained page.")
    ] = ReportForm.JSON,
) -> Response:
    """The report: what was tried, how the calls of each version went, and what to do or was done."""
    service, caller = service_of(request), caller_of(request)

    def work() -> Response:
        found = service.find(caller, id)
        headers = {"Content-Disposition": f'attachment; filename="report-{found.id}.html"'}
        content = written(service.backend.report_on(found), form)
        return Response(content, 200, headers if form is ReportForm.HTML else None, _REPORT_TYPES[form])

    return await service.pools.run("read", work)


@router.get(
    "/{id}/events",
    status_code=200,
    response_class=EventStream,
    summary="The journal as it grows",
    **{
        **needs(Right.READ, errors=(404, 409, 422)),
        "responses": {
            **needs(Right.READ, errors=(404, 409, 422))["responses"],
            200: {
                "description": "Server-sent events: `entry` (id is the entry's seq) and `state` (the summary).",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "id: 4\nevent: entry\n"}},
            },
        },
    },
)
async def events(
    request: Request,
    id: RolloutId,
    after: Annotated[int, Query(ge=0, le=MOST_SEQ, description="Only entries after this `seq`.")] = 0,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=20, description="Takes precedence over `after`.")
    ] = None,
) -> Response:
    """Entries from the beginning (or behind `after`), then those to come. Ends when the service stops."""
    service, caller = service_of(request), caller_of(request)
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit() and int(last_event_id) <= MOST_SEQ):
            raise InputError("Last-Event-ID: write the id of an event, a whole number")
        after = int(last_event_id)
    id_ = await service.pools.run("read", lambda: service.app.store.resolve(id, caller.numbers))
    return EventStream(service.hub, service.hub.subscribe(id_, caller, after))


async def _answer(service: ApiService, work: Callable[[], dict[str, Any]]) -> JSONResponse:
    """The findings of `work`, of one moment; asked and written in a reader's thread: a fleet's answer is long."""

    def asked() -> JSONResponse:
        with service.app.database.at_one_moment():
            found = work()
        return JSONResponse(found)

    return await service.pools.run("read", asked)


def _write_cursor(at: tuple[datetime, str]) -> str:
    return base64.urlsafe_b64encode(f"{at[0].isoformat()}|{at[1]}".encode()).decode()


def _read_cursor(text: str) -> tuple[datetime, str]:
    try:
        moment, _, id_ = base64.b64decode(text.encode(), b"-_", validate=True).decode().partition("|")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None or not id_ or not id_.isprintable():
            raise ValueError
    except (ValueError, binascii.Error):
        raise InputError("cursor: write the `next` of the previous page, unchanged") from None
    return at, id_
