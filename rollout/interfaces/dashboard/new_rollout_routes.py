"""The routes of a new rollout: the draft as form and YAML, check, rehearsal and tests from there, and the start.

The page works without JavaScript: then the plan is written or pasted as YAML, and check answers with a whole page.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rollout.adapters.planfile.examples import example_plans
from rollout.domain.errors import RolloutError
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right
from rollout.interfaces.dashboard import formatting, new_rollout_page
from rollout.interfaces.dashboard import plan_draft as drafts
from rollout.interfaces.dashboard.page_route import form_of, is_fragment, render, shown, template_text, to, visitor
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.dashboard.plan_draft import Draft

_NOT_FIELDS = frozenset({"csrf", "plan", "file", "button"})


def add(router: APIRouter) -> None:
    """Add the routes of this file."""
    _drafts(router)
    _choices(router)
    _checks(router)


def _page_values(draft: Draft, **more: Any) -> dict[str, Any]:
    """The values of the whole page; `more` goes before what it has while nothing was checked."""
    blank = {
        "text": draft.text,
        "examples": list(example_plans()),
        "readable": draft.inputs is not None,
        "report": None,
        "rehearsal": None,
        "trouble": "",
        "refusals": [],
        "form": {},
        "request_id": secrets.token_hex(10),
        "pretty": formatting.pretty_json,
        "pending": False,
    }
    return blank | draft.values | more


# ------------------------------------------------------------------ the draft


def _drafts(router: APIRouter) -> None:
    @router.get("/new", **shown(Right.READ))
    async def new_page(request: Request) -> Response:
        """The form and the YAML, from an example, an ended rollout, or numbers."""
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        page_state: PageState = request.state.page_state
        caller = visitor(request).caller

        def work() -> Response:
            draft = drafts.from_text(drafts.beginning(page_state, caller, query))
            if not query:
                draft = Draft(draft.text, draft.inputs)  # nobody has written anything yet
            return render(request, "new.html", **_page_values(draft))

        return await service_of(request).pools.run("look" if {"number", "fits"} & query.keys() else "read", work)

    @router.post("/new/yaml", **shown(Right.READ))
    async def to_yaml(request: Request) -> Response:
        """The YAML after a change in the form; after a button, the form too."""
        form = form_of(request)
        inputs = {key: value for key, value in form.items() if key not in _NOT_FIELDS}
        button = form.get("button", "")
        return await _draft_answer(
            request, lambda: drafts.from_form(form.get("plan", ""), inputs, button), with_form=bool(button)
        )

    @router.post("/new/form", **shown(Right.READ))
    async def to_form(request: Request) -> Response:
        """The form after a change in the YAML."""
        text = form_of(request).get("plan", "")
        return await _draft_answer(request, lambda: drafts.from_text(text), with_form=True)


async def _draft_answer(request: Request, make: Callable[[], Draft], *, with_form: bool) -> Response:
    def work() -> Response:
        draft = make()
        answer: dict[str, Any] = {
            "plan": draft.text,
            "complaints": template_text(request, "plan_complaints.html", **draft.values),
            "lines": sorted({c["line"] for c in draft.complaints if c["line"]}),
            "fields": [c["field"] for c in draft.complaints if c["field"]],
        }
        if draft.inputs is not None:
            answer["stairs"] = template_text(request, "plan_stairs.html", **draft.values)
            if with_form:
                answer["form"] = template_text(request, "plan_form.html", **draft.values)
        return JSONResponse(answer)

    return await service_of(request).pools.run("read", work)


# ------------------------------------------------------------------ what there is to choose from


def _choices(router: APIRouter) -> None:
    @router.get("/new/numbers", **shown(Right.READ, "look"))
    async def numbers(request: Request, q: str = "") -> Response:
        """The numbers of the account that a search finds."""
        caller = visitor(request).caller
        return await _choice(request, "choose_numbers.html", lambda state: drafts.numbers_found(state, caller, q))

    @router.get("/new/agents", **shown(Right.READ, "look"))
    async def agents(request: Request) -> Response:
        """The agents of the workspace."""
        return await _choice(request, "choose_agents.html", lambda state: {"agents": drafts.agents(state)})

    @router.get("/new/versions", **shown(Right.READ, "look"))
    async def versions(request: Request, agent: str = "") -> Response:
        """The published versions of an agent, newest first."""
        return await _choice(
            request,
            "choose_versions.html",
            lambda state: {
                "versions": [v for v in drafts.versions(state, agent[:200]) if v.is_published],
                "now": state.service.app.store.now(),
            },
        )


async def _choice(request: Request, template: str, find: Callable[[PageState], Mapping[str, Any]]) -> Response:
    page_state: PageState = request.state.page_state
    return await service_of(request).pools.run("look", lambda: render(request, template, **find(page_state)))


# ------------------------------------------------------------------ check, rehearsal, tests, start


def _checks(router: APIRouter) -> None:
    @router.post("/new/check", **shown(Right.OPERATE, "retell"))
    async def check(request: Request) -> Response:
        """The findings of check, and what rehearsal expects. Writes nothing."""
        return await _checked(request, None)

    @router.post("/new/rehearse", **shown(Right.OPERATE, "model"))
    async def rehearse(request: Request) -> Response:
        """A rehearsal of the plan."""
        page_state: PageState = request.state.page_state
        text = new_rollout_page.text_of(form_of(request))
        return render(request, "new_rehearsal.html", rehearsal=await _rehearsal(request, page_state, text))

    @router.post("/new/tests", **shown(Right.OPERATE, "retell"))
    async def tests(request: Request) -> Response:
        """Run the plan's tests on Retell; the answer is a line for each progress, and last the outcome."""
        text = new_rollout_page.text_of(form_of(request))
        plan = await service_of(request).pools.run("retell", lambda: new_rollout_page.plan_of(text))
        page_state: PageState = request.state.page_state
        caller = visitor(request).caller

        def work(told: Callable[[str], None]) -> str:
            try:
                return new_rollout_page.run_tests(page_state, caller, plan, told)
            except RolloutError as error:
                return f"✗ {error.message}"

        return StreamingResponse(service_of(request).pools.lines("tests", work), media_type="text/plain; charset=utf-8")

    @router.post("/new/start", **shown(Right.OPERATE, "retell"))
    async def start(request: Request) -> Response:
        """Start the plan; refused, it shows why, with the plan as it was."""
        service, form = service_of(request), form_of(request)
        page_state: PageState = request.state.page_state
        caller = visitor(request).caller
        try:
            id_ = await service.pools.run("retell", lambda: new_rollout_page.start(page_state, caller, form))
        except RolloutError as error:
            return await _checked(request, error)
        return to(request, f"/rollouts/{id_}?did=start")


async def _checked(request: Request, error: RolloutError | None) -> Response:
    """The page with the plan, its report, and what refused it, if anything did; for the script the report alone."""
    service, form = service_of(request), form_of(request)
    page_state: PageState = request.state.page_state
    caller = visitor(request).caller
    text, values = form.get("plan", ""), dict[str, Any]()
    try:
        text = new_rollout_page.text_of(form)
        plan = await service.pools.run("retell", lambda: new_rollout_page.plan_of(text))
        report = await service.pools.run("retell", lambda: new_rollout_page.check(page_state, caller, plan))
        values = {"report": report, "pending": is_fragment(request), "tests": plan.tests is not None}
        if report["ok"] and not is_fragment(request):
            values["rehearsal"] = await _rehearsal(request, page_state, text)
    except RolloutError as found:
        error = found
    if error is not None:
        values |= {"trouble": error.message, "refusals": drafts.complaints_of(error)}
    draft = await service.pools.run("read", lambda: drafts.from_text(text))
    template = "new_report.html" if is_fragment(request) else "new.html"
    status = 200 if error is None else error.status
    return render(request, template, status, **_page_values(draft, form=form, **values))


async def _rehearsal(request: Request, page_state: PageState, text: str) -> Mapping[str, Any] | None:
    """As `new_rollout_page.rehearsal_of`; while the model is busy, {"trouble"}: the check stands alone."""
    try:
        return await service_of(request).pools.run(
            "model", lambda: new_rollout_page.rehearsal_of(page_state, new_rollout_page.plan_of(text))
        )
    except RolloutError as error:
        if error.status != 503:
            raise
        return {"trouble": error.message}
