"""The rules while the steps run: faults, then unfinished writes, then waiting, then the next step."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.domain.calendar.durations import render
from rollout.domain.decide.ab_test_end import end_ab_test
from rollout.domain.decide.actions import Action, Apply, Read, Record, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.failures import what_is_wrong
from rollout.domain.decide.timing import (
    await_outcomes,
    await_unreadable,
    next_check,
    next_opening_check,
    read_all_first,
    retry_pause,
)
from rollout.domain.decide.wording import counted, percent, reached_count, wanted_text
from rollout.domain.gates.verdict import Alarm, GateOutcome
from rollout.domain.lifecycle.columns import RolloutColumns, emptied
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.splits.splits import weights_text

_NOT_DECIDED = frozenset({GateOutcome.UNDECIDED, GateOutcome.UNMEASURABLE})


def progressing(r: Rollout, f: Facts, now: datetime) -> Action:
    """The action of the first rule that has one."""
    return (
        what_is_wrong(r, f, now)
        or _what_is_unfinished(r, f, now)
        or end_ab_test(r, f, now)
        or _what_to_wait_for(r, f, now)
        or _next_step(r, f, now)
    )


def _what_is_unfinished(r: Rollout, f: Facts, now: datetime) -> Action | None:
    why = "a write may still land; nothing is sent"
    if (unknown := await_outcomes(r, f, now, "find out what the write did", why)) is not None:
        return unknown
    if r.look_asked and f.scan is None and f.trouble is None:
        return Read(tuple(t.number for t in r.targets), "the scan saw a difference")
    if r.look_asked and f.scan is not None and (blind := await_unreadable(r, f, f.scan, now, "look again")) is not None:
        return blind  # an older time stamp may hide an edit
    if (turn := _turn(r, f, now)) is not None:
        return turn
    if not r.outstanding:
        return read_back(r, now)
    waiting = {w.number for w in r.open_writes(now)}
    ready = tuple(t for t in r.outstanding if t.number not in waiting)
    next_ = f"{wanted_text(r)}: {weights_text(r.weights_at(r.step))}"
    if r.retreated is not None:
        next_ = f"retreat to {percent(r.retreated)}"
    elif r.is_down:
        next_ = f"{next_}, again"
    if f.trouble is not None:
        return Wait(now + retry_pause(r, f), next_, f.trouble, f.held_up_by())
    if not ready:
        over = min(w.horizon_until for w in r.open_writes(now))
        why = "a write may still land; nothing is sent until its horizon has passed"
        return Wait(over, next_, why, WaitingFor.HORIZON)
    return Apply(ready, next_)


def _turn(r: Rollout, f: Facts, now: datetime) -> Record | None:
    """The retreat at closing time, if the plan has one, and the return at opening; a promotion is never undone."""
    if r.retreated is None and f.opening.retreat_to is not None and r.retreats and not r.promote_asked:
        values: RolloutColumns = {"retreated": f.opening.retreat_to, "turning_since": now}
        if (since := r.counts_since) is not None:
            stood = max(timedelta(), now - since) if f.stood is None else f.stood
            values["stood"] = (r.stood or 0) + stood.total_seconds()
        return Record(Event.RETREATED, f"retreat to {percent(f.opening.retreat_to)} {f.opening.retreat_why}", values)
    if r.retreated is not None and f.opening.is_open:
        why = f"open again: back to {weights_text(r.weights_at(r.step))}"
        return Record(Event.RETURNED, why, {"retreated": None, "turning_since": now})
    return None


def read_back(r: Rollout, now: datetime) -> Record | None:
    """Once nothing is outstanding, record that the wanted weights were read back. None: that is recorded already."""
    where = f"on {counted(reached_count(r), 'number')}, read back"
    if r.retreated is None and r.confirmed_at is None:
        values: RolloutColumns = {"confirmed_at": now, **emptied(r, "turning_since", "stood", "back_at")}
        return Record(Event.CONFIRMED, f"{weights_text(r.weights_at(r.step))} {where}", values)
    if r.turning_since is None:
        return None
    if r.retreated is not None:
        return Record(Event.REACHED, f"{percent(r.retreated)} {where}", {"turning_since": None})
    why = f"{weights_text(r.weights_at(r.step))} again {where}; its hold continues"
    return Record(Event.REACHED, why, {"turning_since": None, "back_at": now})


def _until_opening(r: Rollout, f: Facts, now: datetime) -> Wait:
    assert r.retreated is not None
    wanted = weights_text(r.weights_at(r.step))
    next_ = f"step {r.position}: {wanted}" if r.confirmed_at is None else f"back to {wanted}"
    tail = f.opening.retreat_why or f"while closed: {f.opening.why}"
    why = f"retreated to {percent(r.retreated)} {tail}"
    return Wait(next_check(next_opening_check(r, f, now), now, f), next_, why, WaitingFor.OPENING)


def _what_to_wait_for(r: Rollout, f: Facts, now: datetime) -> Wait | None:
    if r.retreated is not None:
        return _until_opening(r, f, now)
    assert r.confirmed_at is not None
    step = r.plan.steps[r.position.step - 1]
    after = r.next_position
    next_ = "promoted" if after is None else f"step {after}: {weights_text(r.weights_at(after.step))}"
    if r.promote_asked:
        return None
    left_to_a_person = after is None and r.hand is not None and r.shipped is None
    if left_to_a_person:
        next_ = "promote, ship, stop or rollback"
    until = f.hold_until or (r.back_at or r.confirmed_at) + r.hold_left
    word = "bake" if after is None else "hold"
    if now < until:
        why = f"the {word} of {render(r.plan.hold(r.position.step).duration)} is running"
        return Wait(next_check(until, now, f), next_, why, WaitingFor.HOLD)
    if step.min_calls and (f.canary_calls is None or f.canary_calls < step.min_calls):
        seen = 0 if f.canary_calls is None else f.canary_calls
        return Wait(now + f.watch, next_, f"{seen} of {step.min_calls} canary calls seen", WaitingFor.CALLS)
    if f.verdict is not None and f.verdict.outcome in _NOT_DECIDED and not r.waived:
        cause = WaitingFor.SPLIT if f.verdict.alarm is Alarm.SPLIT else WaitingFor.EVIDENCE
        return Wait(now + f.watch, next_, f.verdict.outlook, cause)
    if not f.opening.is_open:
        return Wait(next_check(next_opening_check(r, f, now), now, f), next_, f.opening.why, WaitingFor.OPENING)
    if step.approve and r.shipped is None:
        return Wait(
            next_check(None, now, f), next_, "all conditions are met; somebody must promote it", WaitingFor.APPROVAL
        )
    if left_to_a_person:
        weights = weights_text(r.weights_at(r.step))
        why = f"a person set {weights} in the last step: somebody must promote, ship, stop or roll it back"
        return Wait(next_check(None, now, f), next_, why, WaitingFor.APPROVAL)
    return None


def _next_step(r: Rollout, f: Facts, now: datetime) -> Action:
    after = r.next_position
    next_ = "promoted" if after is None else f"step {after}: {weights_text(r.weights_at(after.step))}"
    over = f"step {r.position} was promoted" if r.promote_asked else f"the hold of step {r.position} is over"
    if after is not None and f.stepped:
        return Wait(now, next_, over)  # at most one step per pass: the next one has a pass of its own
    if (first := read_all_first(r, f, now, next_)) is not None:
        return first
    if after is None:
        shipped = "" if r.shipped is None else f"{r.shipped} is shipped: "
        return Record(Event.COMPLETED, f"{shipped}the bake is over", {"reason": None})
    return Record(
        Event.ADVANCED,
        over,
        {
            "wave": after.wave,
            "step": after.step,
            "confirmed_at": None,
            "promote_asked": False,
            **emptied(r, "stood", "back_at", "hand_split"),
        },
    )
