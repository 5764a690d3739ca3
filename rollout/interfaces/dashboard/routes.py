"""The routes of the page. Nothing is decided here: pages are drawn from what other modules find.

GET changes nothing. What changes something is in `actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.app import App
from rollout.domain.errors import NotReachable, RolloutError
from rollout.domain.phone_numbers import is_e164
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.api.stream import EventStream
from rollout.interfaces.auth.roles import Right
from rollout.interfaces.dashboard import account_page as account
from rollout.interfaces.dashboard import (
    actions,
    bulk_page,
    calendars_page,
    downloads,
    journal_page,
    new_rollout_routes,
    system_page,
    tokens_page,
)
from rollout.interfaces.dashboard import number_page as number
from rollout.interfaces.dashboard import overview_page as overview
from rollout.interfaces.dashboard import rollout_page as single
from rollout.interfaces.dashboard.page_route import (
    PageRoute,
    form_of,
    is_fragment,
    outer_error,
    read_form,
    render,
    safe_next,
    shown,
    to,
    visitor,
)
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.dashboard.sign_in.sessions import check_form, check_origin, sign_in, sign_out
from rollout.interfaces.views import report_pages

MOST_SEQ = 2**53
Find = Callable[[PageState], dict[str, Any]]


def routes(app: App, service: ApiService) -> APIRouter:
    """The page's router for one process."""
    assert service.app is app
    page_state = PageState(service)
    bound = type("BoundPageRoute", (PageRoute,), {"page_state": page_state})
    service.error_page = partial(outer_error, page_state)
    router = APIRouter(route_class=bound)
    _rollout_pages(router)
    _number_pages(router)
    _sign_in_routes(router)
    actions.add(router)
    bulk_page.add(router)
    calendars_page.add(router)
    journal_page.add(router)
    tokens_page.add(router)
    system_page.add(router)
    new_rollout_routes.add(router)
    downloads.add(router)
    return router


def _rollout_pages(router: APIRouter) -> None:
    @router.get("/", **shown(Right.READ))
    async def overview_page(request: Request) -> Response:
        """Every live rollout; with `q` as a phone number, that number."""
        query = dict(request.query_params)
        if is_e164(query.get("q", "").strip()) and not is_fragment(request):
            return to(request, f"/numbers/{query['q'].strip()}")
        return await _draw(
            request, "overview", lambda page_state: overview.page(page_state, visitor(request).caller, query)
        )

    @router.get("/rollouts/{id}", **shown(Right.READ))
    async def rollout_page(request: Request, id: str) -> Response:
        """One rollout."""
        query = dict(request.query_params)
        done = actions.DONE.get(query.get("did", ""), "")
        caller = visitor(request).caller
        return await _draw(
            request, "rollout", lambda page_state: {**single.page(page_state, caller, id, query), "done": done}
        )

    @router.get("/rollouts/{id}/report", **shown(Right.READ))
    async def report_page(request: Request, id: str) -> Response:
        """The report on one rollout."""
        caller = visitor(request).caller

        def work() -> Response:
            service = service_of(request)
            found = service.backend.report_on(service.find(caller, id))
            return render(request, "report.html", report=found, **report_pages.parts(found))

        return await service_of(request).pools.run("read", work)

    @router.get("/rollouts/{id}/events", **shown(Right.READ))
    async def rollout_events(request: Request, id: str, after: int = 0) -> Response:
        """Server-sent events that tell an open page to look again; ids are the journal's numbers."""
        service, caller = service_of(request), visitor(request).caller
        last = request.headers.get("last-event-id", "")
        if last.isascii() and last.isdigit():
            after = int(last[:16])
        id_ = await service.pools.run("read", lambda: service.app.store.resolve(id, caller.numbers))
        return EventStream(service.hub, service.hub.subscribe(id_, caller, max(0, min(after, MOST_SEQ))))


def _number_pages(router: APIRouter) -> None:
    @router.get("/numbers", **shown(Right.READ))
    async def account_page(request: Request) -> Response:
        """Every number of the account, as Retell listed them some seconds ago or, with `fresh`, now."""
        query, caller = dict(request.query_params), visitor(request).caller
        return await _draw(
            request,
            "account",
            lambda page_state: account.page(page_state.service, page_state.account, caller, query),
            pool="look",
        )

    @router.get("/numbers/{text}", **shown(Right.READ))
    async def number_page(request: Request, text: str, fresh: bool = False) -> Response:
        """One phone number, by the last look; with `fresh`, read from Retell now."""
        return await _number(request, text, fresh)


async def _draw(request: Request, name: str, find: Find, pool: str = "read") -> Response:
    """A page, or its live part alone when the script asks for that; asked and drawn in a thread of this pool."""
    page_state: PageState = request.state.page_state
    template = f"{name}_live.html" if is_fragment(request) else f"{name}.html"
    service = service_of(request)

    def work() -> Response:
        # One transaction for the whole page, but not while Retell is asked.
        with service.app.database.at_one_moment() if pool == "read" else nullcontext():
            found = find(page_state)
        return render(request, template, **found)

    return await service.pools.run(pool, work)


async def _number(request: Request, text: str, fresh: bool) -> Response:
    service, caller = service_of(request), visitor(request).caller
    page_state: PageState = request.state.page_state
    template = "number_live.html" if is_fragment(request) else "number.html"

    def work() -> Response:
        trouble = ""
        try:
            found = number.page(page_state, caller, text, fresh)
        except NotReachable as error:
            if not fresh:
                raise
            trouble = error.message
            found = number.page(page_state, caller, text, False)
        return render(request, template, **found, trouble=trouble)

    return await service.pools.run("look" if fresh else "read", work)


def _sign_in_routes(router: APIRouter) -> None:
    @router.get("/static/{name}", **shown(Right.PUBLIC))
    async def static(request: Request, name: str, v: str = "") -> Response:
        """Style sheet, scripts, icon: the only files there are."""
        page_state: PageState = request.state.page_state
        return page_state.assets.answer(name, v) or Response("there is no such file\n", 404, media_type="text/plain")

    @router.get("/sign-in", **shown(Right.PUBLIC))
    async def sign_in_page(request: Request, next: str = "/") -> Response:
        """Ask for a token; before one exists it says how to make it."""
        service = service_of(request)
        none_yet = not await service.pools.run("sign_in", service.tokens_exist)
        return render(request, "sign_in.html", next=safe_next(next), wrong="", none_yet=none_yet)

    @router.post("/sign-in", **shown(Right.PUBLIC))
    async def sign_in_form(request: Request) -> Response:
        """Start a session, then show the page that the reader asked for."""
        check_origin(request)
        await read_form(request)
        form, service = form_of(request), service_of(request)
        going = safe_next(form.get("next", "/"))
        try:
            given = await service.pools.run("sign_in", lambda: sign_in(request, form.get("token", "")))
        except RolloutError as error:
            if error.status not in (401, 403, 429):
                raise
            return render(request, "sign_in.html", error.status, next=going, wrong=error.message, none_yet=False)
        answer = to(request, going)
        answer.set_cookie(**given)
        return answer

    @router.post("/sign-out", **shown(Right.READ, "sign_in"))
    async def sign_out_form(request: Request) -> Response:
        """End the session."""

        def work() -> dict[str, Any]:
            check_form(request, form_of(request))
            return sign_out(request)

        given = await service_of(request).pools.run("sign_in", work)
        answer = to(request, "/sign-in")
        answer.set_cookie(**given)
        return answer
