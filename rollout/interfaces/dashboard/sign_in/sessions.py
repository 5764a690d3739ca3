"""Sessions of the web page: a token signs in, a cookie stands for it, every form proves where it comes from.

The cookie's value is random and kept as a hash; it is HttpOnly and SameSite=Strict, and nothing on /api looks
at it. Everything here asks the database: call it from a worker thread (a plain `def` endpoint).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from rollout.domain.errors import Forbidden, Unauthenticated
from rollout.domain.lifecycle.records import JournalEntry
from rollout.interfaces.api.guard import source_of
from rollout.interfaces.api.middleware import root_of
from rollout.interfaces.api.problems import WrongMediaType
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Caller, Right, caller_of, check_token, digest

IDLE = timedelta(minutes=30)
LIFETIME = timedelta(hours=12)
CSRF_FIELD = "csrf"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; `csrf` goes into every form as the field `csrf`."""

    caller: Caller
    csrf: str


def cookie_name(request: Request) -> str:
    """`__Host-` makes browsers insist on TLS, host and the path /; under a path of ours, `__Secure-` on TLS.

    They refuse both without TLS.
    """
    if not service_of(request).app.settings.behind_tls_proxy:
        return "rollout_session"
    return "__Secure-rollout" if root_of(request) else "__Host-rollout"


def cookie(request: Request, value: str | None) -> dict[str, Any]:
    """Arguments of `response.set_cookie`; None removes the cookie."""
    service = service_of(request)
    return {
        "key": cookie_name(request),
        "value": value or "",
        "max_age": 0 if value is None else int(LIFETIME.total_seconds()),
        "path": f"{root_of(request)}/",
        "secure": service.app.settings.behind_tls_proxy,
        "httponly": True,
        "samesite": "strict",
    }


def current_session(request: Request) -> Session | None:
    """The session of a page's request; None when there is none, or it has ended. Asked once per request."""
    if not hasattr(request.state, "rollout_session"):
        request.state.rollout_session = _look_up(request)
    found: Session | None = request.state.rollout_session
    return found


def _look_up(request: Request) -> Session | None:
    service = service_of(request)
    value = request.cookies.get(cookie_name(request))
    if not value or len(value) > 200 or request.url.path.startswith(("/api/", "/hooks/")):
        return None
    row = service.access.session(digest(value), IDLE)
    if row is None:
        return None
    return Session(caller_of(row.token), _csrf(value))


def sign_in(request: Request, token: str) -> dict[str, Any]:
    """Start a session with a token; arguments of `response.set_cookie`.

    Unauthenticated for a wrong token (TooMany after many from one address; a right one is always taken),
    Forbidden for a trigger's. A session that the browser had before ends.
    """
    service = service_of(request)
    check_origin(request)
    try:
        caller = check_token(service.access, token.strip().encode("utf-8", "replace"))
    except Unauthenticated as error:
        source = source_of(request)
        service.note("token_refused", "anonymous", error.message, source, {"source": source, "page": True})
        service.attempts.refuse(source)
        raise
    caller.need(Right.READ)
    return open_session(request, caller)


def open_session(request: Request, caller: Caller) -> dict[str, Any]:
    """Start a session for a person whose identity is settled; arguments of `response.set_cookie`."""
    service = service_of(request)
    assert caller.id is not None
    value = secrets.token_urlsafe(32)
    old = request.cookies.get(cookie_name(request))
    service.access.add_session(
        digest(value),
        caller.id,
        digest(_csrf(value)),
        LIFETIME,
        digest(old) if old else None,
        JournalEntry("signed_in", caller.actor, "", {"source": source_of(request)}),
    )
    return cookie(request, value)


def sign_out(request: Request) -> dict[str, Any]:
    """End the session; arguments of `response.set_cookie` that remove the cookie."""
    service = service_of(request)
    session = current_session(request)
    value = request.cookies.get(cookie_name(request))
    if value and session is not None:
        service.access.end_session(digest(value), session.caller.actor)
    request.state.rollout_session = None
    return cookie(request, None)


def check_form(request: Request, form: Mapping[str, Any]) -> None:
    """Forbidden unless this POST comes from one of our own pages and carries the session's csrf value.

    WrongMediaType for anything that is no form: a cross-site text/plain POST is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS:
        raise WrongMediaType("send a form: application/x-www-form-urlencoded")
    check_origin(request)
    session = current_session(request)
    if session is None:
        raise Unauthenticated("the session has ended; sign in again")
    given = form.get(CSRF_FIELD) or ""
    if not hmac.compare_digest(str(given).encode("utf-8", "replace"), session.csrf.encode()):
        raise Forbidden("this form belongs to another session; reload the page and try again")


def check_origin(request: Request) -> None:
    """Forbidden unless the browser says that the request comes from a page of this very service."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin)
        ours = parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers.get("host", "").lower()
        if not ours:
            raise Forbidden("this request comes from another site")
    if site is not None and site != "same-origin":
        raise Forbidden("this request comes from another site")
    if site is None and origin is None:
        raise Forbidden("the browser does not say where this request comes from; use a current one")


def _csrf(value: str) -> str:
    """Made from the cookie, so that a page can be drawn again without keeping the value anywhere."""
    return hmac.new(value.encode(), b"rollout csrf", hashlib.sha256).hexdigest()
