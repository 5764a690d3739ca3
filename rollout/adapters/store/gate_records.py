"""The gates' records in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollout.adapters.store import observations
from rollout.adapters.store.engine import Database
from rollout.domain.lifecycle.records import CallRecord
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.ports import StoredCalls


class StoredGateRecords:
    """Implementation of rollout.engine.ports.GateRecords on a Database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def seen(self, rollout: Rollout) -> StoredCalls:
        numbers, channels = _asked(rollout)
        with self.database.read() as connection:
            return StoredCalls(
                observations.calls(connection, numbers, channels, _began(rollout)),
                observations.turns(connection, rollout.id),
                observations.marks_of(connection, numbers),
            )

    def before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
        began = _began(rollout)
        with self.database.read() as connection:
            return observations.calls(connection, *_asked(rollout), began - span, began)

    def fix_history(self, rollout_id: str, history: Mapping[str, Any]) -> Mapping[str, Any]:
        with self.database.write() as connection:
            kept: Mapping[str, Any] = observations.set_history(connection, rollout_id, history)
            return kept

    def keep_look(self, rollout: Rollout, record: Mapping[str, Any], at: datetime) -> None:
        said = record["outcome"], record["alarm"], record["reason"]
        with self.database.write() as connection:
            observations.keep_look(connection, rollout.id, at, rollout.position, *said, record)
            observations.set_verdict(connection, rollout.id, record)


def _asked(rollout: Rollout) -> tuple[list[str], list[str]]:
    return [t.number for t in rollout.targets], [str(c) for c in rollout.plan.channels]


def _began(rollout: Rollout) -> datetime:
    assert rollout.started_at is not None
    return rollout.started_at
