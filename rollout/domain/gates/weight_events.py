"""The journal entries that begin or end a time in which a weight was live, parsed once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from rollout.domain.lifecycle.entries import ServiceEvent
from rollout.domain.lifecycle.machine import CommandKind, Event

KINDS: frozenset[str] = frozenset(
    {
        Event.CONFIRMED,
        Event.ADVANCED,
        CommandKind.PROMOTE,
        CommandKind.SET,
        Event.SHIPPED,
        CommandKind.ROLLBACK,
        Event.FAILED,
        Event.FAILURE_PAUSED,
        Event.HELD,
        CommandKind.ADOPT,
        CommandKind.RESTORE,
        Event.COMPLETED,
        Event.RESTORED_OUTSIDE,
        Event.ENDED,
        CommandKind.STOP,
        Event.RETREATED,
        Event.RETURNED,
        Event.REACHED,
    }
)
_WITH_DATA: frozenset[str] = frozenset({Event.CONFIRMED, Event.REACHED, Event.HELD})


@dataclass(frozen=True, slots=True)
class WeightEvent:
    """One of these entries. data: what was read back, or why it is held; None for the other kinds."""

    kind: str
    at: datetime
    data: ServiceEvent | None = None

    @classmethod
    def from_journal(cls, kind: str, at: datetime, data: str) -> WeightEvent:
        """From the columns of a journal entry; the data of the other kinds can be long, and is not parsed."""
        return cls(kind, at, ServiceEvent.from_json(json.loads(data)) if kind in _WITH_DATA else None)
