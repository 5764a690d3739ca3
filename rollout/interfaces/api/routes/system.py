"""Health, readiness, metrics, and the API's description."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from rollout.adapters.store import migrate
from rollout.adapters.store.disk_reserve import GIVEN_BACK
from rollout.domain.errors import RolloutError
from rollout.interfaces.api.answers import PROBLEMS, Ready
from rollout.interfaces.api.guard import Guarded, authenticate, caller_of, needs
from rollout.interfaces.api.problems import NotWired, problem
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.auth.roles import Caller, Right

router = APIRouter(tags=["service"], route_class=Guarded)
PROBE_SECONDS = 1.0  # readiness is asked by many; the database is asked this often at most
SCHEMA_SECONDS = 30.0


@router.get("/healthz", response_model=Ready, summary="The process is alive", **needs(Right.PUBLIC))
async def health(request: Request) -> JSONResponse:
    """Say nothing of the database or of Retell: a restart would not fix those."""
    return JSONResponse({"status": "alive"})


_READY = needs(Right.PUBLIC, errors=(503,))
_READY["responses"][503] = {**PROBLEMS[503], "description": "Not ready; `checks` says why, for tokens that may read."}


@router.get("/readyz", response_model=Ready, summary="The service can do its work", **_READY)
async def ready(request: Request) -> Response:
    """The database can be written and has our schema, and the last good tick is not too old."""
    service = service_of(request)
    checks: Checks = request.app.state.checks
    found = await service.pools.run("read", checks.results)
    good = all(value == "ok" for value in found.values()) and not service.stopping
    try:
        caller = await authenticate(service, request, "read")
        detail = {"checks": found} if caller.may(Right.READ) else {}
    except RolloutError:
        detail = {}
    if good:
        return JSONResponse({"status": "ready", **detail})
    return problem(request, 503, "not_ready", "the service is not ready", detail)


_ID_LABEL = re.compile(r'[{,]id="([^"\\]+)"')  # inside a label's value the quotes are escaped
METRICS = "text/plain; version=0.0.4; charset=utf-8"


def _visible(service: ApiService, caller: Caller, text: bytes) -> bytes:
    """For a token that is limited to some numbers: the samples of its own rollouts and no others."""
    if caller.numbers is None:
        return text
    lines = text.decode().splitlines(keepends=True)
    ids = {line: found[1] for line in lines if (found := _ID_LABEL.search(line)) is not None}
    mine = service.business_of(caller, set(ids.values()))
    return "".join(line for line in lines if line.startswith("#") or ids.get(line) in mine).encode()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    **{
        **needs(Right.READ, errors=(501,)),
        "responses": {
            **needs(Right.READ, errors=(501,))["responses"],
            200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    },
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Read from the store when asked for, so that a restart loses none.

    A token that is limited to some numbers gets the samples of its own rollouts alone.
    """
    service = service_of(request)
    if service.metrics is None:
        raise NotWired("this service was started without metrics")
    read, caller = service.metrics, caller_of(request)
    text = await service.pools.run("read", lambda: _visible(service, caller, read()))
    return Response(text, media_type=METRICS)


@router.get("/api/v1/openapi.json", include_in_schema=False, **needs(Right.PUBLIC))
async def description(request: Request) -> JSONResponse:
    """The API's description; it holds nothing that is not in the documentation."""
    return JSONResponse(request.app.openapi())


class Checks:
    """The checks of readiness, made at most once a second however many ask."""

    def __init__(self, service: ApiService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}
        self._at: float | None = None
        self._schema_at: float | None = None

    def results(self) -> dict[str, str]:
        """The result of each check by its name: `ok`, or a sentence about the fault."""
        now = self._service.app.clock.boot()
        with self._lock:
            if self._at is None or now - self._at >= PROBE_SECONDS:
                if self._schema_at is None or now - self._schema_at >= SCHEMA_SECONDS:
                    self._found["schema"] = _try(lambda: migrate.require_current(self._service.app.database))
                    self._schema_at = now if self._found["schema"] == "ok" else None
                self._found["database"] = _try(self._probe)
                if self._found["database"] == "ok" and self._service.app.store.disk_reserve.given_back:
                    self._found["database"] = GIVEN_BACK
                self._at = now
            return {**self._found, "ticks": self._ticks(now)}

    def _probe(self) -> None:
        self._service.app.store.heartbeats.require_same()
        self._service.queries.probe()

    def _ticks(self, now: float) -> str:
        scheduler = self._service.scheduler
        if scheduler is None:
            return "ok"
        if scheduler.last_good is None:
            return "no tick yet"
        limit = max(10.0, 10 * self._service.app.settings.tick_seconds)
        age = now - scheduler.last_good
        return "ok" if age <= limit else f"the last good tick was {age:.0f} s ago"


def _try(check: Callable[[], Any]) -> str:
    try:
        check()
    except RolloutError as error:
        return error.message
    return "ok"
