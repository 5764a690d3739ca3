"""The JSON of a rollout that people are shown; the command line, the API and the page read the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rollout.domain.calendar.durations import render
from rollout.domain.gates.summary import summarise
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from rollout.interfaces.views import agent_tests, gates

if TYPE_CHECKING:
    from rollout.adapters.store.journal import RecordedEntry
    from rollout.adapters.store.observations import CallsUnreadable
    from rollout.engine.preflight import Preflight


def when(moment: datetime | None) -> str | None:
    """A moment in UTC, as ISO 8601 with a Z; None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def summary(r: Rollout) -> dict[str, Any]:
    """A rollout without its targets: what lists show."""
    confirmed = r.confirmed_at is not None
    before = r.position.step - 1 if r.hand is None else r.position.step  # a person's split follows the step's own
    step = r.step if confirmed else before
    return {
        "id": r.id,
        "name": r.name,
        "phase": str(r.phase),
        "reason": r.reason,
        "position": {"wave": r.position.wave, "step": r.position.step},
        "steps": r.plan.last_step,
        "agents": [{"agent_id": a.agent_id, "agent_version": a.agent_version} for a in r.plan.arms.values()],
        "weight": _weight(r, step),
        "retreated": retreated(r),
        "due_at": when(r.due_at),
        "next": r.next,
        "why": r.why,
        "waiting_for": None if r.waiting_for is None else str(r.waiting_for),
        "created_at": when(r.created_at),
        "updated_at": when(r.updated_at),
    }


def show(r: Rollout) -> dict[str, Any]:
    """One rollout whole."""
    weights, found = r.weights, summarise(r)
    document = summary(r)
    document |= {
        "weight": sum(weights.values()) / splits.TOTAL,
        "weights": {name: points / splits.TOTAL for name, points in weights.items()},
        "waves": r.waves,
        "by_hand": None if r.hand is None else {n: points / splits.TOTAL for n, points in r.hand.weights.items()},
        "shipped": r.shipped,
        "decides_at": when(r.decides_at),
        "plan": plan_document(r.plan),
        "channels": [str(c) for c in r.plan.channels],
        "confirmed_at": when(r.confirmed_at),
        "start_at": when(r.start_at),
        "started_at": when(r.started_at),
        "deadline_at": when(r.deadline_at),
        "rollback_at": when(r.rollback_at),
        "restored_at": when(r.restored_at),
        "watch_until": when(r.watch_until),
        "created_by": r.created_by,
        "epoch": r.epoch,
        "unsettled": len(r.unresolved),
        "verdict": gates.verdict(found),
        "gates": gates.arms(found),
        "comparison": gates.comparison(found),
        "gates_text": gates.lines(found),
        "tests": tests(r),
        "targets": [target(r, t) for t in r.targets],
    }
    return document


def tests(r: Rollout) -> dict[str, Any] | None:
    """The tests of its agent; None: there are none, or its pre-flight is still to come."""
    return None if r.tests is None else agent_tests.document(r.tests)


def unreadable(found: CallsUnreadable | None) -> dict[str, Any] | None:
    """Since when calls cannot be read, and why; None: they can."""
    return None if found is None else {"since": when(found.since), "why": found.why}


def target(r: Rollout, t: Target) -> dict[str, Any]:
    """One number of a rollout: what it was, what we confirmed, what was last seen."""
    return {
        "number": t.number,
        "wave": t.wave,
        "step": r.plan_step(max(t.step, 0)),
        "channels": [str(c) for c in r.plan.channels],
        "baseline": dict(t.baseline),
        "confirmed": dict(t.split),
        "live": None if t.live is None and t.live_at is None else dict(t.live or {}),
        "live_at": when(t.live_at),
        "state": str(t.state),
    }


def _weight(r: Rollout, step: int) -> float:
    if r.phase in (Phase.ROLLED_BACK, Phase.PENDING) or step < 1:
        return 0.0
    weight = sum(r.weights_at(step).values())
    return (min(weight, r.plan.retreat or 0) if r.is_down else weight) / splits.TOTAL


def retreated(r: Rollout) -> float | None:
    """The weight that closing time asked for while it stands or is being written, 0..1; None: the position's."""
    undone = r.phase in (Phase.PENDING, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    return None if r.retreated is None or undone else r.retreated / splits.TOTAL


def entry(e: RecordedEntry) -> dict[str, Any]:
    """One journal entry; `data` without the change of the tables, which is for rebuilding."""
    return {
        "rollout_id": e.rollout_id,
        "seq": e.seq,
        "at": when(e.at),
        "actor": e.actor,
        "kind": e.kind,
        "reason": e.reason,
        "data": {k: v for k, v in e.data.items() if k not in ("change", "rollout", "targets")},
        "hash": e.hash,
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON, without the addresses of its notices: they may carry a password."""
    document = plan.canonical()
    if document.get("notify"):
        document["notify"] = [{**notice, "url": "***"} for notice in document["notify"]]
    return document


def steps(plan: Plan) -> list[dict[str, Any]]:
    """The plan's steps in words."""
    return [
        {
            "step": i,
            "weights": {name: points / splits.TOTAL for name, points in plan.weights(i).items()},
            "hold": render(plan.hold(i).duration) + (" of open hours" if plan.hold(i).open else ""),
            "min_calls": step.min_calls,
            "approve": step.approve,
        }
        for i, step in enumerate(plan.steps, 1)
    ]


def check(found: Preflight) -> dict[str, Any]:
    """The findings of pre-flight: problems, warnings, and the exact PATCH bodies of every number."""
    clean = not found.problems
    bodies: dict[tuple[str, ...], list[str]] = {}
    if clean:
        for t in found.targets:
            bodies.setdefault(tuple(found.bodies(t.number)), []).append(t.number)
    return {
        "name": found.plan.name,
        "ok": clean,
        "problems": list(found.problems),
        "warnings": list(found.warnings),
        "numbers": [
            {
                "number": t.number,
                "wave": t.wave,
                "nickname": found.readings[t.number].nickname,
                "serves": {field: splits.describe(entries) for field, entries in t.baseline.items()},
            }
            for t in found.targets
        ],
        "differences": [item.to_json() for item in found.differences],
        "tests": agent_tests.document(found.tests) if clean and found.tests is not None else None,
        "steps": steps(found.plan),
        "requests": [
            {
                "numbers": numbers,
                "method": "PATCH",
                "path": "/update-phone-number/{number}",
                "steps": list(texts[:-1]),
                "rollback": texts[-1],
                "retreat": found.retreat_body(numbers[0]),
            }
            for texts, numbers in bodies.items()
        ],
    }
