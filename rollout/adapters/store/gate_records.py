"""The gates' records in the store: every look, the newest verdict, and what the baseline's earlier calls say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from rollout.adapters.store import observations
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import journal, looks, rollouts
from rollout.domain.calls import CallRecord
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict, StoredLook
from rollout.domain.gates.weight_events import KINDS, WeightEvent
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.ports import StoredCalls

_KINDS = sorted(map(str, KINDS))


class StoredGateRecords:
    """Implementation of rollout.engine.ports.GateRecords on a Database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def stored_calls(self, rollout: Rollout) -> StoredCalls:
        numbers, channels = _asked(rollout)
        with self.database.read() as connection:
            return StoredCalls(
                observations.calls(connection, numbers, channels, _began(rollout)),
                weight_events(connection, rollout.id),
                observations.marks_of(connection, numbers),
            )

    def calls_before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
        began = _began(rollout)
        with self.database.read() as connection:
            return observations.calls(connection, *_asked(rollout), began - span, began)

    def fix_history(self, rollout_id: str, history: BaselineHistory) -> BaselineHistory:
        with self.database.write() as connection:
            return set_history(connection, rollout_id, history)

    def keep_look(self, rollout: Rollout, verdict: GateVerdict, at: datetime) -> None:
        with self.database.write() as connection:
            keep_look(connection, rollout.id, at, rollout.position, verdict)
            set_verdict(connection, rollout.id, verdict)

    def looks(self, rollout_id: str, most: int | None = None) -> list[StoredLook]:
        """Every stored look, oldest first; or at most `most`, evenly chosen, always with the last one."""
        with self.database.read() as connection:
            return looks_of(connection, rollout_id, most)


def _asked(rollout: Rollout) -> tuple[list[str], list[str]]:
    return [t.number for t in rollout.targets], [str(c) for c in rollout.plan.channels]


def _began(rollout: Rollout) -> datetime:
    assert rollout.started_at is not None
    return rollout.started_at


def keep_look(
    connection: Connection, rollout_id: str, at: datetime, position: tuple[int, int], verdict: GateVerdict
) -> int:
    """Add one look; return its sequence number."""
    last = connection.execute(select(func.max(looks.c.seq)).where(looks.c.rollout_id == rollout_id)).scalar_one()
    seq = (last or 0) + 1
    connection.execute(
        insert(looks),
        {
            "rollout_id": rollout_id,
            "seq": seq,
            "at": at,
            "wave": position[0],
            "step": position[1],
            "outcome": str(verdict.outcome),
            "alarm": None if verdict.alarm is None else str(verdict.alarm),
            "reason": verdict.reason,
            "evidence": verdict,
        },
    )
    return seq


def looks_of(connection: Connection, rollout_id: str, most: int | None = None) -> list[StoredLook]:
    """The stored looks of a rollout in order, all or `most` of them."""
    lo = looks.c
    query = select(lo.seq, lo.at, lo.evidence).where(lo.rollout_id == rollout_id).order_by(lo.seq)
    if most is not None:
        seqs = connection.execute(select(lo.seq).where(lo.rollout_id == rollout_id).order_by(lo.seq)).scalars().all()
        step = max(1, -(-len(seqs) // most))
        query = query.where(lo.seq.in_(seqs[::-1][::step]))
    return [StoredLook(*row) for row in connection.execute(query)]


def weight_events(connection: Connection, rollout_id: str) -> list[WeightEvent]:
    """The journal entries that begin or end a time in which a weight was live, oldest first."""
    query = (
        select(journal.c.kind, journal.c.at, journal.c.data)
        .where(journal.c.rollout_id == rollout_id, journal.c.kind.in_(_KINDS))
        .order_by(journal.c.seq)
    )
    return [WeightEvent.from_journal(*row) for row in connection.execute(query)]


def set_history(connection: Connection, rollout_id: str, history: BaselineHistory) -> BaselineHistory:
    """Store the baseline's history unless one is stored already; return the stored one."""
    r = rollouts.c
    connection.execute(update(rollouts).where(r.id == rollout_id, r.history.is_(None)).values(history=history))
    return connection.execute(select(r.history).where(r.id == rollout_id)).scalar_one_or_none() or history


def set_verdict(connection: Connection, rollout_id: str, verdict: GateVerdict) -> None:
    """Store the newest verdict with the rollout; it is not part of the journal."""
    connection.execute(update(rollouts).where(rollouts.c.id == rollout_id).values(verdict=verdict))
