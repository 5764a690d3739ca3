"""Hooks: alerts of other tools, and Retell's call webhooks."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse

from rollout.domain.incoming.alerts import SOURCES
from rollout.interfaces.api.alerting import take
from rollout.interfaces.api.answers import AlertsTaken, Ready
from rollout.interfaces.api.guard import Guarded, caller_of, needs, read_body
from rollout.interfaces.api.middleware import MAX_BODY
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right

router = APIRouter(prefix="/hooks", tags=["hooks"], route_class=Guarded)
LONGEST_SOURCE = 40
Source = Annotated[
    str,
    Path(
        max_length=LONGEST_SOURCE,
        description="The tool that sends the alert.",
        examples=["generic"],
        json_schema_extra={"enum": list(SOURCES)},
    ),
]


@router.post(
    "/alerts/{source}",
    response_model=AlertsTaken,
    summary="An alert that may stop a rollout",
    **needs(Right.TRIGGER, "hooks", MAX_BODY, (400, 408, 413, 415, 422)),
)
async def alerts(request: Request, source: Source, body: dict[str, Any]) -> JSONResponse:
    """Roll back or pause the live rollouts whose plan's `alerts:` match, and say what was done.

    An alert told again does nothing twice; a resolved one does nothing. The alert is the journal's reason.
    """
    service, caller = service_of(request), caller_of(request)
    return JSONResponse(await service.pools.run("hooks", lambda: take(service, caller, source, body)))


_RETELL = needs(Right.SIGNATURE, "hooks", MAX_BODY, (401, 408, 413, 422, 429))
_RETELL["openapi_extra"]["requestBody"] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object"},
            "example": {"event": "call_ended", "call": {"call_id": "call_1", "agent_id": "agent_abc"}},
        }
    },
}


@router.post("/retell", response_model=Ready, summary="Retell's call webhooks", **_RETELL)
async def retell(
    request: Request,
    x_retell_signature: Annotated[
        str | None, Header(description="v=<unix ms>,d=<HMAC-SHA256 of body and ms, hex>; at most 5 minutes old.")
    ] = None,
) -> JSONResponse:
    """Add samples to live rollouts' gates. Verified over the raw bytes; a replay is answered and ignored."""
    service = service_of(request)
    body = await read_body(request)
    given = request.headers.getlist("x-retell-signature")
    if len(body) > 64 * 1024:
        digest = await asyncio.to_thread(service.intake.verify, given, body)
    else:
        digest = service.intake.verify(given, body)
    service.intake.put(digest, body)
    return JSONResponse({"status": "taken"})
