"""One phone number: what it serves, and its history across rollouts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from rollout.domain.errors import NotReachable, UnknownRollout
from rollout.domain.lifecycle.commands import state_of
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.writes.answers import Failure, Reading
from rollout.interfaces.api.answers import NumberAnswer
from rollout.interfaces.api.guard import Guarded, caller_of, needs
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.views import rollout

router = APIRouter(prefix="/api/v1/numbers", tags=["numbers"], route_class=Guarded)
Number = Annotated[str, Path(pattern=r"^\+[1-9][0-9]{1,14}$", description="E.164.", examples=["+14157774444"])]


@router.get("/{number}", response_model=NumberAnswer, summary="One number", **needs(Right.READ, errors=(404, 422)))
async def get_number(
    request: Request,
    number: Number,
    fresh: Annotated[bool, Query(description="Read the number from Retell now.")] = False,
) -> JSONResponse:
    """Its split by the last look (or now, with `fresh`), who drives it, and the rollouts it was in, the newest 100."""
    service, caller = service_of(request), caller_of(request)
    pool = "look" if fresh else "read"
    return JSONResponse(await service.pools.run(pool, lambda: describe(service, caller, number, fresh)))


def describe(service: ApiService, caller: Caller, number: str, fresh: bool) -> dict[str, Any]:
    """The number's page as values; UnknownRollout when it was in no rollout that is this caller's business."""
    rows = service.queries.history_of(number, caller.numbers)
    earlier = service.queries.count_on(number, caller.numbers) - len(rows)
    if not rows and not (fresh and caller.covers([number])):
        raise UnknownRollout(f"no rollout has used {number}; ?fresh=true reads it from Retell", number=number)
    serves, seen_at = None, None
    newest = max((row for row in rows if row.live_at is not None), key=lambda row: str(row.live_at), default=None)
    if newest is not None:
        serves, seen_at = newest.live or {}, newest.live_at
    if fresh:
        with service.app.numbers.session([number]) as session:
            reading = session.read([number]).get(number)
        if isinstance(reading, Failure) and reading.number_unknown:
            raise UnknownRollout(f"Retell does not know {number}; write a number of the key's workspace", number=number)
        if not isinstance(reading, Reading):
            raise NotReachable(f"{number} cannot be read: {reading.detail if reading else 'no answer'}")
        serves, seen_at = dict(reading.lists), service.app.store.now()
    driving = next((row.rollout for row in rows if row.driven), None)
    try:
        rollback = service.app.store.resolve(service.app.commands.on_number(number), caller.numbers)
    except UnknownRollout:
        rollback = None
    if any(row.rollout.id == rollback and row.rollout.phase is Phase.ROLLED_BACK for row in rows):
        rollback = None
    return {
        "number": number,
        "driven_by": None if driving is None else state_of(driving),
        "serves": serves,
        "seen_at": rollout.when(seen_at),
        "rollback": rollback,
        "earlier": max(0, earlier),
        "rollouts": [
            {
                **rollout.summary(row.rollout),
                "number_wave": row.wave,
                "number_step": row.step,
                "state": row.state,
                "written": row.written,
                "baseline": row.baseline,
                "confirmed": row.confirmed,
                "live": row.live,
                "live_at": rollout.when(row.live_at),
            }
            for row in rows
        ],
    }
