"""Sign-in to the page by OpenID Connect (authorization code with PKCE, state and nonce). An extra.

Only imported when ROLLOUT_OIDC_ISSUER is set. Issuer, audience and algorithms are pinned; a person's groups
become a role by ROLLOUT_OIDC_ROLES, and nobody gets in without one. The session stands on a token row of
its own that nobody can present, so revoking it in the list of tokens ends the session.
"""

from __future__ import annotations

import json
import secrets
import ssl
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from rollout.access import ALLOWED, Right, Role, caller_of, digest
from rollout.api.guard import Guarded, needs
from rollout.api.service import Service, service_of
from rollout.api.sessions import LIFETIME, open_session
from rollout.domain.errors import Forbidden, NotReachable, SettingsError, Unauthenticated
from rollout.domain.records import Entry
from rollout.settings import LOOPBACK, Settings
from rollout.store.access import TokenRow

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")  # none of them is "none", none uses a shared secret
COOKIE = "rollout_oidc"
LOGIN_SECONDS = 600
MOST_BYTES = 1024 * 1024
LEEWAY = 60


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is, with the role that its groups give."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks ID tokens; `keys` fetches the provider's JWKS document."""

    issuer: str
    audience: str
    groups_claim: str
    roles: Mapping[str, Role]
    keys: Callable[[], Mapping[str, Any]]

    def check(self, id_token: str, nonce: str, now: float) -> Person:
        """The person; Unauthenticated for a token that is not good, Forbidden when no group has a role."""
        try:
            document: Any = dict(self.keys())
            token = jwt.decode(id_token, KeySet.import_key_set(document), algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                token.claims, token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.audience},
                    "exp": {"essential": True},
                    "sub": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={"nonce": nonce, "client_id": self.audience},
            )  # fmt: skip
            claims.validate(now=int(now), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Unauthenticated(f"the provider's token is not good: {type(error).__name__}") from None
        except Exception as error:
            if type(error).__module__.startswith("authlib."):
                raise Unauthenticated(f"the provider's token is not good: {type(error).__name__}") from None
            raise
        groups = claims.get(self.groups_claim) or []
        found = [groups] if isinstance(groups, str) else [g for g in groups if isinstance(g, str)]
        role = _highest(self.roles[g] for g in found if g in self.roles)
        if role is None:
            raise Forbidden("none of your groups has a role here; ask for an entry in ROLLOUT_OIDC_ROLES")
        name = next(
            (str(claims[k]) for k in ("email", "preferred_username", "sub") if claims.get(k)), "somebody"
        )
        return Person("oidc:" + "".join(c for c in name if c.isprintable())[:70], role)


def parse_roles(pairs: Sequence[str]) -> dict[str, Role]:
    """`group=role` entries; SettingsError for a role that does not exist."""
    found = {}
    for pair in pairs:
        group, equals, role = pair.rpartition("=")
        if not equals or not group or role not in list(Role) or role == Role.TRIGGER:
            raise SettingsError(
                f"ROLLOUT_OIDC_ROLES: {pair!r} is not group=role; roles are viewer, responder, operator, admin"
            )
        found[group] = Role(role)
    return found


def _highest(roles: Any) -> Role | None:
    return max(roles, key=lambda r: len(ALLOWED[r]), default=None)


class Provider:
    """The provider's addresses, keys and token endpoint, over https, without redirects."""

    def __init__(self, settings: Settings) -> None:
        given = (settings.oidc_issuer, settings.oidc_client_id, settings.oidc_redirect_url)
        if not all(given):
            raise SettingsError(
                "ROLLOUT_OIDC_ISSUER, ROLLOUT_OIDC_CLIENT_ID and ROLLOUT_OIDC_REDIRECT_URL belong together; set all three"
            )
        self.issuer, self.client_id, self.redirect_url = (str(v) for v in given)
        self._secret = settings.oidc_client_secret
        roles = parse_roles(settings.oidc_roles)
        self.verifier = Verifier(
            self.issuer,
            self.client_id,
            settings.oidc_groups_claim,
            roles,
            lambda: self._get(self._config("jwks_uri")),
        )
        _https(self.issuer)
        self._found: Mapping[str, Any] | None = None

    def _config(self, name: str) -> str:
        if self._found is None:
            found = self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise NotReachable("ROLLOUT_OIDC_ISSUER: the provider calls itself something else")
            self._found = found
        return _https(str(self._found.get(name, "")))

    def login_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in."""
        query = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_url,
            "scope": "openid email profile groups", "state": state, "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        return f"{self._config('authorization_endpoint')}?{urlencode(query)}"

    def exchange(self, code: str, verifier: str) -> str:
        """The ID token for a code."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_url,
            "client_id": self.client_id, "code_verifier": verifier,
        }  # fmt: skip
        if self._secret is not None:
            form["client_secret"] = self._secret.get_secret_value()
        answer = self._get(self._config("token_endpoint"), urlencode(form).encode())
        return str(answer.get("id_token", ""))

    @staticmethod
    def _get(url: str, body: bytes | None = None) -> Mapping[str, Any]:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            _NoRedirects(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        )
        request = urllib.request.Request(_https(url), body, {"Accept": "application/json"})  # noqa: S310 - checked
        try:
            with opener.open(request, timeout=5) as answer:
                document = json.loads(answer.read(MOST_BYTES))
        except (OSError, ValueError):
            raise NotReachable("the sign-in provider cannot be reached") from None
        if not isinstance(document, dict):
            raise NotReachable("the sign-in provider answered something else than an object")
        return document


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_given: Any) -> None:
        return None


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url
    raise SettingsError("ROLLOUT_OIDC_ISSUER: the provider's addresses must be https")


def make_router(settings: Settings) -> APIRouter:
    """The two routes of the sign-in; SettingsError when settings do not fit together."""
    provider = Provider(settings)
    signer = URLSafeTimedSerializer(secrets.token_urlsafe(32), salt="oidc")
    router = APIRouter(prefix="/auth/oidc", route_class=Guarded, tags=["service"], include_in_schema=False)
    secure = settings.behind_tls_proxy

    @router.get("/login", **needs(Right.PUBLIC))
    async def login(request: Request) -> Response:
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = await service_of(request).lanes.run(
            "sign_in", lambda: provider.login_url(state, nonce, verifier)
        )
        answer = RedirectResponse(url, 303)
        # Lax, because the provider sends the browser back from its own site; the session's cookie is Strict.
        answer.set_cookie(
            COOKIE, signer.dumps([state, nonce, verifier]), max_age=LOGIN_SECONDS, path="/auth/oidc",
            httponly=True, samesite="lax", secure=secure,
        )  # fmt: skip
        return answer

    @router.get("/callback", **needs(Right.PUBLIC))
    async def callback(
        request: Request,
        state: Annotated[str, Query(max_length=200)],
        code: Annotated[str, Query(max_length=4000)],
    ) -> Response:
        try:
            begun = signer.loads(request.cookies.get(COOKIE, ""), max_age=LOGIN_SECONDS)
        except BadSignature:
            raise Unauthenticated("the sign-in took too long or was begun elsewhere; begin again") from None
        if not secrets.compare_digest(begun[0].encode(), state.encode()):
            raise Unauthenticated("this answer belongs to another sign-in; begin again")
        service = service_of(request)

        def work() -> dict[str, Any]:
            id_token = provider.exchange(code, begun[2])
            person = provider.verifier.check(id_token, begun[1], service.app.clock.now().timestamp())
            return open_session(request, caller_of(_stand_in(service, person)))

        cookie = await service.lanes.run("sign_in", work)
        # Not a redirect: a Strict cookie is not sent on one that another site began.
        answer = Response("", headers={"Refresh": "0; url=/"}, media_type="text/html")
        answer.set_cookie(**cookie)
        answer.delete_cookie(COOKIE, path="/auth/oidc")
        return answer

    return router


def _stand_in(service: Service, person: Person) -> TokenRow:
    """A token row for one session, whose token nobody knows; it ends with the session."""
    now = service.app.store.now()
    row = TokenRow(
        secrets.token_hex(5), person.name, person.role, digest(secrets.token_bytes(32)), None, now, "oidc",
        now + LIFETIME + timedelta(minutes=1),
    )  # fmt: skip
    service.access.add_token(
        row, Entry("signed_in_oidc", person.name, "", {"token": row.id, "role": person.role})
    )
    return row
