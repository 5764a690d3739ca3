"""One rollout as values: where it stands, its targets and its writes. What can be derived is derived here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from rollout.domain.machine import Phase
from rollout.domain.plan import Plan

Lists = Mapping[str, list[dict[str, Any]] | None]


class Position(NamedTuple):
    """Where a rollout stands; both count from 1."""

    wave: int
    step: int

    def __str__(self) -> str:
        return f"{self.wave}.{self.step}"


class TargetState(StrEnum):
    """What is known of one number of the rollout."""

    UNTOUCHED = "untouched"  # never written by this rollout
    CONFIRMED = "confirmed"  # shows the split we wrote, as read back
    DRIFTED = "drifted"  # shows something that is not ours
    TOUCHED = "touched"  # somebody wrote it, nothing visible changed
    MISSING = "missing"  # Retell does not know the number
    REJECTED = "rejected"  # Retell refused the write
    RESTORED = "restored"  # shows its baseline again, as read back
    SUPERSEDED = "superseded"  # a later rollout has the number now; this one watches it no more
    FOREIGN = "foreign"  # edited by somebody after our rollback; left alone


@dataclass(frozen=True, slots=True)
class Target:
    """One phone number in a rollout.

    `baseline` and `split` map the list fields of the plan's channels to Retell's lists; `split` is
    what the number is expected to show now, `step` the plan's step it was last confirmed at
    (0: its baseline). `modified` is the newest last_modification_timestamp seen, in milliseconds.
    """

    number: str
    ord: int
    wave: int
    baseline: Lists
    split: Lists
    step: int
    modified: int
    others: str
    state: TargetState = TargetState.UNTOUCHED
    written: bool = False
    live: Lists | None = None
    live_at: datetime | None = None


class Kind(StrEnum):
    """What a write is for."""

    FORWARD = "forward"
    BASELINE = "baseline"


class Outcome(StrEnum):
    """What became of a write; None means not known yet."""

    APPLIED = "applied"
    NOT_APPLIED = "not_applied"


@dataclass(frozen=True, slots=True)
class Write:
    """An intent and, once known, its outcome. A write may still take effect until `horizon_until`."""

    id: str
    number: str
    kind: Kind
    wave: int
    step: int
    epoch: int
    lists: Lists
    body: str
    intent_at: datetime
    horizon_until: datetime
    outcome: Outcome | None = None
    answered: int | None = None
    rollout_id: str = ""

    def is_open(self, now: datetime) -> bool:
        """Whether this write may still take effect, or what it did is not known."""
        return self.outcome is None or self.horizon_until > now


@dataclass(frozen=True)
class Rollout:
    """A snapshot of one rollout as the store has it.

    `writes` are those that were open when it was loaded and those made since, oldest first.
    """

    id: str
    name: str
    plan: Plan
    phase: Phase
    reason: str | None
    position: Position
    epoch: int
    created_at: datetime
    updated_at: datetime
    confirmed_at: datetime | None = None
    start_at: datetime | None = None
    started_at: datetime | None = None
    deadline_at: datetime | None = None
    due_at: datetime | None = None
    watch_until: datetime | None = None
    promote_asked: bool = False
    stop_asked: bool = False
    waived: bool = False  # a person went on after a failed gate
    split_waived: bool = False  # a person went on after a split alarm
    resume_phase: Phase = Phase.PROGRESSING
    rollback_at: datetime | None = None
    restored_at: datetime | None = None
    look_asked: bool = False
    tries: int = 0
    next: str = ""
    why: str = ""
    base_url: str = ""
    created_by: str = ""
    seed: int = 0
    verdict: Mapping[str, Any] | None = None
    targets: Sequence[Target] = field(default_factory=tuple)
    writes: Sequence[Write] = field(default_factory=tuple)
    foreign_open: Sequence[Write] = field(default_factory=tuple)  # other rollouts' open writes on our numbers

    @cached_property
    def by_number(self) -> Mapping[str, Target]:
        return {target.number: target for target in self.targets}

    @cached_property
    def waves(self) -> int:
        return max((target.wave for target in self.targets), default=1)

    @property
    def last_position(self) -> Position:
        return Position(self.waves, self.plan.last_step)

    @property
    def next_position(self) -> Position | None:
        """The position after this one: the next step, or the first step of the next wave."""
        wave, step = self.position
        if step < self.plan.last_step:
            return Position(wave, step + 1)
        return Position(wave + 1, 1) if wave < self.waves else None

    def wanted_step(self, target: Target) -> int:
        """The step this target must be confirmed at for the position to be reached."""
        if target.wave < self.position.wave:
            return self.plan.last_step
        return self.position.step if target.wave == self.position.wave else 0

    @cached_property
    def outstanding(self) -> tuple[Target, ...]:
        """Targets that are not yet confirmed where the position wants them."""
        return tuple(t for t in self.targets if t.step != self.wanted_step(t))

    @cached_property
    def unresolved(self) -> tuple[Write, ...]:
        return tuple(w for w in self.writes if w.outcome is None)

    def open_writes(self, now: datetime, number: str | None = None) -> tuple[Write, ...]:
        """Writes (ours, and others' on our numbers) that may still take effect."""
        return tuple(
            w
            for w in (*self.writes, *self.foreign_open)
            if w.is_open(now) and (number is None or w.number == number)
        )

    @cached_property
    def written(self) -> tuple[Target, ...]:
        """Targets this rollout has ever tried to change: what a rollback covers."""
        return tuple(t for t in self.targets if t.written)

    @property
    def weights(self) -> Mapping[str, int]:
        """Confirmed shares of the arms, in basis points, at the position (of the wave under way)."""
        if self.phase is Phase.ROLLED_BACK or not self.targets:
            return {}
        steps = [t.step for t in self.targets if t.wave == self.position.wave]
        step = min(steps, default=0)
        return self.plan.weights(step) if step else {}
