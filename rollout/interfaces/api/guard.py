"""The route class of the API: it checks the right, the rate and the body before the endpoint runs.

A route without a declared right cannot be made: deny by default.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from rollout.domain.errors import Forbidden, InputError, RolloutError, Unauthenticated
from rollout.interfaces.api.answers import PROBLEMS
from rollout.interfaces.api.middleware import MAX_BODY, is_own_address
from rollout.interfaces.api.problems import BodyTooLarge, WrongMediaType, from_error, unexpected
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.api.strict_json import read_json
from rollout.interfaces.auth.roles import Caller, Right

KIB = 1024
JSON = "application/json"
_LIMITED = {Right.READ: "read", Right.OPERATE: "change", Right.ADMIN: "change", Right.HALT: "halt"}


def needs(
    right: Right, pool: str = "read", body: int = 64 * KIB, errors: tuple[int, ...] = (), limited: bool = True
) -> dict[str, Any]:
    """The declaration of a route: its right, the pool it works in, its body's limit in bytes, its errors.

    `limited` False: no rate limit, whatever else happens (rollback).
    """
    extra: dict[str, Any] = {"x-right": str(right), "x-pool": pool, "x-body": body, "x-limited": limited}
    always: tuple[int, ...] = (421, 500)
    if right in (Right.PUBLIC, Right.SIGNATURE):
        extra["security"] = []
    else:
        extra["security"] = [{"token": []}]
        unknown = (422,) if right is Right.READ else ()
        always = (401, 403, 421, *unknown, 429, 500, 503)
    codes = sorted({*always, *errors})
    return {"openapi_extra": extra, "responses": {code: PROBLEMS[code] for code in codes}}


class Guarded(APIRoute):
    """A route of the API."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        extra = more.get("openapi_extra") or {}
        if "x-right" not in extra:
            raise RuntimeError(f"{path} declares no right: write **needs(Right...)")
        self.right = Right(extra["x-right"])
        self.pool = str(extra["x-pool"])
        self.most_body = int(extra["x-body"])
        self.limited = bool(extra["x-limited"])
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        takes_json = self.body_field is not None
        parameters = _query_parameters(self.dependant)

        async def handler(request: Request) -> Response:
            try:
                request.state.caller = await self._admit(service_of(request), request)
                if self.right is Right.READ:
                    _require_known(request, parameters)
                if takes_json:
                    await _take_json(request, self.most_body)
                return await inner(request)
            except RolloutError as error:
                return from_error(request, error)
            except (RequestValidationError, HTTPException):
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: the answer must not tell what broke
                return unexpected(request, error)

        return handler

    async def _admit(self, service: ApiService, request: Request) -> Caller | None:
        """The caller, if they have the route's right; None where the route is public."""
        if self.right is Right.PUBLIC or self.right is Right.SIGNATURE:
            return None
        caller = await authenticate(service, request, self.pool)
        self._allow(service, request, caller)
        return caller

    def _allow(self, service: ApiService, request: Request, caller: Caller) -> None:
        """Forbidden without the route's right, TooMany beyond the limit."""
        try:
            caller.need(self.right)
        except (Forbidden, Unauthenticated) as error:
            key = f"{caller.actor}|{request.method}|{self.path}"
            service.note("refused", caller.actor, error.message, key, {"path": self.path})
            raise
        if self.limited:
            kind = _LIMITED.get(self.right, "change")
            bucket = service.reads if kind in ("read", "halt") else service.changes
            bucket.take(f"{kind}|{caller.actor}")


def _query_parameters(of: Dependant) -> set[str]:
    """The names of a route's query parameters, and of what it depends on."""
    return {field.alias for field in of.query_params}.union(*map(_query_parameters, of.dependencies))


def _require_known(request: Request, parameters: set[str]) -> None:
    """InputError for any other query parameter: a filter with a typo would find everything."""
    for name in request.query_params:
        if name not in parameters:
            have = f"write one of: {', '.join(sorted(parameters))}" if parameters else "leave it out"
            raise InputError(f"{name[:80]}: there is no such query parameter; {have}", field=name[:80])


async def authenticate(service: ApiService, request: Request, pool: str) -> Caller:
    """The caller by the bearer token; cookies mean nothing here. Unauthenticated."""
    source = source_of(request)
    given = request.headers.getlist("authorization")
    try:
        return await service.pools.run(pool, lambda: service.caller(given, is_own_address(source)))
    except Unauthenticated as error:
        if given:
            service.note("token_refused", "anonymous", error.message, source, {"source": source})
            service.attempts.refuse(source)
        raise


def source_of(request: Request) -> str:
    """The address the connection comes from. X-Forwarded-For is written by anybody and is not read."""
    return request.client.host if request.client else ""


def caller_of(request: Request) -> Caller:
    """The caller that the guard let in."""
    caller: Caller = request.state.caller
    return caller


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """The body's bytes; BodyTooLarge beyond `most`."""
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BodyTooLarge(f"the body is larger than {most // KIB} KiB")
        parts.append(part)
    return b"".join(parts)


async def _take_json(request: Request, most: int) -> None:
    """Read and parse the body strictly; the framework then finds it done. BodyTooLarge, WrongMediaType, InputError."""
    raw = await read_body(request, most)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw and kind != JSON:
        raise WrongMediaType
    request._body = raw
    if len(raw) > 32 * KIB:
        request._json = await service_of(request).pools.run("change", lambda: read_json(raw))
    elif raw:
        request._json = read_json(raw)
