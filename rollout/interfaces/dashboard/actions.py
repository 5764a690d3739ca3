"""The page's commands, each confirmed on a page that says what will be written.

The command functions are the API's. A refusal because somebody was quicker (409) is shown with where the
rollout stands now, and asks again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.domain.errors import InputError, NotReachable, Refused
from rollout.domain.lifecycle.commands import MOST_REASON, By, parse_position
from rollout.domain.lifecycle.machine import Phase, allows, refusal
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.one_line import in_one_line
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import buttons, confirmations, formatting, patch_preview, rollout_sentences
from rollout.interfaces.dashboard.page_route import form_of, render, shown, to, visitor

ROLLBACK_SECONDS = 8.0  # how long the button waits for the read-back before it shows where it stands
POOL_OF = {"rollback": "urgent", "pause": "urgent", "adopt": "retell", "restore": "retell"}
DONE = {
    "ship": "Shipped. The split is being written.",
    "set": "Set. The split is being written.",
    "promote": "Promoted. The next split is being written.",
    "pause": "Paused. Gates keep watching.",
    "resume": "Resumed.",
    "adopt": "The live split is accepted.",
    "restore": "The rollout's split is being written again.",
    "stop": "Stopped. The numbers keep their split.",
    "rollback": "The rollback is ordered.",
    "start": "Started.",
}
NO_REASON = "rolled back on the page; no reason given"


def add(router: APIRouter) -> None:
    """Add a confirmation and a form for every command."""
    for command in buttons.EVENTS:
        _confirmation(router, command)
        _command(router, command)


# ------------------------------------------------------------------ commands


def _confirmation(router: APIRouter, command: str) -> None:
    @router.get(f"/rollouts/{{id}}/{command}", **shown(buttons.RIGHTS[command], POOL_OF.get(command, "read")))
    async def confirmation(request: Request, id: str, full: bool = False, variant: str = "") -> Response:
        """Say exactly what will be written, and ask for the reason."""
        return await _ask(
            request, command, id, {"full": full, "weights": _weights(request.query_params), "variant": variant}
        )


def _weights(given: Mapping[str, str]) -> dict[str, str] | None:
    """The weights that a form names by version, as texts; None: it names none."""
    return {key.removeprefix("w_"): text.strip() for key, text in given.items() if key.startswith("w_")} or None


async def _ask(
    request: Request,
    command: str,
    id_: str,
    asked: Mapping[str, Any],
    *,
    status: int = 200,
    trouble: str = "",
    reason: str = "",
) -> Response:
    service = service_of(request)

    def work() -> Response:
        r = service.find(visitor(request).caller, id_)
        return _confirm_page(request, r, command, asked, status, trouble, reason)

    return await service.pools.run(POOL_OF.get(command, "read"), work)


def _confirm_page(
    request: Request, r: Rollout, command: str, asked: Mapping[str, Any], status: int, trouble: str, reason: str
) -> Response:
    event = buttons.EVENTS[command]
    impossible = ""
    if command != "rollback" and not allows(r.phase, event):
        impossible = f"{refusal(r.phase, event).message}."
    elif command == "resume" and r.phase is not Phase.PAUSED:
        impossible = "It is not paused."
    try:
        intent = confirmations.intent(r, command, **{k: v for k, v in asked.items() if k != "anyway"})
    except (Refused, InputError) as error:
        intent = confirmations.intent(r, command)
        given = asked.get("weights") or {}
        intent = replace(intent, weights=tuple((arm, given.get(arm, "")) for arm, _ in intent.weights))
        status, trouble = max(status, error.status), trouble or error.message
    return render(
        request,
        "confirm.html",
        status,
        r=r,
        intent=intent,
        trouble=trouble,
        impossible=impossible,
        reason=reason,
        expect=str(r.position),
        place=rollout_sentences.step_text(r),
        request_id=secrets.token_hex(10),
        summary=patch_preview.summary(intent.orders),
        pretty=formatting.pretty_json,
        held=formatting.held(r),
        overrides=rollout_sentences.overridden(r) if command == "promote" and not impossible else [],
    )


def _command(router: APIRouter, command: str) -> None:
    @router.post(f"/rollouts/{{id}}/{command}", **shown(buttons.RIGHTS[command], POOL_OF.get(command, "change")))
    async def form(request: Request, id: str) -> Response:
        """Do it, then show the rollout."""
        return await _do(request, command, id)


async def _do(request: Request, command: str, id_: str) -> Response:
    service, caller, form = service_of(request), visitor(request).caller, form_of(request)
    asked: dict[str, Any] = {}
    if command == "promote":
        asked["full"] = form.get("full") == "1"
    if command == "ship":
        asked |= {"variant": form.get("variant", ""), "anyway": form.get("anyway") == "1"}
    if command == "set":
        asked["weights"] = {arm: text for arm, text in (_weights(form) or {}).items() if text}
    try:
        by = by_of(caller, form, command)
        more = dict(asked)
        if command != "rollback":  # that one asks for nothing that it could be refused for
            more["expect"] = _position(form)
        answer = await service.pools.run(
            POOL_OF.get(command, "change"), lambda: service.command(caller, command, id_, by, **more)
        )
    except (Refused, InputError, NotReachable) as error:
        if error.status == 404:
            raise
        reason = form.get("reason", "")
        return await _ask(request, command, id_, asked, status=error.status, trouble=error.message, reason=reason)
    if command == "rollback":
        await _follow(request, answer.id)
    return to(request, f"/rollouts/{answer.id}?did={command}")


def by_of(caller: Caller, form: Mapping[str, str], command: str) -> By:
    """The actor and the reason; InputError without a reason of one line. A rollback is not refused for its reason."""
    reason = form.get("reason", "").strip()
    if command == "rollback":
        reason = in_one_line(reason)[:MOST_REASON] or NO_REASON
    elif not reason:
        raise InputError("reason: say why; the journal keeps it")
    return By(caller.actor, reason, form.get("request_id") or None)


def _position(form: Mapping[str, str]) -> Position | None:
    """The position that the reader saw. Without it nothing is promised, so it must be there."""
    text = form.get("expect", "")
    if not text:
        raise InputError("expect: the form has no position; load the page again")
    return parse_position(text)


async def _follow(request: Request, id_: str) -> None:
    """Drive the rollback here and now, and wait a while for its end; the scheduler continues it."""
    following = asyncio.wrap_future(service_of(request).followers.follow(id_))
    following.add_done_callback(lambda f: f.cancelled() or f.exception())
    await asyncio.wait({following}, timeout=ROLLBACK_SECONDS)
