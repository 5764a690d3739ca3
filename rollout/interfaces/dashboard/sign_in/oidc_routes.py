"""The two routes of the sign-in by OpenID Connect: to the provider, and back with a code.

The session stands on a token row of its own that nobody can present, so revoking it in the list of tokens ends the
session.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from rollout.adapters.store.tokens import TokenRow
from rollout.domain.errors import Unauthenticated
from rollout.domain.lifecycle.records import JournalEntry
from rollout.interfaces.api.guard import Guarded, needs
from rollout.interfaces.api.middleware import root_of
from rollout.interfaces.api.service import ApiService, service_of
from rollout.interfaces.auth.roles import Right, caller_of, digest
from rollout.interfaces.dashboard.sign_in.oidc import LOGIN_SECONDS, PATH, Begun, Person, Provider
from rollout.interfaces.dashboard.sign_in.sessions import LIFETIME, open_session
from rollout.settings import Settings

COOKIE = "rollout_oidc"


def make_router(settings: Settings) -> APIRouter:
    """The two routes of the sign-in; SettingsError when settings do not fit together."""
    provider = Provider(settings)
    router = APIRouter(prefix=PATH, route_class=Guarded, tags=["service"], include_in_schema=False)
    secure = settings.behind_tls_proxy

    @router.get("/login", **needs(Right.PUBLIC))
    async def login(request: Request) -> Response:
        return await _to_provider(request, provider, secure=secure)

    @router.get("/callback", **needs(Right.PUBLIC))
    async def callback(
        request: Request,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4000)] = "",
        error: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        begun = await _begun(request, state)
        if not code:
            why = f" ({error})" if error.isascii() and error.isprintable() and error else ""
            raise Unauthenticated(f"the provider refused this sign-in{why}; sign in again")
        return await _signed_in(request, provider, begun, code)

    return router


async def _to_provider(request: Request, provider: Provider, *, secure: bool) -> Response:
    """Begin a sign-in: the browser goes to the provider with it, and keeps it sealed in a cookie."""
    service = service_of(request)

    def begin() -> tuple[Begun, str]:
        begun = Begun.now(service.app.store.now().timestamp())
        return begun, begun.sealed(service.access.signing_key())

    begun, sealed = await service.pools.run("sign_in", begin)
    answer = RedirectResponse(await provider.login_url(begun.state, begun.nonce, begun.verifier), 303)
    # Lax, because the provider sends the browser back from its own site; the session's cookie is Strict.
    answer.set_cookie(
        COOKIE,
        sealed,
        max_age=LOGIN_SECONDS,
        path=root_of(request) + PATH,
        httponly=True,
        samesite="lax",
        secure=secure,
    )
    return answer


async def _begun(request: Request, state: str) -> Begun:
    """The sign-in that this browser began; Unauthenticated when it began none with this state."""
    service = service_of(request)
    given = request.cookies.get(COOKIE, "")

    def find() -> Begun:
        return Begun.opened(given, state, service.access.signing_key(), service.app.store.now().timestamp())

    return await service.pools.run("sign_in", find)


async def _signed_in(request: Request, provider: Provider, begun: Begun, code: str) -> Response:
    """Exchange the provider's code for the person, and open a session for them."""
    service = service_of(request)
    id_token = await provider.exchange(code, begun.verifier)
    keys = await provider.keys()

    def work() -> dict[str, Any]:
        now = service.app.store.now().timestamp()
        person = provider.verifier.check(keys, id_token, begun.nonce, now)
        return open_session(request, caller_of(_stand_in(service, person)))

    cookie = await service.pools.run("sign_in", work)
    # Not a redirect: a Strict cookie is not sent on one that another site began.
    answer = Response("", headers={"Refresh": f"0; url={root_of(request)}/"}, media_type="text/html")
    answer.set_cookie(**cookie)
    answer.delete_cookie(COOKIE, path=root_of(request) + PATH)
    return answer


def _stand_in(service: ApiService, person: Person) -> TokenRow:
    """A token row for one session, whose token nobody knows; it ends with the session."""
    now = service.app.store.now()
    row = TokenRow(
        secrets.token_hex(5),
        person.name,
        person.role,
        digest(secrets.token_bytes(32)),
        None,
        now,
        "oidc",
        now + LIFETIME + timedelta(minutes=1),
    )
    service.access.add_token(
        row, JournalEntry("signed_in_oidc", person.name, "", {"token": row.id, "role": person.role})
    )
    return row
