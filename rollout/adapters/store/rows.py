"""Rows to values and back: one place that knows which column is which attribute."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Row

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Position, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.gates import with_new_names
from rollout.domain.plan.plan import Plan

SAME_NAME = (
    "id",
    "name",
    "reason",
    "epoch",
    "confirmed_at",
    "start_at",
    "started_at",
    "deadline_at",
    "watch_until",
    "rollback_at",
    "restored_at",
    "promote_asked",
    "stop_asked",
    "waived",
    "split_waived",
    "labels_waived",
    "look_asked",
    "retreated",
    "turning_since",
    "stood",
    "back_at",
    "raised_at",
    "verdict",
    "history",
    "seed",
    "base_url",
    "created_by",
    "created_at",
    "updated_at",
    "due_at",
    "tries",
    "next",
    "why",
)


_PLANS: OrderedDict[tuple[str, str], Plan] = OrderedDict()
_MOST_PLANS = 512


def to_plan(document: Any, digest: str) -> Plan:
    """The plan as recorded at the start; parsed once per process, and not at all by the one that recorded it."""
    key = digest, json.dumps(document, sort_keys=True)
    plan = _PLANS.get(key)
    if plan is None:
        plan = Plan.model_validate(with_new_names(document))
        _keep(key, plan)
    return plan


def _keep(key: tuple[str, str], plan: Plan) -> None:
    _PLANS[key] = plan
    while len(_PLANS) > _MOST_PLANS:
        _PLANS.popitem(last=False)


def to_rollout(
    row: Row[Any], targets: Sequence[Target] = (), writes: Sequence[Write] = (), foreign: Sequence[Write] = ()
) -> Rollout:
    """A snapshot from its rows."""
    return Rollout(
        **{name: getattr(row, name) for name in SAME_NAME},
        plan=to_plan(row.plan, row.plan_digest),
        phase=Phase(row.phase),
        resume_phase=Phase(row.resume_phase),
        waiting_for=None if row.waiting_for is None else WaitingFor(row.waiting_for),
        position=Position(row.wave, row.step),
        targets=tuple(targets),
        writes=tuple(writes),
        foreign_open=tuple(foreign),
    )


def from_rollout(rollout: Rollout) -> dict[str, Any]:
    """The columns of a rollout's row, without what only the scheduler needs."""
    plan, digest = rollout.plan.canonical(), rollout.plan.digest()
    _keep((digest, json.dumps(plan, sort_keys=True)), rollout.plan)
    return {
        **{name: getattr(rollout, name) for name in SAME_NAME},
        "plan": plan,
        "plan_digest": digest,
        "phase": str(rollout.phase),
        "resume_phase": str(rollout.resume_phase),
        "waiting_for": rollout.waiting_for,
        "wave": rollout.position.wave,
        "step": rollout.position.step,
    }


def to_target(row: Row[Any]) -> Target:
    """A target from its row."""
    return Target(
        row.number,
        row.ord,
        row.wave,
        row.baseline,
        row.split,
        row.step,
        row.modified,
        row.others,
        TargetState(row.state),
        row.written,
        row.live,
        row.live_at,
        row.retreated,
    )


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
    """A write from its row of the whole table; its lists are its body."""
    # By place: a rollback that interrupts a fleet's step reads a thousand of these before its first request.
    (id_, rollout_id, number, kind, wave, step, epoch, body, intent_at, horizon_until, outcome, answered, retreated) = (
        cast("tuple[Any, ...]", row)
    )
    return Write(
        id_,
        number,
        _KINDS[kind],
        wave,
        step,
        epoch,
        _lists(body),
        body,
        intent_at,
        horizon_until,
        None if outcome is None else WriteOutcome(outcome),
        answered,
        rollout_id,
        retreated,
    )


_KINDS = {str(kind): kind for kind in Kind}


@lru_cache(maxsize=512)
def _lists(body: str) -> Any:
    return json.loads(body)


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
