"""Roles and what they may do, and tokens as people and programs hold them.

A token is `rlt_` and 43 URL-safe characters (256 random bits). Only its SHA-256 is stored: a secret of that
entropy needs no slow hash. It is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from rollout.adapters.store.engine import Database
from rollout.adapters.store.tokens import AccessStore, TokenRow, UnknownToken
from rollout.domain.errors import Forbidden, InputError, Unauthenticated
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.phone_numbers import covers, is_e164

_FORM = re.compile(rb"rlt_[A-Za-z0-9_-]{43}")
NO_TOKEN = "this needs a token: send the header Authorization: Bearer rlt_..."  # noqa: S105 - a message


class Role(StrEnum):
    """The purpose of a token."""

    VIEWER = "viewer"
    RESPONDER = "responder"
    OPERATOR = "operator"
    ADMIN = "admin"
    TRIGGER = "trigger"  # alert hooks and nothing else


class Right(StrEnum):
    """The right that a route needs; each declares exactly one."""

    PUBLIC = "public"  # nothing: health, readiness without detail, the API's description
    SIGNATURE = "signature"  # the request itself is signed
    READ = "read"
    HALT = "halt"  # pause and rollback: what on-call needs
    OPERATE = "operate"
    ADMIN = "admin"
    TRIGGER = "trigger"


_READ, _HALT, _OPERATE, _ADMIN = Right.READ, Right.HALT, Right.OPERATE, Right.ADMIN
ALLOWED: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({_READ}),
    Role.RESPONDER: frozenset({_READ, _HALT}),
    Role.OPERATOR: frozenset({_READ, _HALT, _OPERATE}),
    Role.ADMIN: frozenset({_READ, _HALT, _OPERATE, _ADMIN}),
    Role.TRIGGER: frozenset({Right.TRIGGER}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. `id` None: anonymous, on loopback while no token exists; may only read.

    `numbers` None: every number; else only rollouts whose numbers are all among these.
    """

    id: str | None
    name: str
    role: Role
    numbers: frozenset[str] | None = None
    until: datetime | None = None  # when the token ends by itself

    @property
    def actor(self) -> str:
        """The caller's name in the journal; request ids are scoped by it."""
        return "anonymous" if self.id is None else f"token:{self.id}:{self.name}"

    def may(self, right: Right) -> bool:
        return right in ALLOWED[self.role]

    def need(self, right: Right) -> None:
        """Forbidden, naming the roles that would do, unless this caller has the right."""
        if self.may(right):
            return
        if self.id is None:
            raise Unauthenticated(
                "there is no token yet, so this service is read-only: create one with `rollout token create --role "
                "operator --name NAME` and send it as Authorization: Bearer"
            )
        wanted = " or ".join(role for role, rights in ALLOWED.items() if right in rights)
        raise Forbidden(f"a token with the role {self.role} may not do this; use one with the role {wanted}")

    def covers(self, numbers: Iterable[str]) -> bool:
        """True if all of these numbers are this caller's business; of no numbers at all, only without a limit."""
        return covers(self.numbers, numbers)


NOBODY = Caller(None, "anonymous", Role.VIEWER)


class HasDatabase(Protocol):
    """The store, as far as tokens need it."""

    @property
    def database(self) -> Database: ...


def digest(token: str | bytes) -> str:
    """SHA-256 of a token or a cookie, as hex: what is stored."""
    raw = token.encode("utf-8", "surrogatepass") if isinstance(token, str) else token
    return hashlib.sha256(raw).hexdigest()


def create_token(
    store: HasDatabase,
    role: str,
    name: str,
    expires: datetime | None,
    numbers: Iterable[str] | None,
    actor: str,
    within: frozenset[str] | None = None,
) -> tuple[str, str]:
    """Make a token; (id, token). The token is shown here and nowhere else.

    `numbers` None: no limit. `within` is the maker's own limit, which cannot be exceeded. InputError names
    the field that is wrong.
    """
    if role not in list(Role):
        raise InputError(f"role: there is no role {role!r}; write one of: {', '.join(Role)}", field="role")
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InputError("name: write 1 to 80 printable characters", field="name")
    wanted = None if numbers is None else sorted(set(numbers))
    if wanted is not None:
        odd = next((n for n in wanted if not is_e164(n)), None)
        if odd is not None or not wanted:
            raise InputError(
                f"numbers: {odd!r} is not a phone number; write E.164, for example +14157774444"
                if odd is not None
                else "numbers: the list is empty; leave it out to allow all numbers",
                field="numbers",
            )
    if within is not None and (wanted is None or not set(wanted) <= within):
        raise Forbidden("numbers: a token cannot have more numbers than the token that creates it")
    access = AccessStore(store.database)
    now = store.database.now()
    if expires is not None and (expires.tzinfo is None or expires <= now):
        raise InputError("expires: write a time in the future with its offset", field="expires")
    id_, token = secrets.token_hex(5), "rlt_" + secrets.token_urlsafe(32)
    row = TokenRow(id_, name, role, digest(token), None if wanted is None else tuple(wanted), now, actor, expires)
    data = {"token": id_, "name": name, "role": role, "numbers": wanted, "expires": expires and str(expires)}
    access.add_token(row, JournalEntry("token_created", actor, "", data))
    return id_, token


def list_tokens(store: HasDatabase, within: frozenset[str] | None = None) -> list[TokenRow]:
    """Every token, oldest first, without the secret parts; `within`: only those limited to some of these numbers."""
    rows = AccessStore(store.database).tokens()
    return [row for row in rows if within is None or covers(within, row.numbers or ())]


def revoke_token(store: HasDatabase, id_: str, actor: str, within: frozenset[str] | None = None) -> bool:
    """Revoke a token and end its sessions, at once on every replica; False when it was revoked before.

    UnknownToken for an id that there is not `within` these numbers (None: at all).
    """
    if within is not None and id_ not in {row.id for row in list_tokens(store, within)}:
        raise UnknownToken.for_id(id_)
    return AccessStore(store.database).revoke(id_, actor)


def check_token(access: AccessStore, presented: bytes) -> Caller:
    """The caller behind a token; Unauthenticated when it is unknown, revoked or expired.

    The three are told apart for nobody: somebody who guesses learns nothing.
    """
    if _FORM.fullmatch(presented):
        wanted = digest(presented)
        found = access.token_by_hash(wanted)
        if found is not None:
            row, now = found
            # bytes, because comparing text with non-ASCII characters in constant time raises
            same = hmac.compare_digest(row.hash.encode(), wanted.encode())
            if same and row.is_usable(now):
                return caller_of(row)
    raise Unauthenticated("the token is not valid: it is unknown, revoked or expired")


def caller_of(row: TokenRow) -> Caller:
    """The caller a stored token stands for."""
    numbers = None if row.numbers is None else frozenset(row.numbers)
    return Caller(row.id, row.name, Role(row.role), numbers, row.expires_at)
