"""Sign-in to the page by OpenID Connect (authorization code with PKCE, state and nonce). An extra.

Only imported when ROLLOUT_OIDC_ISSUER is set. Issuer, audience and algorithms are pinned; a person's groups
become a role by ROLLOUT_OIDC_ROLES, and nobody gets in without one. The routes are in `oidc_routes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from itsdangerous import BadData, URLSafeSerializer
from joserfc import jwt
from joserfc.jwk import KeySet

from rollout.adapters.http.standard import ByHost
from rollout.domain import strict_json
from rollout.domain.errors import Forbidden, NotReachable, SettingsError, Unauthenticated
from rollout.interfaces.auth.roles import ALLOWED, Role
from rollout.settings import LOOPBACK, Settings

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")  # none of them is "none", none uses a shared secret
PATH = "/auth/oidc"
LOGIN_SECONDS = 600
MOST_BYTES = 1024 * 1024
LEEWAY = 60  # seconds that clocks may differ
SECONDS = 8.0  # for one answer of the provider
MOST_ASKING = 50  # requests to the provider at the same time


@dataclass(frozen=True, slots=True)
class Person:
    """The person as the provider names it, with the role that its groups give."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier of ID tokens."""

    issuer: str
    audience: str
    groups_claim: str
    roles: Mapping[str, Role]

    def check(self, keys: Mapping[str, Any], id_token: str, nonce: str, now: float) -> Person:
        """The person; Unauthenticated for a token that is not good, Forbidden when no group has a role.

        `keys`: the provider's JWKS document. `now`: seconds since 1970.
        """
        try:
            document: Any = dict(keys)
            token = jwt.decode(id_token, KeySet.import_key_set(document), algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.audience},
                    "exp": {"essential": True},
                    "sub": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={"nonce": nonce, "client_id": self.audience},
            )
            claims.validate(now=int(now), leeway=LEEWAY)
        except Exception as error:  # noqa: BLE001 - of documents from outside: whatever fails, the token is not good
            raise Unauthenticated(f"the provider's token is not valid: {type(error).__name__}") from None
        role = _highest(self.roles[g] for g in self._groups(claims.get(self.groups_claim)) if g in self.roles)
        if role is None:
            raise Forbidden("none of your groups has a role here; ask for an entry in ROLLOUT_OIDC_ROLES")
        names = (claims.get(k) for k in ("email", "preferred_username", "sub"))
        name = next((n for n in names if isinstance(n, str) and n.strip()), "somebody")
        return Person("oidc:" + "".join(c for c in name if c.isprintable())[:70], role)

    def _groups(self, claim: object) -> list[str]:
        """The groups of a claim that is a text or a list of texts; Forbidden for anything else."""
        found = [claim] if isinstance(claim, str) else [] if claim is None else claim
        if not isinstance(found, list) or not all(isinstance(group, str) for group in found):
            raise Forbidden(
                f"the provider's claim {self.groups_claim!r} is not a list of group names, so nobody can be given a "
                "role; name the right claim in ROLLOUT_OIDC_GROUPS_CLAIM (its groups stand in ROLLOUT_OIDC_ROLES)"
            )
        return found


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
    """The provider's addresses, keys and token endpoint, over https, without redirects.

    It is asked on the event loop: however long it takes to answer, it holds no thread. The standard variables for
    proxies and certificates hold; loopback takes no proxy.
    """

    def __init__(self, settings: Settings) -> None:
        given = (settings.oidc_issuer, settings.oidc_client_id, settings.oidc_redirect_url)
        if not all(given):
            raise SettingsError(
                "ROLLOUT_OIDC_ISSUER, ROLLOUT_OIDC_CLIENT_ID and ROLLOUT_OIDC_REDIRECT_URL belong together; set all three"
            )
        self.issuer, self.client_id, self.redirect_url = (str(v) for v in given)
        self._secret = settings.oidc_client_secret
        self.verifier = Verifier(
            self.issuer, self.client_id, settings.oidc_groups_claim, parse_roles(settings.oidc_roles)
        )
        _https(self.issuer)
        self._found: Mapping[str, Any] | None = None
        self._asking = 0
        way = ByHost(self.issuer, os.environ, httpx.Limits(max_connections=MOST_ASKING))
        self._client = httpx.AsyncClient(timeout=SECONDS, transport=way, trust_env=False)

    async def login_url(self, state: str, nonce: str, verifier: str) -> str:
        """The address at which the browser signs in."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_url,
            "scope": "openid email profile groups",
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        return f"{await self._address('authorization_endpoint')}?{urlencode(query)}"

    async def exchange(self, code: str, verifier: str) -> str:
        """The ID token for a code; Unauthenticated when the provider takes neither the code nor us."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_url,
            "client_id": self.client_id,
            "code_verifier": verifier,
        }
        if self._secret is not None:
            form["client_secret"] = self._secret.get_secret_value()
        answer = await self._ask("POST", await self._address("token_endpoint"), form)
        return str(answer.get("id_token", ""))

    async def keys(self) -> Mapping[str, Any]:
        """The provider's JWKS document."""
        return await self._ask("GET", await self._address("jwks_uri"))

    async def _address(self, name: str) -> str:
        if self._found is None:
            found = await self._ask("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise NotReachable("ROLLOUT_OIDC_ISSUER: the provider reports a different issuer")
            self._found = found
        return _https(str(self._found.get(name, "")))

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        if self._asking >= MOST_ASKING:
            raise NotReachable(
                "the sign-in provider is slow and too many sign-ins are waiting; sign in with a token instead"
            )
        self._asking += 1
        try:
            async with asyncio.timeout(SECONDS):
                status, raw = await self._fetch(method, _https(url), form)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError):
            raise NotReachable("the sign-in provider cannot be reached") from None
        finally:
            self._asking -= 1
        if status in (400, 401, 403) and form is not None:
            raise Unauthenticated(f"the provider refused this sign-in (HTTP {status}); sign in again")
        document = None
        with contextlib.suppress(ValueError):
            document = strict_json.parse(raw) if status == 200 else None
        if not isinstance(document, dict):
            raise NotReachable(
                f"the sign-in provider answered HTTP {status} and not with a JSON object; sign in with a token"
            )
        return document

    async def _fetch(self, method: str, url: str, form: Mapping[str, str] | None) -> tuple[int, bytes]:
        raw = b""
        headers = {"Accept": "application/json"}
        async with self._client.stream(method, url, data=form, headers=headers) as answer:
            async for part in answer.aiter_bytes():
                raw += part
                if len(raw) > MOST_BYTES:
                    raise ValueError("too large")
            return answer.status_code, raw


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url
    raise SettingsError("ROLLOUT_OIDC_ISSUER: the provider's addresses must be https")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that a browser has begun, here or on another replica."""

    state: str
    nonce: str
    verifier: str
    at: float  # seconds since 1970, by the database's clock

    @classmethod
    def now(cls, at: float) -> Begun:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), at)

    def sealed(self, key: str) -> str:
        """As the browser keeps it: readable, and not to be changed."""
        return str(_signer(key).dumps([self.state, self.nonce, self.verifier, self.at]))

    @classmethod
    def opened(cls, text: str, state: str, key: str, at: float) -> Begun:
        """The sealed value; Unauthenticated when it is not ours, too old or of another sign-in."""
        try:
            begun = cls(*_signer(key).loads(text))
        except BadData:
            raise Unauthenticated("this sign-in was not started in this browser; sign in again") from None
        if not -LEEWAY <= at - begun.at <= LOGIN_SECONDS:
            raise Unauthenticated("the sign-in took too long; sign in again")
        if not secrets.compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
            raise Unauthenticated("this answer belongs to another sign-in; sign in again")
        return begun


def _signer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt="oidc")
