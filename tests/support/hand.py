"""A hand on a store: puts rollouts in, looks at rows, and does what the store itself never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, text

from rollout.adapters.store import claims, tables
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Target
from tests.support.values import created, target

LEASE = timedelta(seconds=45)


class Hand:
    """Puts rollouts into a store and looks at its rows."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, id_: str = "r1", *targets: Target, due: timedelta | None = timedelta(0), **changes: Any) -> str:
        """A rollout that has been due for this long (None: not due)."""
        now = self.store.now()
        values: dict[str, Any] = {
            "id": id_,
            "name": "frontdesk-v7" if id_ == "r1" else f"frontdesk-v7-{id_}",
            "created_at": now,
            "updated_at": now,
            "start_at": None,
            "due_at": None if due is None else now - due,
            "targets": targets or (target(),),
            **changes,
        }
        given = self.store.create(lambda at: created(**{**values, "created_at": changes.get("created_at", at)}), None)
        return given.id

    def claim(self, id_: str = "r1") -> Claim:
        (claim,) = self.store.claim("test", LEASE, only=id_)
        return claim

    def holds(self, claim: Claim) -> bool:
        """True if the claim still stands."""
        return self.store.load(claim.rollout_id)[0].epoch == claim.epoch

    def next_due(self) -> datetime | None:
        """When the next rollout becomes due that nobody is at work on."""
        with self.store.database.read() as connection:
            return claims.next_due(connection, self.store.database.now(connection))

    def prune(self, keep: timedelta) -> int:
        """Remove what has ended for so long, as the job of the clock does; return how many rollouts."""
        return sum(self.store.pruning.remove(id_, keep) for id_ in self.store.pruning.prunable(keep))

    def claim_again(self, id_: str = "r1") -> Claim:
        """A claim after the one before has run out."""
        self.run("UPDATE rollouts SET lease_until = NULL WHERE id = :id", id=id_)
        return self.claim(id_)

    def begun(self, id_: str = "r1", *targets: Target, **changes: Any) -> Claim:
        """A rollout that progresses, claimed."""
        self.create(id_, *targets, phase=Phase.PROGRESSING, started_at=self.store.now(), **changes)
        return self.claim(id_)

    def copies(self, id_: str, count: int) -> list[str]:
        """So many more rollouts like this one, without numbers of their own, each a minute newer; their ids."""
        table = tables.rollouts
        with self.store.database.write() as connection:
            row = dict(connection.execute(select(table).where(table.c.id == id_)).one()._mapping)
            ids = [f"{id_}copy{i:05d}" for i in range(count)]
            more = [
                {**row, "id": each, "name": each, "created_at": row["created_at"] + timedelta(minutes=i + 1)}
                for i, each in enumerate(ids)
            ]
            connection.execute(insert(table), more)
        return ids

    def run(self, statement: str, **values: Any) -> Any:
        """A statement beside the store's own ways; rows, if it gives any."""
        with self.store.database.write() as connection:
            done = connection.execute(text(statement), values)
            return list(done) if done.returns_rows else done.rowcount

    def allow_tampering(self) -> None:
        """Takes the journal's triggers away, as somebody with the database in hand can."""
        if self.store.database.is_sqlite:
            self.run("DROP TRIGGER journal_no_update")
            self.run("DROP TRIGGER journal_no_delete")
        else:
            self.run("ALTER TABLE journal DISABLE TRIGGER ALL")

    def later(self, seconds: float) -> datetime:
        return self.store.now() + timedelta(seconds=seconds)


def stale(claim: Claim) -> Claim:
    """The same claim as if somebody had taken it over since."""
    return replace(claim, epoch=claim.epoch - 1)
