"""The answers of `decide`: exactly one of these, with its reason in one line for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rollout.domain.agent_tests.state import BatchOrder
from rollout.domain.lifecycle.columns import RolloutColumns, TargetColumns
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import Target
from rollout.domain.lifecycle.waiting import WaitingFor


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until `until` (None: until something changes).

    `waiting_for` None: nothing has to happen first; it is due at once, or it has ended.
    """

    until: datetime | None
    next: str
    why: str
    waiting_for: WaitingFor | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Read these numbers and record what they show."""

    numbers: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Write the position's split to these targets."""

    targets: tuple[Target, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Write the baseline back to these targets."""

    targets: tuple[Target, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Check a scheduled plan against the live numbers and record their baselines."""

    why: str


@dataclass(frozen=True, slots=True)
class BeginBatch:
    """Ask Retell for this batch of tests, once."""

    order: BatchOrder
    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record an event; `values` are columns of the rollout that change with it."""

    event: Event
    why: str
    values: RolloutColumns = field(default_factory=RolloutColumns)
    targets: Mapping[str, TargetColumns] = field(default_factory=dict)


Action = Wait | Read | Apply | Restore | Begin | BeginBatch | Record
