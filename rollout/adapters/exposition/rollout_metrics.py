"""The metrics of each rollout: some move when something is recorded of it, some with the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from rollout.adapters.exposition.families import gauge, since
from rollout.adapters.store.observations import CallsUnreadable
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.splits import splits

ROLLOUT = ("rollout", "id")

_PHASE = ("rollout_phase", "1 for the phase it is in.", *ROLLOUT, "phase")
_HELD = ("rollout_held", "1 while it is held and needs a person.", *ROLLOUT, "reason")
_WAVE = ("rollout_position_wave", "The wave it is in, from 1.", *ROLLOUT)
_STEP = ("rollout_position_step", "The step it is at, from 1.", *ROLLOUT)
_STEPS = ("rollout_steps", "The steps of its plan.", *ROLLOUT)
_ASKED = (
    "rollout_weight_asked",
    "The share of an arm that its position, or closing time, wants, 0..1.",
    *ROLLOUT,
    "arm",
)
_CONFIRMED = ("rollout_weight_confirmed", "The share confirmed by read-back.", *ROLLOUT, "arm")
_OBSERVED = ("rollout_weight_observed", "The mean share last seen on its numbers.", *ROLLOUT, "arm")
_SHIPPED = ("rollout_shipped", "1 for the version that is shipped; no sample: none was chosen.", *ROLLOUT, "arm")
_TARGETS = ("rollout_targets", "Its numbers by state.", *ROLLOUT, "state")
_VERDICT = ("rollout_gate_verdict", "1 for the verdict of its gates.", *ROLLOUT, "verdict")
_HARM = ("rollout_evidence_harm", "Evidence of harm (an e-value).", *ROLLOUT, "arm")
_LIMIT = ("rollout_evidence_harm_limit", "The evidence at which it is rolled back.", *ROLLOUT, "arm")
_CALLS = ("rollout_canary_calls", "Calls of the arm judged in this step.", *ROLLOUT, "arm")
_WRITES = ("rollout_writes", "Its writes by kind and outcome.", *ROLLOUT, "kind", "outcome")
_IN_STEP = ("rollout_step_seconds", "Since its step was confirmed.", *ROLLOUT)
_LATE = ("rollout_late_seconds", "Time since it became due without a pass.", *ROLLOUT)
_UNDONE = ("rollout_rollback_pending_seconds", "Time since a rollback was ordered that is not read back yet.", *ROLLOUT)
_BLIND = (
    "rollout_calls_unreadable_seconds",
    "Time since when its calls cannot be read from Retell; no sample while they can.",
    *ROLLOUT,
    "why",
)
_WAITING = (
    "rollout_waiting",
    "1 for what it waits for; no sample while it waits for nothing.",
    *ROLLOUT,
    "waiting_for",
)
EACH = (
    _PHASE,
    _HELD,
    _WAVE,
    _STEP,
    _STEPS,
    _ASKED,
    _CONFIRMED,
    _OBSERVED,
    _SHIPPED,
    _TARGETS,
    _VERDICT,
    _HARM,
    _LIMIT,
    _CALLS,
    _IN_STEP,
    _LATE,
    _WAITING,
    _UNDONE,
    _BLIND,
    _WRITES,
)


def of_each(r: Rollout, writes: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    """The families of one rollout until something is recorded of it; fewer of one that has ended."""
    own = (r.name, r.id)
    yield family(_PHASE, {(*own, str(each)): r.phase is each for each in Phase})
    for kind, shares in ((_ASKED, _asked(r)), (_CONFIRMED, _confirmed(r)), (_OBSERVED, _observed(r))):
        yield family(kind, {(*own, arm): share for arm, share in shares.items()})
    if r.shipped is not None and r.phase is not Phase.ROLLED_BACK:
        yield family(_SHIPPED, {(*own, r.shipped): 1})
    states = Counter(t.state for t in r.targets)
    yield family(_TARGETS, {(*own, str(s)): states[s] for s in TargetState if r.phase.is_live or states[s]})
    yield family(_WRITES, {(*own, *of): count for of, count in sorted(writes.items())})
    if r.phase.is_live:
        yield from _of_position(r)
        yield from _of_gates(r)


def _of_position(r: Rollout) -> Iterator[Metric]:
    own = (r.name, r.id)
    if r.phase is Phase.HELD:
        reason = r.reason if r.reason in set(HeldReason) else "failure"
        yield family(_HELD, {(*own, str(reason)): 1})
    yield family(_WAVE, {own: r.position.wave})
    yield family(_STEP, {own: r.position.step})
    yield family(_STEPS, {own: r.plan.last_step})


def _of_gates(r: Rollout) -> Iterator[Metric]:
    own = (r.name, r.id)
    if r.verdict is not None:
        yield family(_VERDICT, {(*own, word): r.verdict.outcome == word for word in GateOutcome})
    judged = {} if r.verdict is None else {(*own, name): arm.evidence for name, arm in r.verdict.arms.items()}
    yield family(_HARM, {of: e.figures.e_gate for of, e in judged.items()})
    yield family(_LIMIT, {of: 1 / e.config.alpha for of, e in judged.items()})
    yield family(_CALLS, {of: e.figures.canary_calls for of, e in judged.items()})


def of_time(live: Sequence[Rollout], now: datetime, unreadable: Mapping[str, CallsUnreadable]) -> Iterator[Metric]:
    """Metrics that move with the clock."""
    yield family(_IN_STEP, {(r.name, r.id): since(now, r.confirmed_at) for r in live if r.confirmed_at is not None})
    yield family(_LATE, {(r.name, r.id): since(now, r.due_at) for r in live})
    yield family(_WAITING, {(r.name, r.id, str(r.waiting_for)): 1 for r in live if r.waiting_for is not None})
    undone = (r for r in live if r.phase is Phase.ROLLING_BACK and r.restored_at is None)
    blind = ((r, unreadable[r.id]) for r in live if r.id in unreadable)
    yield family(_BLIND, {(r.name, r.id, found.why[:200]): since(now, found.since) for r, found in blind})
    yield family(_UNDONE, {(r.name, r.id): since(now, r.rollback_at) for r in undone})


def family(kind: Sequence[str], samples: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    """A metric of rollouts with its samples, by the values of its labels."""
    name, text, *labels = kind
    found = gauge(name, text, *labels)
    for values, value in samples.items():
        found.add_metric(list(values), value)
    return found


def _arms(r: Rollout, step: int) -> dict[str, float]:
    weights = r.weights_at(step) if step > 0 else {}
    return {arm: weights.get(arm, 0) / splits.TOTAL for arm in r.plan.arms}


def _asked(r: Rollout) -> dict[str, float]:
    idle = r.phase in (Phase.PENDING, Phase.ROLLING_BACK, Phase.ROLLED_BACK) or r.started_at is None
    asked = _arms(r, 0 if idle else r.step)
    low = 1.0 if r.retreated is None else r.retreated / splits.TOTAL
    return {arm: min(share, low) for arm, share in asked.items()}


def _confirmed(r: Rollout) -> dict[str, float]:
    weights = {} if r.phase is Phase.ROLLED_BACK else r.weights
    return {arm: weights.get(arm, 0) / splits.TOTAL for arm in r.plan.arms}


def _observed(r: Rollout) -> dict[str, float]:
    """Mean share per arm over the numbers of the waves reached; empty while none was seen."""
    lists = [
        entries for t in r.targets if t.wave <= r.position.wave and t.live for entries in t.live.values() if entries
    ]
    if not lists:
        return {}
    return {arm: sum(_share(e, ref.pair) for e in lists) / len(lists) for arm, ref in r.plan.arms.items()}


def _share(entries: list[dict[str, Any]], pair: tuple[str, int]) -> float:
    ours = (e for e in entries if (e.get("agent_id"), splits.normal_version(e.get("agent_version"))) == pair)
    return sum(float(e.get("weight") or 0) for e in ours)
