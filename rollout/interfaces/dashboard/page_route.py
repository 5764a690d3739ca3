"""The route class of the page: who is looking, what they may do, forms that prove their origin, errors as pages.

A page route without a declared right cannot be made, as in the API. Every POST is a form of ours, checked
before its endpoint runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from rollout.domain.errors import InputError, RolloutError, Unauthenticated
from rollout.interfaces.api.guard import source_of
from rollout.interfaces.api.middleware import is_own_address, root_of
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.auth.roles import NOBODY, Caller, Right
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.dashboard.sign_in.sessions import Session, check_form, check_origin, current_session

log = structlog.get_logger(__name__)
PART_BYTES = 320 * 1024  # a plan of 256 KiB and room for its form
MOST_FIELDS = 2_000  # a command for many rollouts names each of them; the whole body is limited by the middleware
SIGN_IN = "/sign-in"
THEMES = ("light", "dark")  # as the page's script keeps the choice in a cookie; none: as the system has it
_TITLES = {
    401: "Sign in again",
    403: "Not allowed",
    404: "There is nothing here",
    405: "There is nothing here",
    409: "Refused",
    413: "Too large",
    422: "Something is missing",
    429: "Too many requests",
    503: "Not reachable",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """The reader of a page. Without a session: anonymous, on loopback while no token exists."""

    caller: Caller
    session: Session | None

    @property
    def csrf(self) -> str:
        return "" if self.session is None else self.session.csrf

    def may(self, right: Right) -> bool:
        return self.caller.may(right)


def shown(right: Right, pool: str = "read") -> dict[str, Any]:
    """The declaration of a page route: its right and the pool in which it asks the database."""
    extra: dict[str, Any] = {"x-page-right": str(right), "x-pool": pool}
    return {"openapi_extra": extra, "include_in_schema": False, "response_model": None}


class PageRoute(APIRoute):
    """A route of the page. `page_state` is set by the router that makes it."""

    page_state: ClassVar[PageState]

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        extra = more.get("openapi_extra") or {}
        if "x-page-right" not in extra:
            raise RuntimeError(f"{path} declares no right: write **shown(Right...)")
        self.page_right = Right(extra["x-page-right"])
        self.pool = str(extra["x-pool"])
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            request.state.page_state, request.state.visitor = self.page_state, None
            try:
                if self.page_right is not Right.PUBLIC:
                    await self._admit(request)
                return await inner(request)
            except Unauthenticated as error:
                return to_sign_in(request, error)
            except RolloutError as error:
                return error_page(request, error.status, error.message, error.details)
            except RequestValidationError as error:
                fields = ", ".join(str(e["loc"][-1]) for e in error.errors()[:5])
                return error_page(
                    request,
                    422,
                    f"The address has a value that does not fit: {fields}. Follow a link of the page, or correct it.",
                    {},
                )
            except HTTPException as error:
                if error.status_code in (404, 405):
                    raise
                return error_page(request, error.status_code, str(error.detail), {})
            except Exception as error:
                # The boundary: the answer must not tell what broke.
                id_ = request.scope.get("rollout.request_id", "-")
                log.exception("page failed", request=id_, path=request.url.path, error=type(error).__name__)
                return error_page(request, 500, f"That did not work. The service's log has the details as {id_}.", {})

        return handler

    async def _admit(self, request: Request) -> None:
        """The visitor, once the form (of a POST) has proved its origin and the right is theirs."""
        service = service_of(request)
        if request.method == "POST":
            check_origin(request)
            await read_form(request)

        def look() -> Visitor:
            request.state.visitor = found = visitor_of(service, request)  # the page of a refusal knows who asked
            if request.method == "POST":
                check_form(request, request.state.form)
            found.caller.need(self.page_right)
            return found

        found = await service.pools.run(self.pool, look)
        if self.page_right is Right.READ:
            service.reads.take(f"page|{found.caller.actor}")
        elif self.page_right in (Right.OPERATE, Right.ADMIN):
            service.changes.take(f"page|{found.caller.actor}")
        # rollback and pause have no limit here


def visitor_of(service: ApiService, request: Request) -> Visitor:
    """The session's caller, or an anonymous one if reading needs no token; Unauthenticated."""
    session = current_session(request)
    if session is not None:
        return Visitor(session.caller, session)
    # A proxy's requests all come from loopback, so behind one that says nothing about who asks.
    alone = is_own_address(source_of(request)) and not service.app.settings.behind_tls_proxy
    if alone and not service.tokens_exist():
        return Visitor(NOBODY, None)
    raise Unauthenticated("sign in with a token")


async def read_form(request: Request) -> None:
    """Read the form into `request.state.form`: texts by name, and of a file its text, if one was chosen."""
    fields: dict[str, str] = {}
    async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=PART_BYTES) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                raw = await value.read(PART_BYTES + 1)
                if len(raw) > PART_BYTES:
                    raise InputError(f"{name}: the file is larger than a plan may be (256 KiB)")
                if raw:
                    fields[name] = _text_of(name, raw)
            else:
                fields[name] = value
    request.state.form = fields


def _text_of(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name}: the file is not UTF-8 text; choose a plan in YAML or JSON") from None


def visitor(request: Request) -> Visitor:
    """The visitor whom the route has admitted."""
    found: Visitor = request.state.visitor
    return found


def form_of(request: Request) -> Mapping[str, str]:
    """The form, which the route has checked."""
    found: Mapping[str, str] = request.state.form
    return found


def is_fragment(request: Request) -> bool:
    """True if the page's script asks for the live part alone."""
    return request.headers.get("hx-request") == "true"


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page, or a part of one."""
    return HTMLResponse(template_text(request, template, **values), status)


def template_text(request: Request, template: str, **values: Any) -> str:
    """A template's HTML; `me` (the visitor, or None before signing in) and what every page needs are added."""
    page_state: PageState = request.state.page_state
    me: Visitor | None = getattr(request.state, "visitor", None)
    given = {
        "me": me,
        "oidc": bool(page_state.service.app.settings.oidc_issuer),
        "path": request.url.path,
        "root": root_of(request),
        "theme": theme if (theme := request.cookies.get("theme")) in THEMES else "",
        **values,
    }
    return page_state.templates.get_template(template).render(given)


def error_page(request: Request, status: int, message: str, details: Mapping[str, Any]) -> Response:
    """The error page, in the page's own look; for the script its message alone."""
    title = _TITLES.get(status, "Something went wrong")
    problems = [str(p) for p in details.get("problems", ())][:50]
    found = re.match(r"/rollouts/[^/]+(?=/)", request.url.path)  # a command of a rollout leads back to it
    back = found[0] if found and status != 404 else ""
    template = "error_live.html" if is_fragment(request) else "error.html"
    return render(request, template, status, title=title, message=message, problems=problems, back=back)


def outer_error(
    page_state: PageState, request: Request, status: int, message: str, details: Mapping[str, Any]
) -> Response:
    """As `error_page`, for what no route of the page has seen."""
    request.state.page_state = page_state
    return error_page(request, status, message, details)


def to_sign_in(request: Request, error: RolloutError) -> Response:
    """To the sign-in page and, after it, back here.

    A link in a chat is a cross-site navigation: the browser keeps a strict cookie back. Then the page is asked
    for once more from here, where the browser sends it.
    """
    if is_fragment(request) or request.url.path.endswith("/events"):
        return HTMLResponse("", 401)
    if request.method == "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return render(request, "again.html", address=root_of(request) + _address(request))
    if request.method != "GET":
        return error_page(request, 401, error.message, {})
    return to(request, f"{SIGN_IN}?next={quote(_address(request), safe='')}")


def to(request: Request, path: str) -> RedirectResponse:
    """On to another page of ours, wherever a proxy shows us."""
    return RedirectResponse(root_of(request) + path, 303)


def _address(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def safe_next(text: str) -> str:
    """The address of this site to show after signing in; `/` for anything else."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= 500
    return text if plain and text.startswith("/") and not text.startswith(("//", SIGN_IN)) else "/"
