"""Commands on one rollout. Rollback and pause work in threads of their own, and rollback has no limit."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.commands import By
from rollout.interfaces.api.answers import PROBLEMS, CommandAnswer, RollbackAnswer
from rollout.interfaces.api.guard import Guarded, caller_of, needs
from rollout.interfaces.api.middleware import root_of
from rollout.interfaces.api.routes.rollouts import IdempotencyKey
from rollout.interfaces.api.schemas import CommandBody, PromoteBody, RollbackBody, RolloutId, SetBody, ShipBody, same_id
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right

router = APIRouter(prefix="/api/v1/rollouts/{id}", tags=["commands"], route_class=Guarded)
ERRORS = (400, 404, 408, 409, 413, 415, 422)


async def _do(
    request: Request, name: str, pool: str, id_: str, body: CommandBody | None, key: str | None, **more: Any
) -> JSONResponse:
    service, caller = service_of(request), caller_of(request)
    body = body or CommandBody()
    by = By(caller.actor, body.reason, same_id(key, body.request_id))
    expect = None if body.expect is None else body.expect.position
    given = await service.pools.run(pool, lambda: service.command(caller, name, id_, by, expect=expect, **more))
    return JSONResponse(given.to_json())


@router.post(
    "/promote",
    response_model=CommandAnswer,
    summary="Go to the next step",
    **needs(Right.OPERATE, "change", errors=ERRORS),
)
async def promote(
    request: Request, id: RolloutId, body: PromoteBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Now, without waiting for hold and gates; with `full` to the last step; in the last step, ends its bake."""
    full = body is not None and body.full
    return await _do(request, "promote", "change", id, body, idempotency_key, full=full)


@router.post(
    "/set", response_model=CommandAnswer, summary="Set weights by hand", **needs(Right.OPERATE, "change", errors=ERRORS)
)
async def set_weights(
    request: Request, id: RolloutId, body: SetBody, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Write them in place of the step's on the numbers of its wave; its hold starts again, then the plan continues."""
    return await _do(request, "set", "change", id, body, idempotency_key, weights=body.by_arm)


@router.post(
    "/ship", response_model=CommandAnswer, summary="Ship a version", **needs(Right.OPERATE, "change", errors=ERRORS)
)
async def ship(request: Request, id: RolloutId, body: ShipBody, idempotency_key: IdempotencyKey = None) -> JSONResponse:
    """It gets every call of every number, bakes like the last step, and is promoted; 409 says what evidence it lacks."""
    more = {"variant": body.variant, "anyway": body.anyway}
    return await _do(request, "ship", "change", id, body, idempotency_key, **more)


@router.post(
    "/pause",
    response_model=CommandAnswer,
    summary="Hold at the current position",
    **needs(Right.HALT, "urgent", errors=ERRORS),
)
async def pause(
    request: Request, id: RolloutId, body: CommandBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Gates keep watching, and may still roll back."""
    return await _do(request, "pause", "urgent", id, body, idempotency_key)


@router.post(
    "/resume",
    response_model=CommandAnswer,
    summary="Continue after a pause",
    **needs(Right.OPERATE, "change", errors=ERRORS),
)
async def resume(
    request: Request, id: RolloutId, body: CommandBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Leave paused only; held is left by adopt, restore, rollback or stop."""
    return await _do(request, "resume", "change", id, body, idempotency_key)


@router.post(
    "/stop",
    response_model=CommandAnswer,
    summary="End it and leave the split as it is",
    **needs(Right.OPERATE, "change", errors=ERRORS),
)
async def stop(
    request: Request, id: RolloutId, body: CommandBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Nothing is written; the numbers keep their split."""
    return await _do(request, "stop", "change", id, body, idempotency_key)


@router.post(
    "/adopt",
    response_model=CommandAnswer,
    summary="Accept the live split",
    **needs(Right.OPERATE, "retell", errors=ERRORS),
)
async def adopt(
    request: Request, id: RolloutId, body: CommandBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """An answer to drift: what the numbers show now is right; continue from there."""
    return await _do(request, "adopt", "retell", id, body, idempotency_key)


@router.post(
    "/restore",
    response_model=CommandAnswer,
    summary="Write the rollout's split again",
    **needs(Right.OPERATE, "retell", errors=ERRORS),
)
async def restore(
    request: Request, id: RolloutId, body: CommandBody | None = None, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """An answer to drift: what we confirmed is right; it is written again over what the numbers show."""
    return await _do(request, "restore", "retell", id, body, idempotency_key)


_ROLLBACK = needs(Right.HALT, "urgent", errors=ERRORS, limited=False)
_ROLLBACK["responses"][202] = {
    "description": "Ordered and committed, but not read back yet; the service keeps trying until it is.",
    "model": RollbackAnswer,
    "headers": {"Location": {"description": "The rollout.", "schema": {"type": "string"}}},
}
_ROLLBACK["responses"][429] = {
    **PROBLEMS[429],
    "description": "Too many wrong tokens from this address. A valid token never gets this.",
}


@router.post("/rollback", response_model=RollbackAnswer, summary="Write every baseline back", **_ROLLBACK)
async def rollback(
    request: Request,
    id: RolloutId,
    body: RollbackBody | None = None,
    idempotency_key: IdempotencyKey = None,
    wait: Annotated[
        float, Query(ge=0, le=20, description="Seconds to wait for the read-back; 0: answer once it is ordered.")
    ] = 10.0,
) -> JSONResponse:
    """Commit the order, then drive it at once in this process: no queue, no tick.

    200 when every number is read back at its baseline (or nothing had been written), 202 when that takes
    longer. No rate limit, window, freeze, gate or pause stands before it.
    """
    service, caller = service_of(request), caller_of(request)
    body = body or RollbackBody()
    by = By(caller.actor, body.reason, same_id(idempotency_key, body.request_id))
    given = await service.pools.run("urgent", lambda: service.command(caller, "rollback", id, by))
    id_ = given.id
    following = asyncio.wrap_future(service.followers.follow(id_))
    # a failure that nobody waits for any more is the scheduler's to repeat
    following.add_done_callback(lambda f: f.cancelled() or f.exception())
    done, _ = await asyncio.wait({following}, timeout=wait) if wait else (set[Any](), None)
    trouble = None
    if done:
        error = following.exception()
        if error is None:
            shown = following.result()
            return JSONResponse({**shown, "read_back": True, "seconds": shown.get("seconds"), "trouble": None})
        trouble = (
            error.message if isinstance(error, RolloutError) else f"unexpected {type(error).__name__}; the log has it"
        )
    shown = await service.pools.run("urgent", lambda: service.shown(id_))
    late = {**shown, "read_back": False, "seconds": None, "trouble": trouble}
    return JSONResponse(late, 202, {"Location": f"{root_of(request)}/api/v1/rollouts/{id_}"})
