"""The current heads of all chains and of the token table, and the journal compared with heads that were kept elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, text

from rollout.adapters.store import journal as journals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.journal import RecordedEntry
from rollout.adapters.store.tables import journal, tokens
from rollout.adapters.store.tokens import SYSTEM, head_of_system
from rollout.domain import anchors as rules
from rollout.domain.anchors import REVOKED, TOKEN, USABLE, Anchor
from rollout.domain.lifecycle.changes import utc_text

PRUNED = "pruned"
_MADE = ("token_created", "signed_in_oidc")


def all_anchors(database: Database, since: datetime | None = None) -> list[Anchor]:
    """The heads of all chains (of rollouts: changed `since` then) and of all tokens, at one moment."""
    with database.read() as connection:
        found = [Anchor(id_, seq, hash_) for id_, seq, hash_ in journals.heads(connection, since)]
        return [*_system(connection), *found, *_tokens(connection).values()]


def system_head(database: Database) -> list[Anchor]:
    """The head of the system's chain, which covers the token table, too; nothing before its first entry."""
    with database.read() as connection:
        return _system(connection)


def shared_anchors(database: Database) -> list[Anchor]:
    """The heads of what every rollout shares: the system's chain and the tokens."""
    with database.read() as connection:
        return [*_system(connection), *_tokens(connection).values()]


def _system(connection: Connection) -> list[Anchor]:
    seq, hash_ = head_of_system(connection)
    return [Anchor(SYSTEM, seq, hash_)] if seq else []


def anchors_of(entries: Sequence[RecordedEntry]) -> list[Anchor]:
    """The head of the chain that these entries are."""
    return [Anchor(entries[-1].rollout_id, entries[-1].seq, entries[-1].hash)] if entries else []


def against(connection: Connection, kept: Sequence[Anchor], system: Iterable[RecordedEntry]) -> list[str]:
    """Differences of the journal and the token table from these anchors, one sentence each."""
    pruned = {str(e.data.get("rollout")) for e in system if e.kind == PRUNED}
    table = _tokens(connection)
    faults = []
    query = select(journal.c.hash)
    for anchor in kept:
        if anchor.chain.startswith(TOKEN):
            faults.append(rules.broken_token(anchor, table.get(anchor.chain)))
            continue
        found = connection.execute(
            query.where(journal.c.rollout_id == anchor.chain, journal.c.seq == anchor.seq)
        ).scalar_one_or_none()
        faults.append(rules.broken(anchor, found, anchor.chain in pruned))
    return [fault for fault in faults if fault is not None]


def tokens_by_journal(connection: Connection, system: Iterable[RecordedEntry]) -> list[str]:
    """Differences of the token table from the system's chain, one sentence each."""
    made: dict[str, RecordedEntry] = {}
    revoked: set[str] = set()
    faults = []
    for entry in system:
        id_ = str(entry.data.get("token")) if entry.kind in (*_MADE, "token_revoked") else ""
        if entry.kind in _MADE:
            if id_ in made:
                faults.append(f"token {id_}: the journal has two entries of its creation")
            made.setdefault(id_, entry)
        elif id_:
            revoked.add(id_)
    rows = {row.id: row for row in connection.execute(select(tokens))}
    faults += [f"token {id_}: is in the journal but not in the table" for id_ in made if id_ not in rows]
    for id_, row in rows.items():
        if id_ not in made:
            faults.append(f"token {id_}: is in the table but not in the journal")
            continue
        said = _said(made[id_])
        for column, value in said.items():
            if getattr(row, column) != value:
                faults.append(
                    f"token {id_}: {column} is {getattr(row, column)} in the table and {value} by the journal"
                )
        if (row.revoked_at is not None) != (id_ in revoked):
            faults.append(f"token {id_}: whether it is revoked differs between the table and the journal")
    return faults


def _said(entry: RecordedEntry) -> Mapping[str, Any]:
    data = entry.data
    if entry.kind == "signed_in_oidc":
        return {"name": entry.actor, "role": data["role"], "numbers": None}
    expires = data.get("expires")
    return {
        "name": data["name"],
        "role": data["role"],
        "numbers": data["numbers"],
        "expires_at": None if expires is None else datetime.fromisoformat(expires),
    }


def _tokens(connection: Connection) -> dict[str, Anchor]:
    rows = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
    return {a.chain: a for a in map(_token, rows)}


def _token(row: Row[Any]) -> Anchor:
    fixed = [row.id, row.name, row.role, row.hash, row.numbers, row.created_by]
    fixed += [None if at is None else utc_text(at) for at in (row.created_at, row.expires_at)]
    digest = hashlib.sha256(journals.canonical(fixed).encode()).hexdigest()
    return Anchor(f"{TOKEN}{row.id}", USABLE if row.revoked_at is None else REVOKED, digest)


def missing_triggers(connection: Connection) -> list[str]:
    """The journal's triggers that are gone, switched off or emptied, one sentence each."""
    if connection.dialect.name == "sqlite":
        found = {r.name: r.sql for r in connection.execute(_SQLITE)}
        wanted = {"journal_no_update": "RAISE(ABORT", "journal_no_delete": "RAISE(ABORT"}
    else:
        found = {r.name: r.sql for r in connection.execute(_POSTGRES)}
        wanted = {"journal_append_only": "RAISE EXCEPTION"}
    return [
        f"the trigger {name} is missing or disabled, so the journal can be changed; restore a backup, and find out why"
        for name, words in wanted.items()
        if words not in found.get(name, "")
    ]


_SQLITE = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'journal'")
_POSTGRES = text(
    "SELECT t.tgname AS name, p.prosrc AS sql FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
    " WHERE t.tgrelid = to_regclass('journal') AND t.tgenabled IN ('O', 'A') AND (t.tgtype & 24) = 24"
)
