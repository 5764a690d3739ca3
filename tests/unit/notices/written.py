"""Journal entries for the tests of notices, and the notice that each becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollout.domain.notices.events import of_entry
from rollout.domain.notices.notice import Notice
from tests.support.clock import START
from tests.support.values import rollout

HASH = "ab" * 32


@dataclass(frozen=True)
class Written:
    """A journal entry."""

    kind: str
    reason: str = "because of the calls"
    data: dict[str, Any] = field(default_factory=lambda: {"position": "1.2"})
    seq: int = 7
    at: datetime = START
    actor: str = "service"
    hash: str = HASH


def told(kind: str, reason: str = "because of the calls", data: dict[str, Any] | None = None, **changes: Any) -> Notice:
    found = of_entry(rollout(**changes), Written(kind, reason, {"position": "1.2"} if data is None else data))
    assert found is not None
    return found
