"""Tokens: make, list and revoke them. For admins."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from rollout.interfaces.api.answers import NewToken, Revoked, Tokens
from rollout.interfaces.api.guard import Guarded, caller_of, needs
from rollout.interfaces.api.middleware import root_of
from rollout.interfaces.api.schemas import TokenBody
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Right, create_token, list_tokens, revoke_token
from rollout.interfaces.views.token import token

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], route_class=Guarded)
TokenId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,16}$", description="A token's id, as lists show it.")]


@router.get("", response_model=Tokens, summary="Every token", **needs(Right.ADMIN))
async def get_tokens(request: Request) -> JSONResponse:
    """Oldest first, revoked and expired ones too. An admin limited to numbers sees tokens within them."""
    service, caller = service_of(request), caller_of(request)

    def work() -> list[dict[str, Any]]:
        return [token(r) for r in list_tokens(service.app.store, caller.numbers)]

    return JSONResponse({"items": await service.pools.run("read", work)})


@router.post(
    "",
    status_code=201,
    response_model=NewToken,
    summary="Create a token",
    **needs(Right.ADMIN, "change", errors=(400, 408, 413, 415, 422)),
)
async def make_token(request: Request, body: TokenBody) -> JSONResponse:
    """The token is in this answer and nowhere else; only its hash is kept."""
    service, caller = service_of(request), caller_of(request)
    id_, secret = await service.pools.run(
        "change",
        lambda: create_token(
            service.app.store, body.role, body.name, body.expires, body.numbers, caller.actor, caller.numbers
        ),
    )
    return JSONResponse({"id": id_, "token": secret}, 201, {"Location": f"{root_of(request)}/api/v1/tokens"})


@router.delete(
    "/{id}", response_model=Revoked, summary="Revoke a token", **needs(Right.ADMIN, "change", errors=(404, 422))
)
async def delete_token(request: Request, id: TokenId) -> JSONResponse:
    """At once, on every replica; its sessions and event streams end too."""
    service, caller = service_of(request), caller_of(request)

    def work() -> bool:
        return revoke_token(service.app.store, id, caller.actor, caller.numbers)

    return JSONResponse({"id": id, "revoked": await service.pools.run("change", work)})
