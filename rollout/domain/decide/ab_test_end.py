"""The end of an A/B test by its plan: when the plan decides it, and what it decides from the calls."""

from __future__ import annotations

from datetime import datetime

from rollout.domain.calendar.durations import render
from rollout.domain.decide.actions import Action, Record, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.timing import next_check, next_opening_check, read_all_first
from rollout.domain.gates.shipping import BestVariant, best
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.hand_commands import shipping, shipping_columns
from rollout.domain.lifecycle.machine import Event, PausedBy
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.decide import Decide, Otherwise, Ship

_OTHERWISE = {Otherwise.ROLLBACK: "roll back", Otherwise.PAUSE: "pause", Otherwise.KEEP: "continue the test"}


def end_ab_test(r: Rollout, f: Facts, now: datetime) -> Action | None:
    """The action that ends the A/B test, or the wait for it.

    None: the plan decides nothing, its last step is not confirmed yet, or the test has been ended already.
    """
    decide, due = r.plan.decide, r.decides_at
    if decide is None or due is None or r.promote_asked:
        return None
    if f.hold_until is not None:
        due = max(due, f.hold_until)
    next_ = _next(decide)
    if now < due:
        why = f"the A/B test runs; the plan decides it after {render(decide.after)}"
        return Wait(next_check(due, now, f), next_, why, WaitingFor.DECISION)
    if (wait := _calls(decide, f, now, next_)) is not None:
        return wait
    found = best(f.verdict) if decide.ship is Ship.BEST else BestVariant(None, "the plan ships no version")
    if found.name is None:
        return _nothing(decide, now, _why(decide, found))
    if f.stepped:
        return Wait(now, next_, _why(decide, found))  # at most one step per pass
    if not f.opening.is_open:
        return Wait(
            next_check(next_opening_check(r, f, now), now, f), f"ship {found.name}", f.opening.why, WaitingFor.OPENING
        )
    if (first := read_all_first(r, f, now, f"ship {found.name}")) is not None:
        return first
    return Record(Event.SHIPPED, _why(decide, found), shipping_columns(r, shipping(r, found.name), now))


def _next(decide: Decide) -> str:
    otherwise = _OTHERWISE[decide.otherwise]
    return otherwise if decide.ship is Ship.NONE else f"ship the best variant, or {otherwise}"


def _why(decide: Decide, found: BestVariant) -> str:
    what = "nothing is shipped" if found.name is None else f"{found.name} is shipped"
    return f"decided by the plan after {render(decide.after)}: {what}: {found.why}"


def _calls(decide: Decide, f: Facts, now: datetime, next_: str) -> Wait | None:
    """Wait while the variants have too few calls, or the calls cannot be judged: missing data decides nothing."""
    if not decide.min_calls and decide.ship is Ship.NONE:
        return None
    arms = {} if f.verdict is None else f.verdict.arms
    if not arms or any(arm.outcome is GateOutcome.UNMEASURABLE for arm in arms.values()):
        why = "no calls have been judged yet" if f.verdict is None else f.verdict.outlook
        return Wait(now + f.watch, next_, why, WaitingFor.EVIDENCE)
    seen = {name: arm.evidence.figures.canary_calls for name, arm in arms.items()}
    if min(seen.values()) < decide.min_calls:
        counted = ", ".join(f"{n} of {name}" for name, n in seen.items())
        why = f"{decide.min_calls} calls with a result are needed of every variant in this step: {counted} so far"
        return Wait(now + f.watch, next_, why, WaitingFor.CALLS)
    return None


def _nothing(decide: Decide, now: datetime, why: str) -> Record:
    match decide.otherwise:
        case Otherwise.ROLLBACK:
            return Record(Event.FAILED, why, {"reason": why, "rollback_at": now})
        case Otherwise.PAUSE:
            return Record(Event.DECISION_PAUSED, why, {"reason": why, "paused_by": PausedBy.DECISION})
        case Otherwise.KEEP:
            return Record(Event.DECISION_KEPT, f"{why}; the test continues", {"back_at": now})
