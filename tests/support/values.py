"""Plans, targets, writes and rollouts for tests of the core, with what does not matter filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.gates.verdict import Alarm, GateOutcome, GateVerdict
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Kind, Position, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.protocol import body_of, lists_at
from tests.support.clock import START

AGENT = "agent_frontdesk"
ONE, TWO, THREE = "+14157774444", "+14157774445", "+14157774446"
FIELD = "inbound_agents"
HORIZON = timedelta(seconds=200)


def entry(version: int | str, weight: float = 1, agent: str = AGENT) -> dict[str, Any]:
    """One entry of a Retell list."""
    return {"agent_id": agent, "agent_version": version, "weight": weight}


def only(version: int | str = 6, field: str = FIELD) -> dict[str, Any]:
    """Lists in which one version serves everything."""
    return {field: [entry(version)]}


def plan(numbers: Sequence[str] = (ONE,), **changes: Any) -> Plan:
    """Version 7 in three steps (0.1 for 30 min, 0.5 for 2 h, 1.0 for 1 d) without gates."""
    document: dict[str, Any] = {
        "version": 1,
        "name": "frontdesk-v7",
        "numbers": list(numbers),
        "channels": ["inbound"],
        "canary": {"agent_id": AGENT, "agent_version": 7},
        "steps": [{"weight": 0.1, "hold": "30m"}, {"weight": 0.5, "hold": "2h"}, {"weight": 1.0, "hold": "1d"}],
        "gates": [],
        **changes,
    }
    return Plan.model_validate({k: v for k, v in document.items() if v is not None})


def target(number: str = ONE, **changes: Any) -> Target:
    """A number that shows its baseline, version 6, and was never written."""
    values: dict[str, Any] = {
        "number": number,
        "ord": 0,
        "wave": 1,
        "baseline": only(6),
        "split": only(6),
        "step": 0,
        "modified": 1_000,
        "others": "digest",
    }
    return Target(**{**values, **changes})


def confirmed(number: str = ONE, step: int = 1, of: Plan | None = None, **changes: Any) -> Target:
    """A number that shows the split of a step, as read back; step -1: the first one, to be written over."""
    split = lists_at(of or plan(), only(6), max(step, 1))
    values = {"split": split, "step": step, "state": TargetState.CONFIRMED, "written": True}
    return target(number, **{**values, **changes})


def write(
    number: str = ONE,
    step: int = 1,
    *,
    id: str = "w1",  # noqa: A002 - the field's name
    at: datetime = START,
    lists: Mapping[str, Any] | None = None,
    of: Plan | None = None,
    **changes: Any,
) -> Write:
    """A forward write of a step (0: of the baseline) whose outcome is not known yet."""
    wanted = lists if lists is not None else lists_at(of or plan(), only(6), step)
    values: dict[str, Any] = {
        "id": id,
        "number": number,
        "kind": Kind.FORWARD if step else Kind.BASELINE,
        "wave": 1,
        "step": step,
        "epoch": 1,
        "lists": dict(wanted),
        "body": body_of(wanted),
        "intent_at": at,
        "horizon_until": at + HORIZON,
        "rollout_id": "r1",
    }
    return Write(**{**values, **changes})


def applied(of: Write, until: datetime) -> Write:
    """The same write, known to have been applied, with its horizon closing at `until`."""
    values = {name: getattr(of, name) for name in Write.__dataclass_fields__}
    return Write(**{**values, "outcome": WriteOutcome.APPLIED, "horizon_until": until})


def rollout(**changes: Any) -> Rollout:
    """A rollout that progresses at 1.1 with one number, nothing written yet."""
    values: dict[str, Any] = {
        "id": "r1",
        "name": "frontdesk-v7",
        "plan": plan(),
        "phase": Phase.PROGRESSING,
        "reason": None,
        "position": Position(1, 1),
        "epoch": 1,
        "created_at": START,
        "updated_at": START,
        "started_at": START,
        "due_at": START,
        "targets": (target(),),
        "why": "",
    }
    return Rollout(**{**values, **changes})


def created(**changes: Any) -> tuple[Rollout, JournalEntry]:
    """What a store's create takes: a pending rollout and its first journal entry."""
    values = {"phase": Phase.PENDING, "started_at": None, **changes}
    return rollout(**values), JournalEntry("created", "cli:test", "a test")


@dataclass(frozen=True)
class Shown:
    """One number as Retell showed it."""

    lists: Mapping[str, Any]
    modified: int = 1_000
    others: str = "digest"


def said(outcome: str, reason: str = "because of the calls", alarm: str | None = None) -> GateVerdict:
    """What the gates say, without the evidence."""
    return GateVerdict(GateOutcome(outcome), None if alarm is None else Alarm(alarm), reason)
