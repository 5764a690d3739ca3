"""The draft of a plan: where it begins, and form and YAML kept as one while it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.adapters.planfile import dump_plan, edit_plan, load_plan, plan_document
from rollout.adapters.planfile.examples import example_plans
from rollout.domain.errors import InputError, PlanError, RolloutError
from rollout.domain.plan.agents import Channel
from rollout.domain.versions.agent_list import ListedAgent, ListedVersion
from rollout.domain.writes.answers import Failure
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import plan_form
from rollout.interfaces.dashboard.account_page import AccountNumber, account_numbers, in_order
from rollout.interfaces.dashboard.page_state import PageState

BLANK = "version: 1\n"
STANDARD = [
    {"weight": 0.1, "hold": "30m", "min_calls": 50},
    {"weight": 0.5, "hold": "2h"},
    {"weight": 1.0, "hold": "1d"},
]
MOST_FOUND = 50


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan's text with the form's fields for it; `inputs` None: the text cannot be read, so the form stays."""

    text: str
    inputs: Mapping[str, str] | None
    complaints: Sequence[Mapping[str, Any]] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The values for the templates of form, staircase and complaints."""
        inputs = self.inputs or {}
        return {
            "f": inputs,
            "arms": plan_form.rows_of(inputs, "arm"),
            "steps": plan_form.rows_of(inputs, "step"),
            "stairs": plan_form.ladder(inputs),
            "ladders": plan_form.LADDERS,
            "complaints": self.complaints,
        }


def from_text(text: str) -> Draft:
    """The draft that a text is."""
    try:
        inputs = plan_form.inputs_of(plan_document(text if text.strip() else BLANK))
    except PlanError as error:
        return Draft(text, None, complaints_of(error))
    return Draft(text, inputs, _complaints(text))


def from_form(text: str, inputs: plan_form.Inputs, button: str = "") -> Draft:
    """The text with what the form changes, after a button of the form if one was pressed."""
    if button:
        inputs = plan_form.act(inputs, button)
    text = text if text.strip() else BLANK
    try:
        text = edit_plan(text, plan_form.changes(plan_document(text), inputs))
    except PlanError as error:
        return Draft(text, None, complaints_of(error))
    return Draft(text, inputs, _complaints(text))


def _complaints(text: str) -> list[dict[str, Any]]:
    try:
        load_plan(text)
    except PlanError as error:
        return complaints_of(error)
    return []


def complaints_of(error: RolloutError) -> list[dict[str, Any]]:
    """Complaints about a plan, one entry each, with the line where there is one."""
    found = error.details.get("problems") or error.details.get("errors") or []
    listed = [p if isinstance(p, dict) else {"field": "", "problem": str(p), "advice": ""} for p in found]
    return [{"line": None, "field": "", "advice": "", **p} for p in listed][:50]


# ------------------------------------------------------------------ where it begins


def beginning(page_state: PageState, caller: Caller, query: Mapping[str, Sequence[str]]) -> str:
    """The text to begin with. `query`: example (a name), again (an ended rollout), number (several), fits (a search)."""
    if example := _one(query, "example"):
        try:
            return example_plans()[example]
        except KeyError:
            raise InputError(f"example: there is no example {example[:40]}; choose one of the list") from None
    if again := _one(query, "again"):
        plan = page_state.service.find(caller, again).plan
        return dump_plan(plan.model_copy(update={"start": None}))
    wanted = list(query.get("number", ()))
    if not wanted and "fits" not in query:
        return edit_plan(BLANK, {"channels": ["inbound"], "steps": STANDARD})
    search = _one(query, "fits")
    rows = _account(page_state, caller)
    if not set(wanted) <= {row.number for row in rows}:  # bought since the account was listed
        rows = _account(page_state, caller, fresh=True)
    chosen = [row for row in rows if (row.number in wanted if wanted else row.matches(search))]
    numbers: list[Any] = wanted or [row.number for row in chosen]
    if not wanted and ("*" in search or "?" in search):
        numbers = [{"nickname": search}]
    return edit_plan(BLANK, _for_numbers(page_state, numbers, chosen))


def _one(query: Mapping[str, Sequence[str]], key: str) -> str:
    return next(iter(query.get(key, ())), "").strip()


def _account(page_state: PageState, caller: Caller, fresh: bool = False) -> list[AccountNumber]:
    return account_numbers(page_state.service, caller, page_state.account.read(fresh)[0])


def _for_numbers(page_state: PageState, numbers: list[Any], rows: Sequence[AccountNumber]) -> dict[str, Any]:
    """A first plan for these numbers: their channels, their agent with its newest published version, and a ladder."""
    served = [set(row.lists) for row in rows]
    common = set.intersection(*served) if served else set()
    channels = [channel.value for channel in Channel if channel.field in common] or ["inbound"]
    entries = [entry for row in rows[:1] for entry in row.lists.get(f"{channels[0]}_agents") or ()]
    main: Mapping[str, Any] = max(entries, key=lambda entry: float(entry.get("weight") or 0), default={})
    agent, now = str(main.get("agent_id", "")), main.get("agent_version")
    newer = [v.version for v in versions(page_state, agent) if v.is_published and v.version != now]
    version = newer[0] if newer else None
    words = rows[0].nickname if len(rows) == 1 and rows[0].nickname else agent.removeprefix("agent_") or "rollout"
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "rollout"
    canary = {"agent_id": agent} | ({} if version is None else {"agent_version": version})
    return {
        "name": name + ("" if version is None else f"-v{version}"),
        "numbers": numbers,
        "channels": channels,
        "canary": canary if agent else None,
        "steps": STANDARD,
    }


def versions(page_state: PageState, agent_id: str) -> list[ListedVersion]:
    """The versions of an agent, newest first; none where they cannot be listed now."""
    lists = page_state.service.app.retell
    found = lists.versions(agent_id) if lists is not None and agent_id else []
    return [] if isinstance(found, Failure) else found


def agents(page_state: PageState) -> list[ListedAgent]:
    """The agents of the workspace; none where they cannot be listed now."""
    lists = page_state.service.app.retell
    found = lists.agents() if lists is not None else []
    return [] if isinstance(found, Failure) else found


# ------------------------------------------------------------------ numbers to choose from


def numbers_found(page_state: PageState, caller: Caller, text: str) -> dict[str, Any]:
    """The numbers of the account that a search finds, and the selector that means the same, if there is one."""
    text = text.strip()[:100]
    readings, _, trouble = page_state.account.read()
    rows = in_order([row for row in account_numbers(page_state.service, caller, readings) if row.matches(text)], "")
    agents_found = {str(e.get("agent_id")) for row in rows for entries in row.lists.values() for e in entries}
    selector = ""
    if rows and ("*" in text or "?" in text):
        selector = f"nickname: {text}"
    elif rows and text in agents_found:
        selector = f"serving: {text}"
    return {"rows": rows[:MOST_FOUND], "found": rows, "selector": selector, "q": text, "trouble": trouble}
