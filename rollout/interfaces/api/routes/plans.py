"""Plans before their start: check them against the live numbers, rehearse them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from rollout.domain.errors import InputError, RolloutError, code_of
from rollout.domain.plan.plan import Plan
from rollout.interfaces.api.answers import Checked
from rollout.interfaces.api.guard import Guarded, caller_of, needs
from rollout.interfaces.api.plan_answers import RehearsalAnswer
from rollout.interfaces.api.plan_body import plan_of
from rollout.interfaces.api.problems import NotWired
from rollout.interfaces.api.routes.rollouts import PLAN_BYTES
from rollout.interfaces.api.schemas import PlanBody
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right

router = APIRouter(prefix="/api/v1/plans", tags=["plans"], route_class=Guarded)
ERRORS = (400, 408, 413, 415, 422)


@router.post(
    "/check", response_model=Checked, summary="Check a plan", **needs(Right.OPERATE, "retell", PLAN_BYTES, ERRORS)
)
async def check(request: Request, body: PlanBody) -> JSONResponse:
    """Pre-flight and the exact PATCH body of each step and of the rollback. Writes nothing."""
    service, caller = service_of(request), caller_of(request)

    def work() -> dict[str, Any]:
        plan = plan_of(body)
        service.allow_plan(caller, plan)
        return service.backend.examine(plan, strict=body.strict)

    return JSONResponse(await service.pools.run("retell", work))


_TESTS = needs(Right.OPERATE, "retell", PLAN_BYTES, ERRORS)
_TESTS["responses"][200] = {
    "description": "Lines of JSON: `told`, how far they are; and last `report`, as of `check`, or `problem`, why not.",
    "content": {"application/jsonl": {"schema": {"type": "string"}, "example": '{"told": "tests: 4 of 12 runs"}\n'}},
}


@router.post("/tests", response_class=StreamingResponse, summary="Check a plan and run its tests", **_TESTS)
async def tests(request: Request, body: PlanBody) -> StreamingResponse:
    """As `check`, and then the plan's tests of the agent on Retell, which take minutes. Changes no number."""
    service, caller = service_of(request), caller_of(request)

    def read() -> Plan:
        plan = plan_of(body)
        service.allow_plan(caller, plan)
        if plan.tests is None:
            raise InputError("plan: it has no tests; write for example tests: {cases: all}", field="plan")
        return plan

    plan = await service.pools.run("retell", read)

    def work(told: Callable[[str], None]) -> str:
        try:
            report = service.backend.examine(
                plan, strict=body.strict, tests=lambda line: told(json.dumps({"told": line}))
            )
        except RolloutError as error:
            problem = {"status": error.status, "code": code_of(type(error)), "detail": error.message}
            return json.dumps({"problem": error.details | problem})
        return json.dumps({"report": report})

    return StreamingResponse(service.pools.lines("tests", work), media_type="application/jsonl")


@router.post(
    "/rehearse",
    summary="Play a plan against modelled callers",
    response_model=RehearsalAnswer,
    **needs(Right.OPERATE, "model", PLAN_BYTES, (*ERRORS, 501)),
)
async def rehearse(request: Request, body: PlanBody) -> JSONResponse:
    """Play a plan: when each step would be decided, and what the plan can and cannot detect. Writes nothing."""
    service, caller = service_of(request), caller_of(request)
    play = service.rehearse
    if play is None:
        raise NotWired("this service cannot rehearse plans; use `rollout rehearse PLAN`")

    def work() -> dict[str, Any]:
        plan = plan_of(body)
        service.allow_plan(caller, plan)
        return play(plan)

    return JSONResponse(await service.pools.run("model", work))
