"""Errors as RFC 9457 problem documents: what went wrong, which field, what to write instead, and an id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from rollout.domain.errors import RolloutError, code_of

log = structlog.get_logger(__name__)
MEDIA = "application/problem+json"
ErrorPage = Callable[[Request, int, str, Mapping[str, Any]], Response]
_PROGRAMS = ("/api/", "/hooks/", "/metrics", "/healthz", "/readyz")  # nobody reads these in a browser
_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code"})


class BodyTooLarge(RolloutError):
    """The body is too large."""

    exit_code = 2
    status = 413


class TooSlow(RolloutError):
    """The body did not arrive in time."""

    exit_code = 4
    status = 408


class LeftEarly(RolloutError):
    """The client disconnected before the body was complete."""

    exit_code = 4
    status = 400


class WrongMediaType(RolloutError):
    """The body must be JSON: send Content-Type: application/json."""

    exit_code = 2
    status = 415


class TooMany(RolloutError):
    """Too many requests."""

    exit_code = 4
    status = 429


class NotWired(RolloutError):
    """The service was started without this part."""

    exit_code = 4
    status = 501


def problem(request: Request, status: int, code: str, detail: str, more: Mapping[str, Any] | None = None) -> Response:
    """The document, with the request's id as `instance`; `more` becomes its extension members.

    A browser on its way through the page gets the same words as a page, with a way back.
    """
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    document: dict[str, Any] = {
        "type": f"urn:rollout:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "instance": f"urn:rollout:request:{request.scope.get('rollout.request_id', '-')}",
    }
    document |= {k: v for k, v in (more or {}).items() if k not in _RESERVED}
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, int(document.get("retry_after", 1))))
    if status == 408:
        headers["Connection"] = "close"
    if (page := _error_page(request)) is not None:
        answer = page(request, status, detail, more or {})
        answer.headers.update(headers)
        return answer
    return JSONResponse(jsonable_encoder(document), status, headers, MEDIA)


def _error_page(request: Request) -> ErrorPage | None:
    """The page that draws errors for this request; None where a program asks, or where there is no page."""
    if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith(_PROGRAMS):
        return None
    service = getattr(request.app.state, "service", None)
    found: ErrorPage | None = getattr(service, "error_page", None)
    return found


def from_error(request: Request, error: RolloutError) -> Response:
    """A problem from any error that the product raises on purpose."""
    return problem(request, error.status, code_of(type(error)), error.message, error.details)


def install(api: FastAPI) -> None:
    """Make every error of this application a problem document."""

    async def on_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RolloutError)
        return from_error(request, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid(request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return problem(request, 404, "not_found", "there is nothing at this address")
        if error.status_code == 405:
            return _not_allowed(api, request)
        return problem(request, error.status_code, "refused", str(error.detail))

    api.add_exception_handler(RolloutError, on_error)
    api.add_exception_handler(RequestValidationError, on_invalid)
    api.add_exception_handler(HTTPException, on_http)


def unexpected(request: Request, error: Exception) -> Response:
    """An unexpected error: the log has it, the answer only its id."""
    id_ = request.scope.get("rollout.request_id", "-")
    log.exception("request failed", request=id_, path=request.url.path, error=type(error).__name__)
    return problem(
        request, 500, "unexpected", f"something unexpected went wrong; the service's log has the details under {id_}"
    )


def _not_allowed(api: FastAPI, request: Request) -> Response:
    methods: set[str] = set()
    for route in api.routes:
        if route.matches(request.scope)[0] is Match.PARTIAL:
            methods |= getattr(route, "methods", None) or set()
    if "GET" in methods:
        methods.add("HEAD")
    answer = problem(request, 405, "method_not_allowed", f"{request.method[:20]} is not supported here")
    answer.headers["Allow"] = ", ".join(sorted(methods))
    return answer


# By pydantic's kind of error; what stands in braces is in its context.
_ADVICE = {
    "missing": "it is missing; add it",
    "extra_forbidden": "there is no such field; leave it out",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": "write text in quotes",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "list_type": "write a list",
    "dict_type": "write an object",
    "model_attributes_type": "write an object",
    "model_type": "write an object",
    "datetime_parsing": "write a time with its zone, for example 2026-12-01T09:00:00-08:00",
    "datetime_from_date_parsing": "write a time with its zone, for example 2026-12-01T09:00:00-08:00",
    "timezone_aware": "write a time with its zone, for example 2026-12-01T09:00:00-08:00",
    "string_too_short": "it is too short; write at least {min_length} character",
    "string_too_long": "it is too long; write at most {max_length} characters",
    "string_pattern_mismatch": "write text of the form {pattern}",
    "greater_than_equal": "write at least {ge}",
    "less_than_equal": "write at most {le}",
    "enum": "write {expected}",
    "too_long": "it has too many entries; write at most {max_length}",
}


def invalid(request: Request, error: RequestValidationError) -> Response:
    """422 with one entry for each field: which one, what was wrong, what to write."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for one in error.errors()[:50]:
        where = [str(part) for part in one["loc"]]
        place = where[0] if where else "body"
        field = ".".join(p for p in where[1:] if not p.startswith(("function-", "constrained-"))) or place
        known = _ADVICE.get(one["type"], "").format_map(one.get("ctx", {}))
        advice = known or one["msg"].removeprefix("Value error, ").removeprefix("Input ")
        found.setdefault((field, advice), {"in": place, "field": field, "problem": advice})
    errors = list(found.values())
    detail = "; ".join(f"{e['field']}: {e['problem']}" for e in errors[:5])
    return problem(request, 422, "invalid", detail, {"errors": errors})
