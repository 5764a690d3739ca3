"""One rollout as values: its position, its targets, its writes, and everything that can be derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import PausedBy, Phase
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.plan import Plan
from rollout.domain.versions.tags import BaselineTag

RECENT = timedelta(minutes=10)  # longer than six of the longest pauses between two writes of a baseline
CONTESTED = 3  # times that Retell accepts a baseline and somebody overwrites it before the service reports that

Lists = Mapping[str, list[dict[str, Any]] | None]


# Fields that say when a rollout is due and what `show` says until then: they change without a journal entry, and are not
# rebuilt from the journal.
SCHEDULING = frozenset({"due_at", "tries", "next", "why", "waiting_for", "look_asked", "updated_at", "verdict"})


class Position(NamedTuple):
    """A rollout's wave and step; both count from 1."""

    wave: int
    step: int

    def __str__(self) -> str:
        return f"{self.wave}.{self.step}"


class TargetState(StrEnum):
    """The state of one number of the rollout."""

    UNTOUCHED = "untouched"  # never written by this rollout
    CONFIRMED = "confirmed"  # shows the split we wrote, as read back
    DRIFTED = "drifted"  # shows something that is not ours
    TOUCHED = "touched"  # somebody wrote it, nothing visible changed
    MISSING = "missing"  # Retell does not know the number
    REJECTED = "rejected"  # Retell refused the write
    RESTORED = "restored"  # shows its baseline again, as read back
    SUPERSEDED = "superseded"  # a later rollout has the number now; this one no longer watches it
    FOREIGN = "foreign"  # edited by somebody after our rollback; left alone


@dataclass(frozen=True, slots=True)
class Target:
    """One phone number in a rollout.

    `baseline` and `split` map the list fields of the plan's channels to Retell's lists. `split` is what the number is
    expected to show now. `step` is the step it was last confirmed at (0: its baseline; -1: none, it must be written
    again). `retreated` is the retreat weight in basis points if the number has that instead of the step's weight.
    `modified` is the newest last_modification_timestamp seen, in milliseconds.
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
    retreated: int | None = None


class Kind(StrEnum):
    """The purpose of a write."""

    FORWARD = "forward"
    BASELINE = "baseline"


class WriteOutcome(StrEnum):
    """The outcome of a write; None means not known yet."""

    APPLIED = "applied"
    NOT_APPLIED = "not_applied"


@dataclass(frozen=True, slots=True)
class Write:
    """An intent and, once known, its outcome. The write may still take effect until `horizon_until`."""

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
    outcome: WriteOutcome | None = None
    answered: int | None = None
    rollout_id: str = ""
    retreated: int | None = None  # it writes the retreat weight, in basis points, and not the step's

    def is_open(self, now: datetime) -> bool:
        """True if this write may still take effect, or its outcome is not known."""
        return self.outcome is None or self.horizon_until > now


class BaselineWrite(NamedTuple):
    """The latest baseline write of a number.

    last: when it was recorded. taken: Retell confirmed it with a 200. times: how many Retell has confirmed since the
    rollback was ordered, among the writes that were loaded.
    """

    last: datetime
    taken: bool
    times: int


@dataclass(frozen=True)
class Rollout:
    """A snapshot of one rollout as the store has it.

    `writes` are the ones that were open when it was loaded and the ones made since, oldest first. While it rolls back,
    also those of the last minutes (`RECENT`) that Retell answered: they show which numbers were tried, and whether
    somebody else writes them, too.

    `retreated` is the weight wanted after closing time, in basis points, on every number whose step has more; None: the
    position's own weights. `turning_since` is when closing or opening time last asked for a change that has not been
    read back on every number yet. The position's hold counts from `back_at` (None: `confirmed_at`), and `stood` seconds
    of it had passed before. `raised_at` is when a person last promoted a plan that retreats.

    `by_hand` are the splits that people set (`HandSplit`), in their order. `hand_split` is the number of the one that is
    wanted instead of the position's weights (None: no such split).
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
    waived: bool = False  # a person overrode a failed gate
    split_waived: bool = False  # a person overrode a split alarm
    labels_waived: bool = False  # a person overrode a labels alarm: results go missing on one side
    resume_phase: Phase = Phase.PROGRESSING
    paused_by: PausedBy | None = None  # None: by an earlier version, or nobody
    rollback_at: datetime | None = None
    restored_at: datetime | None = None
    look_asked: bool = False
    retreated: int | None = None
    turning_since: datetime | None = None
    stood: float | None = None
    back_at: datetime | None = None
    raised_at: datetime | None = None
    by_hand: Sequence[Mapping[str, Any]] | None = None
    hand_split: int | None = None
    tries: int = 0
    next: str = ""
    why: str = ""
    waiting_for: WaitingFor | None = None
    base_url: str = ""
    created_by: str = ""
    seed: int = 0
    verdict: GateVerdict | None = None
    history: BaselineHistory | None = None  # the baseline's, as fixed at the first gate check
    tags: tuple[BaselineTag, ...] | None = None  # that its baseline names
    tests: AgentTests | None = None  # of the agent, before the first step
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

    @cached_property
    def hand_splits(self) -> tuple[HandSplit, ...]:
        """The splits that people set, number 1 first."""
        return tuple(map(HandSplit.from_json, self.by_hand or ()))

    @property
    def hand(self) -> HandSplit | None:
        """The person's split that is wanted instead of the position's weights."""
        return None if self.hand_split is None else self.hand_splits[self.hand_split - 1]

    @property
    def shipped(self) -> str | None:
        """The variant that a person, or the plan, ships."""
        return None if self.hand is None else self.hand.ships

    @property
    def step(self) -> int:
        """The step that the numbers of its wave must be confirmed at: the position's, or that of a person's split."""
        return self.position.step if self.hand_split is None else self.plan.last_step + self.hand_split

    def weights_at(self, step: int) -> Mapping[str, int]:
        """Basis points of each arm at a step. Steps after the plan's last one stand for splits that people set."""
        number = step - self.plan.last_step
        return self.plan.weights(step) if number <= 0 else self.hand_splits[number - 1].weights

    def plan_step(self, step: int) -> int:
        """The step of the plan: of a person's split, the one whose weights it replaces."""
        return step if step <= self.plan.last_step else self.hand_splits[step - self.plan.last_step - 1].step

    def wanted_step(self, target: Target, position: Position | None = None) -> int:
        """The step this target must be confirmed at for the position to be reached.

        None: ours, with a person's split if one is wanted. A `position` may name such a split by its step.
        """
        wave, step = position or (self.position.wave, self.step)
        if position is None and self.shipped is not None:
            return step
        if target.wave < wave:
            return self.plan.last_step
        return step if target.wave == wave else 0

    def wanted(self, target: Target) -> tuple[int, int | None]:
        """(step, retreated) at which this target must be confirmed, by the position or by closing time.

        A number that is at the retreat weight or below it is left alone until the opening.
        """
        step = self.wanted_step(target)
        if self.retreated is None or step not in self.steps_above:
            return step, None
        if target.step >= 0:
            at_retreat = target.retreated == self.retreated
            below = target.retreated is None and target.step not in self.steps_above
            if at_retreat or below:
                return target.step, target.retreated
        return step, self.retreated

    @cached_property
    def steps_above(self) -> frozenset[int]:
        """Steps above the retreat weight, with people's splits. Cached, because it is used for every target."""
        retreat, last = self.plan.retreat, self.plan.last_step
        if retreat is None:
            return frozenset()
        return self.plan.steps_above | {last + h.number for h in self.hand_splits if sum(h.weights.values()) > retreat}

    @property
    def retreats(self) -> bool:
        """True if closing time lowers a number: one that is wanted above the retreat weight."""
        return self.step in self.steps_above or (self.position.wave > 1 and self.plan.last_step in self.steps_above)

    @property
    def is_down(self) -> bool:
        """True if the retreat weight was read back last, and not the position's."""
        return (self.retreated is not None) is not (self.turning_since is not None)

    @property
    def counts_since(self) -> datetime | None:
        """The moment from which the position's hold counts, after the `stood` seconds; None while it does not count."""
        if self.confirmed_at is None or self.retreated is not None or self.turning_since is not None:
            return None
        return self.back_at or self.confirmed_at

    @property
    def hold_left(self) -> timedelta:
        """The part of the position's hold that was left at `counts_since`."""
        return self.plan.hold(self.position.step).duration - timedelta(seconds=self.stood or 0)

    @property
    def decides_at(self) -> datetime | None:
        """The earliest moment at which the plan ends its A/B test.

        None: the plan has no such end, its last step is not confirmed yet, or a version is being shipped.
        """
        decide, since = self.plan.decide, self.counts_since
        if decide is None or since is None or self.position != self.last_position or self.shipped is not None:
            return None
        return since + decide.after

    @property
    def rollback_seconds(self) -> float | None:
        """Seconds from the order of the rollback until every number was read back; None: not read back."""
        if self.restored_at is None or self.rollback_at is None:
            return None
        return (self.restored_at - self.rollback_at).total_seconds()

    @cached_property
    def outstanding(self) -> tuple[Target, ...]:
        """Targets that are not yet confirmed at what the position, or closing time, asks for."""
        return tuple(t for t in self.targets if (t.step, t.retreated) != self.wanted(t))

    @cached_property
    def unresolved(self) -> tuple[Write, ...]:
        return tuple(w for w in self.writes if w.outcome is None)

    def open_writes(self, now: datetime, number: str | None = None) -> tuple[Write, ...]:
        """Writes (ours, and others' on our numbers) that may still take effect."""
        return tuple(
            w for w in (*self.writes, *self.foreign_open) if w.is_open(now) and (number is None or w.number == number)
        )

    @cached_property
    def baseline_writes(self) -> Mapping[str, BaselineWrite]:
        """The latest baseline write by number, since the rollback was ordered."""
        since, found = self.rollback_at or self.created_at, dict[str, BaselineWrite]()
        for w in self.writes:
            if w.kind is Kind.BASELINE and w.intent_at >= since:
                before = found.get(w.number)
                taken = w.answered == 200
                found[w.number] = BaselineWrite(w.intent_at, taken, (before.times if before else 0) + taken)
        return found

    def contested_numbers(self, numbers: Iterable[str]) -> list[str]:
        """The numbers whose baseline Retell has just accepted for the third time; they showed something else after each."""
        return [n for n in numbers if n in self.baseline_writes and self.baseline_writes[n].times == CONTESTED]

    @cached_property
    def written(self) -> tuple[Target, ...]:
        """Targets this rollout has ever tried to change: what a rollback covers."""
        return tuple(t for t in self.targets if t.written)

    @cached_property
    def owned_targets(self) -> tuple[Target, ...]:
        """Written targets that no later rollout has taken over; only these may be watched and undone automatically."""
        return tuple(t for t in self.written if t.state is not TargetState.SUPERSEDED)

    @property
    def weights(self) -> Mapping[str, int]:
        """Confirmed shares of the arms, in basis points, at the position (of the wave under way)."""
        if self.phase is Phase.ROLLED_BACK or not self.targets:
            return {}
        here = [t for t in self.targets if t.wave == self.position.wave]
        step = min({t.step for t in here} - {self.step}, default=self.step)
        weights = self.weights_at(step) if step > 0 else {}
        if self.is_down and step in self.steps_above and any(t.retreated is not None for t in here):
            return dict.fromkeys(weights, self.plan.retreat or 0)
        return weights
