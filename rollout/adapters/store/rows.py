"""Conversion of rows to values and back; the only module that maps columns to attributes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from threading import Lock
from typing import Any, cast

from sqlalchemy import Row

from rollout.domain.lifecycle.machine import PausedBy, Phase
from rollout.domain.lifecycle.state import Kind, Position, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.gates import with_new_names
from rollout.domain.plan.plan import Plan

# The fields of a rollout that are columns as they are; the others are made of columns below, or of other tables.
_ENUMS = ("phase", "resume_phase", "paused_by", "waiting_for")
SAME_NAME = tuple(
    f.name for f in fields(Rollout) if f.name not in (*_ENUMS, "plan", "position", "targets", "writes", "foreign_open")
)
_TARGET_FIELDS = tuple(f.name for f in fields(Target))
_target_values, _STATE = attrgetter(*_TARGET_FIELDS), _TARGET_FIELDS.index("state")
_WRITE_COLUMNS = tuple(f.name for f in fields(Write) if f.name != "lists")


_PLANS: OrderedDict[tuple[str, str], Plan] = OrderedDict()  # the one used last at the end
_MOST_PLANS = 512  # more than the live rollouts of a busy account: a list of all of them finds each one parsed
_plans_lock = Lock()


def to_plan(document: Any, digest: str) -> Plan:
    """The plan as recorded at the start; parsed once per process, and not at all by the one that recorded it."""
    key = digest, json.dumps(document, sort_keys=True)
    plan = _PLANS.get(key) or Plan.model_validate(with_new_names(document))
    _keep(key, plan)
    return plan


def _keep(key: tuple[str, str], plan: Plan) -> None:
    with _plans_lock:
        _PLANS[key] = plan
        _PLANS.move_to_end(key)
        if len(_PLANS) > _MOST_PLANS:
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
        paused_by=None if row.paused_by is None else PausedBy(row.paused_by),
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
        "paused_by": rollout.paused_by,
        "waiting_for": rollout.waiting_for,
        "wave": rollout.position.wave,
        "step": rollout.position.step,
    }


def to_target(row: Row[Any]) -> Target:
    """A target from its row."""
    values = list(_target_values(row))
    values[_STATE] = TargetState(values[_STATE])
    return Target(*values)


def from_target(rollout_id: str, target: Target) -> dict[str, Any]:
    """The columns of the row of a target that is to be driven."""
    return {
        **dict(zip(_TARGET_FIELDS, _target_values(target), strict=True)),
        "rollout_id": rollout_id,
        "baseline": dict(target.baseline),
        "split": dict(target.split),
        "state": str(target.state),
        "live": None if target.live is None else dict(target.live),
        "driven": True,
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
        **{name: getattr(write, name) for name in _WRITE_COLUMNS},
        "kind": str(write.kind),
        "outcome": None if write.outcome is None else str(write.outcome),
    }
