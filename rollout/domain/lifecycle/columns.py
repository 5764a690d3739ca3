"""The columns that a change sets, by their names: of a rollout, and of one of its targets.

Each has the name and the type of its field in rollout.domain.lifecycle.state. A column that is not named keeps its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.machine import PausedBy, Phase
from rollout.domain.lifecycle.state import Lists, Rollout, TargetState
from rollout.domain.versions.tags import BaselineTag

Emptied = Literal["back_at", "hand_split", "stood", "turning_since"]


class RolloutColumns(TypedDict, total=False):
    """Columns of a rollout. `wave` and `step` are its position."""

    phase: Phase
    reason: str | None
    wave: int
    step: int
    confirmed_at: datetime | None
    started_at: datetime | None
    deadline_at: datetime | None
    watch_until: datetime | None
    promote_asked: bool
    stop_asked: bool
    waived: bool
    split_waived: bool
    labels_waived: bool
    resume_phase: Phase
    paused_by: PausedBy | None
    rollback_at: datetime | None
    restored_at: datetime | None
    look_asked: bool
    retreated: int | None
    turning_since: datetime | None
    stood: float | None
    back_at: datetime | None
    raised_at: datetime | None
    by_hand: Sequence[Mapping[str, Any]] | None
    hand_split: int | None
    verdict: GateVerdict | None
    history: BaselineHistory | None
    tags: tuple[BaselineTag, ...] | None
    tests: AgentTests | None


class TargetColumns(TypedDict, total=False):
    """Columns of one target."""

    split: Lists
    step: int
    modified: int
    others: str
    state: TargetState
    written: bool
    live: Lists | None
    live_at: datetime | None
    retreated: int | None


def emptied(r: Rollout, *names: Emptied) -> RolloutColumns:
    """None for each of these columns that has a value; columns that are empty already are left out."""
    return cast(RolloutColumns, {name: None for name in names if getattr(r, name) is not None})


def confirmed_at_step(r: Rollout, step: int, retreated: int | None = None) -> TargetColumns:
    """A target that was confirmed at this step; `retreated` only if the plan has a retreat."""
    return {"step": step} if r.plan.retreat is None else {"step": step, "retreated": retreated}
