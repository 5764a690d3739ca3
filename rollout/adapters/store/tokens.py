"""Tokens, sessions of the page, deliveries that were taken, and the journal of what concerns no rollout.

That journal is a chain like a rollout's, under the rollout id `system`; its head is in the table `meta`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, text, update

from rollout.adapters.store import journal as journals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.journal import GENESIS, RecordedEntry
from rollout.adapters.store.key_values import insert_into, set_once, value_of
from rollout.adapters.store.tables import deliveries, meta, sessions, tokens
from rollout.domain.errors import InputError
from rollout.domain.lifecycle.records import JournalEntry

SYSTEM = "system"
HEAD = "system_head"
_SIGNING_KEY = "signing_key"
# Built once: they are asked at every request, and building a statement costs more than running it.
_BY_HASH = select(tokens).where(tokens.c.hash == bindparam("wanted"))
_SESSION = (
    select(tokens, sessions.c.csrf_hash, sessions.c.seen_at, sessions.c.expires_at.label("ends"))
    .join(sessions, sessions.c.token_id == tokens.c.id)
    .where(sessions.c.hash == bindparam("wanted"))
)
_USED = update(tokens).where(tokens.c.id == bindparam("used")).values(last_used_at=bindparam("at"))
_LOCK = 7_402_118_867  # any fixed number: entries of the system's chain are added one at a time


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is stored: everything but the token."""

    id: str
    name: str
    role: str
    hash: str
    numbers: tuple[str, ...] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A signed-in browser: its token, and the hash of what its forms must carry."""

    token: TokenRow
    csrf_hash: str
    seen_at: datetime
    expires_at: datetime


class AccessStore:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # -------------------------------------------------------------- tokens

    def any_token(self) -> bool:
        """True if a token was ever made. Revoking the last one must not open the service to everybody again."""
        with self.database.read() as connection:
            return bool(connection.execute(select(exists().select_from(tokens))).scalar_one())

    def usable_token(self) -> bool:
        """True if somebody could sign in now."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            return any(_token(row).is_usable(now) for row in connection.execute(select(tokens)))

    def add_token(self, row: TokenRow, entry: JournalEntry) -> None:
        with self.database.write() as connection:
            values = {name: getattr(row, name) for name in TokenRow.__slots__}
            values["numbers"] = None if row.numbers is None else list(row.numbers)
            connection.execute(insert(tokens), values)
            _record(self.database, connection, entry)

    def token_by_hash(self, digest: str) -> tuple[TokenRow, datetime] | None:
        with self.database.read() as connection:
            row = connection.execute(_BY_HASH, {"wanted": digest}).one_or_none()
            return None if row is None else (_token(row), self.database.now(connection))

    def tokens(self) -> list[TokenRow]:
        with self.database.read() as connection:
            return [_token(r) for r in connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]

    def usable(self, ids: Iterable[str]) -> set[str]:
        """Those of these token ids that are neither revoked nor expired."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            rows = connection.execute(select(tokens).where(tokens.c.id.in_(list(ids))))
            return {row.id for row in rows if _token(row).is_usable(now)}

    def revoke(self, id_: str, actor: str) -> bool:
        """Revoke a token and end its sessions; False when it was revoked before."""
        with self.database.write() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == id_).with_for_update()).one_or_none()
            if row is None:
                raise UnknownToken.for_id(id_)
            if row.revoked_at is not None:
                return False
            now = self.database.now(connection)
            connection.execute(update(tokens).where(tokens.c.id == id_).values(revoked_at=now))
            connection.execute(delete(sessions).where(sessions.c.token_id == id_))
            _record(
                self.database, connection, JournalEntry("token_revoked", actor, "", {"token": id_, "name": row.name})
            )
            return True

    def touch(self, id_: str) -> None:
        """Note that a token was used."""
        with self.database.write() as connection:
            connection.execute(_USED, {"used": id_, "at": self.database.now(connection)})

    # -------------------------------------------------------------- sessions

    def add_session(
        self, hash_: str, token_id: str, csrf_hash: str, lifetime: timedelta, replaces: str | None, entry: JournalEntry
    ) -> datetime:
        """Record a session, instead of the one the browser had before; when it ends at the latest."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            connection.execute(
                delete(sessions).where((sessions.c.expires_at <= now) | (sessions.c.hash == (replaces or "")))
            )
            values = {"hash": hash_, "token_id": token_id, "csrf_hash": csrf_hash, "created_at": now}
            connection.execute(insert(sessions), {**values, "seen_at": now, "expires_at": now + lifetime})
            connection.execute(_USED, {"used": token_id, "at": now})
            _record(self.database, connection, entry)
            return now + lifetime

    def session(self, hash_: str, idle: timedelta) -> SessionRow | None:
        """A session whose token is usable and that was used within `idle`; both uses are noted once a minute."""
        with self.database.read() as connection:
            row = connection.execute(_SESSION, {"wanted": hash_}).one_or_none()
            now = self.database.now(connection)
        if row is None or not _token(row).is_usable(now) or now >= row.ends or now >= row.seen_at + idle:
            return None
        if now >= row.seen_at + timedelta(minutes=1):
            with self.database.write() as connection:
                connection.execute(update(sessions).where(sessions.c.hash == hash_).values(seen_at=now))
                connection.execute(_USED, {"used": row.id, "at": now})
        return SessionRow(_token(row), row.csrf_hash, row.seen_at, row.ends)

    def end_session(self, hash_: str, actor: str) -> None:
        with self.database.write() as connection:
            if connection.execute(delete(sessions).where(sessions.c.hash == hash_)).rowcount:
                _record(self.database, connection, JournalEntry("signed_out", actor))

    # -------------------------------------------------------------- deliveries

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of these deliveries that were taken before."""
        with self.database.read() as connection:
            return set(
                connection.execute(select(deliveries.c.digest).where(deliveries.c.digest.in_(digests))).scalars()
            )

    def remember(self, digests: Sequence[str]) -> set[str]:
        """Note deliveries as taken; return those that are new. Replicas agree, because the key is unique."""
        if not digests:
            return set()
        with self.database.write() as connection:
            now = self.database.now(connection)
            rows = [{"digest": d, "at": now} for d in dict.fromkeys(digests)]
            query = insert_into(connection, deliveries).on_conflict_do_nothing()
            return set(connection.execute(query.returning(deliveries.c.digest), rows).scalars())

    def forget(self, digests: Sequence[str]) -> None:
        with self.database.write() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.digest.in_(digests)))

    def forget_old(self, prefix: str, older_than: timedelta) -> int:
        """Remove deliveries of one kind (the first letter of the digest) that need not be remembered."""
        with self.database.write() as connection:
            before = self.database.now(connection) - older_than
            old = deliveries.c.digest.startswith(prefix, autoescape=True) & (deliveries.c.at < before)
            return connection.execute(delete(deliveries).where(old)).rowcount

    # -------------------------------------------------------------- the system's journal

    def signing_key(self) -> str:
        """The key that signs our data in a browser: the same for all replicas and after a restart."""
        with self.database.read() as connection:
            found = value_of(connection, _SIGNING_KEY)
        if found is not None:
            return found
        with self.database.write() as connection:
            set_once(connection, _SIGNING_KEY, secrets.token_urlsafe(32))
            found = value_of(connection, _SIGNING_KEY)
        assert found is not None
        return found

    def record(self, entry: JournalEntry) -> None:
        """Add an entry that concerns no rollout: refusals, sign-ins, tokens."""
        with self.database.write() as connection:
            _record(self.database, connection, entry)

    def history(self, after: int = 0, limit: int | None = None) -> list[RecordedEntry]:
        with self.database.read() as connection:
            return list(journals.read(connection, SYSTEM, after, limit))

    def check(self) -> list[str]:
        """Faults in the system's chain, one sentence each; empty when it is whole."""
        with self.database.read() as connection:
            return journals.check(journals.read(connection, SYSTEM), head_of_system(connection))


class UnknownToken(InputError):
    """There is no token with this id."""

    status = 404

    @classmethod
    def for_id(cls, id_: str) -> UnknownToken:
        """The error for an id that no token has."""
        return cls(f"there is no token {id_}; `rollout token list` shows them")


def _record(database: Database, connection: Connection, entry: JournalEntry) -> None:
    record_in(connection, entry, database.now(connection))


def record_in(connection: Connection, entry: JournalEntry, now: datetime) -> None:
    """Add an entry to the system's chain within a transaction of the caller's."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    before = head_of_system(connection)
    seq, last = journals.append(connection, SYSTEM, before, [journals.worded(entry)], now)
    if before == (0, GENESIS):
        connection.execute(insert(meta), {"key": HEAD, "value": f"{seq}:{last}"})
    else:
        connection.execute(update(meta).where(meta.c.key == HEAD).values(value=f"{seq}:{last}"))


def head_of_system(connection: Connection) -> tuple[int, str]:
    """(sequence, hash) of the newest entry of the service's own journal."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == HEAD)).scalar_one_or_none()
    if value is None:
        return 0, GENESIS
    seq, _, last = value.partition(":")
    return int(seq), last


def _token(row: Row[Any]) -> TokenRow:
    numbers = None if row.numbers is None else tuple(row.numbers)
    return TokenRow(
        row.id,
        row.name,
        row.role,
        row.hash,
        numbers,
        row.created_at,
        row.created_by,
        row.expires_at,
        row.revoked_at,
        row.last_used_at,
    )
