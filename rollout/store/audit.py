"""Holds the whole store against its journal: every chain, and the tables against what the chains say."""

from __future__ import annotations

from sqlalchemy import Connection, text

from rollout.store import journal
from rollout.store.access import SYSTEM, AccessStore
from rollout.store.engine import Database
from rollout.store.rebuild import differences


def audit(database: Database, only: str | None = None) -> tuple[list[str], int]:
    """(what is wrong, one sentence each; how many entries were checked), of one rollout or of everything.

    Everything is seen at one moment, so a service that goes on working beside it looks like no alteration.
    """
    faults: list[str] = []
    counted = 0
    with database.read() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        for id_, seq, last in list(journal.heads(connection)):
            if only is None or id_ == only:
                found, count = _one(connection, id_, (seq, last))
                faults += found
                counted += count
        if only is None:
            counted += sum(1 for _ in journal.read(connection, SYSTEM))
    if only is None:
        faults += AccessStore(database).check()
    return faults, counted


def _one(connection: Connection, id_: str, head: tuple[int, str]) -> tuple[list[str], int]:
    entries = list(journal.read(connection, id_))
    faults = journal.check(entries, head)
    if not faults:  # an altered chain says nothing about the tables
        faults = differences(connection, id_)
    return faults, len(entries)
