"""Rows to values and back: one place that knows which column is which attribute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Row

from rollout.domain.machine import Phase
from rollout.domain.plan import Plan
from rollout.domain.state import Kind, Outcome, Position, Rollout, Target, TargetState, Write

SAME_NAME = (
    "id", "name", "reason", "epoch", "confirmed_at", "start_at", "started_at", "deadline_at", "watch_until",
    "rollback_at", "restored_at", "promote_asked", "stop_asked", "waived", "split_waived", "look_asked", "retreated",
    "turning_since", "stood", "back_at", "raised_at", "verdict", "seed",
    "base_url", "created_by", "created_at", "updated_at", "due_at", "tries", "next", "why",
)  # fmt: skip


@lru_cache(maxsize=512)
def _plan(_digest: str, text: str) -> Plan:
    return Plan.model_validate(json.loads(text))


def to_plan(document: Any, digest: str) -> Plan:
    """The plan as recorded at the start; parsed once per process."""
    return _plan(digest, json.dumps(document, sort_keys=True))


def to_rollout(
    row: Row[Any], targets: Sequence[Target] = (), writes: Sequence[Write] = (), foreign: Sequence[Write] = ()
) -> Rollout:
    """A snapshot from its rows."""
    return Rollout(
        **{name: getattr(row, name) for name in SAME_NAME},
        plan=to_plan(row.plan, row.plan_digest),
        phase=Phase(row.phase),
        resume_phase=Phase(row.resume_phase),
        position=Position(row.wave, row.step),
        targets=tuple(targets),
        writes=tuple(writes),
        foreign_open=tuple(foreign),
    )


def from_rollout(rollout: Rollout) -> dict[str, Any]:
    """The columns of a rollout's row, without what only the scheduler needs."""
    return {
        **{name: getattr(rollout, name) for name in SAME_NAME},
        "plan": rollout.plan.canonical(),
        "plan_digest": rollout.plan.digest(),
        "phase": str(rollout.phase),
        "resume_phase": str(rollout.resume_phase),
        "wave": rollout.position.wave,
        "step": rollout.position.step,
    }


def to_target(row: Row[Any]) -> Target:
    """A target from its row."""
    return Target(
        row.number, row.ord, row.wave, row.baseline, row.split, row.step, row.modified, row.others,
        TargetState(row.state), row.written, row.live, row.live_at, row.retreated,
    )  # fmt: skip


def from_target(rollout_id: str, target: Target, driven: bool = True) -> dict[str, Any]:
    """The columns of a target's row."""
    return {
        "rollout_id": rollout_id,
        "number": target.number,
        "ord": target.ord,
        "wave": target.wave,
        "baseline": dict(target.baseline),
        "split": dict(target.split),
        "step": target.step,
        "modified": target.modified,
        "others": target.others,
        "state": str(target.state),
        "written": target.written,
        "live": None if target.live is None else dict(target.live),
        "live_at": target.live_at,
        "retreated": target.retreated,
        "driven": driven,
    }


def to_write(row: Row[Any]) -> Write:
    """A write from its row; its lists are its body."""
    return Write(
        row.id, row.number, Kind(row.kind), row.wave, row.step, row.epoch, json.loads(row.body), row.body,
        row.intent_at, row.horizon_until, None if row.outcome is None else Outcome(row.outcome), row.answered,
        row.rollout_id, row.retreated,
    )  # fmt: skip


def from_write(write: Write) -> dict[str, Any]:
    """The columns of a write's row."""
    return {
        "id": write.id,
        "rollout_id": write.rollout_id,
        "number": write.number,
        "kind": str(write.kind),
        "wave": write.wave,
        "step": write.step,
        "epoch": write.epoch,
        "body": write.body,
        "intent_at": write.intent_at,
        "horizon_until": write.horizon_until,
        "outcome": None if write.outcome is None else str(write.outcome),
        "answered": write.answered,
        "retreated": write.retreated,
    }
