"""The tokens: who has which, when each was last used; making one and revoking one. For admins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from rollout.adapters.store.tokens import TokenRow
from rollout.domain.calendar import durations
from rollout.domain.errors import InputError
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.auth.roles import Caller, Right, Role, create_token, list_tokens, revoke_token
from rollout.interfaces.dashboard.page_route import form_of, render, shown, to, visitor

ROLE_WORDS: Mapping[Role, str] = {
    Role.VIEWER: "reads everything, changes nothing",
    Role.RESPONDER: "reads, pauses and rolls back: what on-call needs",
    Role.OPERATOR: "starts, promotes and answers as well",
    Role.ADMIN: "makes and revokes tokens as well",
    Role.TRIGGER: "sends alerts to /hooks, and nothing else",
}


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A token as a row; `state` is usable, expired or revoked."""

    row: TokenRow
    state: str
    mine: bool


def page(service: ApiService, caller: Caller) -> dict[str, Any]:
    """Everything the page shows: usable tokens first, the newest first among them."""
    now = service.app.store.now()
    rows = list_tokens(service.app.store, caller.numbers)[::-1]
    lines = [TokenLine(row, _state(row, now), row.id == caller.id) for row in rows]
    lines.sort(key=lambda line: line.state != "usable")
    return {"lines": lines, "now": now, "roles": ROLE_WORDS, "trouble": "", "form": {}, "secret": "", "done": ""}


def _state(row: TokenRow, now: datetime) -> str:
    return "revoked" if row.revoked_at is not None else "usable" if row.is_usable(now) else "expired"


def add(router: APIRouter) -> None:
    """Add the list and its two forms."""

    @router.get("/tokens", **shown(Right.ADMIN))
    async def tokens_page(request: Request, did: str = "") -> Response:
        """Every token that this admin may see."""
        done = "The token is revoked. Its sessions have ended." if did == "revoke" else ""
        return await _draw(request, 200, done=done)

    @router.post("/tokens", **shown(Right.ADMIN, "change"))
    async def make_token(request: Request) -> Response:
        """Make a token; the page that answers is the only one that shows it."""
        service, caller, form = service_of(request), visitor(request).caller, form_of(request)
        try:
            secret = await service.pools.run("change", lambda: _make(service, caller, form))
        except InputError as error:
            return await _draw(request, error.status, trouble=error.message, form=form)
        return await _draw(request, 201, secret=secret, form={"name": form.get("name", "")})

    @router.post("/tokens/revoke", **shown(Right.ADMIN, "change"))
    async def revoke(request: Request) -> Response:
        """Revoke a token; its sessions end at once, on every replica."""
        service, caller, id_ = service_of(request), visitor(request).caller, form_of(request).get("id", "")
        try:
            await service.pools.run(
                "change", lambda: revoke_token(service.app.store, id_, caller.actor, caller.numbers)
            )
        except InputError as error:
            return await _draw(request, error.status, trouble=error.message)
        return to(request, "/tokens?did=revoke")


async def _draw(request: Request, status: int, **values: Any) -> Response:
    service, caller = service_of(request), visitor(request).caller
    return await service.pools.run(
        "read", lambda: render(request, "tokens.html", status, **{**page(service, caller), **values})
    )


def _make(service: ApiService, caller: Caller, form: Mapping[str, str]) -> str:
    expires = form.get("expires", "").strip()
    until = service.app.store.now() + durations.parse(expires) if expires else None
    numbers = form.get("numbers", "").replace(",", " ").split() or None
    store, role = service.app.store, form.get("role", "")
    return create_token(store, role, form.get("name", ""), until, numbers, caller.actor, caller.numbers)[1]
