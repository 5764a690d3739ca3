"""The route class of the API: who may, how much, and a strict body, before the endpoint sees anything.

A route without a declared right cannot be made: deny by default.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from rollout.domain.errors import Forbidden, RolloutError, Unauthenticated
from rollout.interfaces.api.answers import PROBLEMS
from rollout.interfaces.api.middleware import MAX_BODY, is_loopback
from rollout.interfaces.api.problems import BodyTooLarge, WrongMediaType, from_error, unexpected
from rollout.interfaces.api.quick import Post, Read
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.api.strict_json import read_json
from rollout.interfaces.auth.roles import NO_TOKEN, Caller, Right

KIB = 1024
JSON = "application/json"
T = TypeVar("T")
_SHORT = "rollout.short"  # in the scope, which no client writes: (caller, body, document) of the short way
_LIMITED = {Right.READ: "read", Right.OPERATE: "change", Right.ADMIN: "change", Right.HALT: "halt"}


def needs(
    right: Right, lane: str = "read", body: int = 64 * KIB, errors: tuple[int, ...] = (), limited: bool = True
) -> dict[str, Any]:
    """What a route declares: its right, the lane it works in, its body's limit in bytes, its errors.

    `limited` False: no rate limit, whatever else happens (rollback).
    """
    extra: dict[str, Any] = {"x-right": str(right), "x-lane": lane, "x-body": body, "x-limited": limited}
    always: tuple[int, ...] = (421, 500)
    if right in (Right.PUBLIC, Right.SIGNATURE):
        extra["security"] = []
    else:
        extra["security"] = [{"token": []}]
        always = (401, 403, 421, 429, 500, 503)
    codes = sorted({*always, *errors})
    return {"openapi_extra": extra, "responses": {code: PROBLEMS[code] for code in codes}}


class Guarded(APIRoute):
    """A route of the API."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        extra = more.get("openapi_extra") or {}
        if "x-right" not in extra:
            raise RuntimeError(f"{path} declares no right: write **needs(Right...)")
        self.right = Right(extra["x-right"])
        self.lane = str(extra["x-lane"])
        self.most_body = int(extra["x-body"])
        self.limited = bool(extra["x-limited"])
        self.way: str = getattr(endpoint, "way", "")  # see rollout.interfaces.api.quick
        self.quick: tuple[Read, str] | None = getattr(endpoint, "quick", None)
        self.posted: Post | None = getattr(endpoint, "posted", None)
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        takes_json = self.body_field is not None

        async def handler(request: Request) -> Response:
            try:
                found = request.scope.get(_SHORT)
                request.state.caller = found[0] if found else await self._admit(service_of(request), request)
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
        """The caller, if the route's right is his; None where nobody need be anybody."""
        if self.right is Right.PUBLIC or self.right is Right.SIGNATURE:
            return None
        caller = await authenticate(service, request, self.lane)
        self._allow(service, request, caller)
        return caller

    async def shortly(self, request: Request) -> Response | None:
        """The answer by the short way; None when this request has to go the long one."""
        try:
            if self.way == "direct":
                answer: Response = await self.endpoint(request)
                return answer
            if self.posted is not None:
                return await self._post_shortly(request, self.posted)
            return await self._read_shortly(request)
        except RolloutError as error:
            return from_error(request, error)
        except Exception as error:  # noqa: BLE001 - as in the handler
            return unexpected(request, error)

    async def _read_shortly(self, request: Request) -> Response | None:
        """The caller, his right, his limit and the work in one job of the lane."""
        if self.quick is None or (work := self.quick[0](request)) is None:
            return None
        service = service_of(request)
        scope, version = request.scope, await service.still.version()
        source, given = source_of(request), tuple(request.headers.getlist("authorization"))
        key = given, source, scope["path"], scope["query_string"]
        if (kept := await service.still.coming(key, version)) is not None:
            self._allow(service, request, kept.caller)
            return Response(kept.body, media_type=self.quick[1])

        def then(caller: Caller) -> tuple[Caller, bytes]:
            self._allow(service, request, caller)
            return caller, work(service, caller)

        with service.still.making(key, version) as made:
            caller, body = await authenticated(service, request, self.lane, then)
            made(caller, body)
        return Response(body, media_type=self.quick[1])

    async def _post_shortly(self, request: Request, posted: Post) -> Response | None:
        """The caller, his right and his limit first, then the body, then the work in the lane."""
        service = service_of(request)
        caller = await authenticate(service, request, self.lane)
        self._allow(service, request, caller)
        raw, document = await _json_of(request, self.most_body)
        if (work := posted(request, document)) is None:
            request.scope[_SHORT] = caller, raw, document
            return None
        return Response(await service.lanes.run(self.lane, lambda: work(service, caller)), media_type=JSON)

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


async def authenticate(service: ApiService, request: Request, lane: str) -> Caller:
    """The caller by the bearer token; cookies mean nothing here. Unauthenticated."""
    # What is urgent asks and waits for nobody; by lane: a change does not wait for what a flood of readers has under way.
    version = None if lane == "urgent" else await service.still.version()
    key = "caller", lane, tuple(request.headers.getlist("authorization")), source_of(request)
    if (kept := await service.still.coming(key, version)) is not None:
        return kept.caller
    with service.still.making(key, version) as made:
        caller = await authenticated(service, request, lane, lambda found: found)
        made(caller, b"")
    return caller


async def authenticated(service: ApiService, request: Request, lane: str, then: Callable[[Caller], T]) -> T:
    """As `authenticate`, and what `then` makes of the caller, which only reads and shares one transaction."""
    source = source_of(request)
    given = request.headers.getlist("authorization")

    def work() -> T:
        with service.app.database.together():
            return then(service.caller(given, is_loopback(source)))

    if not given and service.knows_tokens:
        raise Unauthenticated(NO_TOKEN)  # what `caller` would say, without a thread and the database
    try:
        return await service.lanes.run(lane, work)
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
    """The body's bytes; TooLarge beyond `most`."""
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BodyTooLarge(f"the body is larger than {most // KIB} KiB")
        parts.append(part)
    return b"".join(parts)


async def _take_json(request: Request, most: int) -> None:
    """Reads and parses the body strictly; the framework then finds it done."""
    found = request.scope.get(_SHORT)
    raw, document = found[1:] if found else await _json_of(request, most)
    request._body = raw
    if raw:
        request._json = document


async def _json_of(request: Request, most: int) -> tuple[bytes, Any]:
    """The body and what it says, None of an empty one; TooLarge, WrongMediaType, InputError."""
    raw = await read_body(request, most)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw and kind != JSON:
        raise WrongMediaType
    if len(raw) > 32 * KIB:
        return raw, await service_of(request).lanes.run("change", lambda: read_json(raw))
    return raw, read_json(raw) if raw else None
