"""The rules before the first step."""

from __future__ import annotations

from datetime import datetime

from rollout.domain.decide.actions import Action, Begin, Record, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.testing import testing
from rollout.domain.decide.timing import next_opening_check, retry_pause
from rollout.domain.lifecycle.columns import RolloutColumns
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.splits.splits import weights_text


def pending(r: Rollout, f: Facts, now: datetime) -> Action:
    """Wait for its moment, then the pre-flight, the tests of the agent, and the first step."""
    first = "check the numbers and begin" if not r.targets else f"step 1.1: {weights_text(r.weights_at(1))}"
    if r.start_at is not None and now < r.start_at:
        return Wait(r.start_at, first, "waiting for its start", WaitingFor.START)
    if r.plan.after is not None and not f.after_promoted:
        return Wait(now + f.watch, first, f"waiting for {r.plan.after} to be promoted", WaitingFor.START)
    tested = r.tests is not None and r.tests.began_at is not None  # they continue while it is closed
    if (f.opening.is_open or tested) and (tests := testing(r, f, now, first)) is not None:
        return tests
    if not f.opening.is_open:
        return Wait(next_opening_check(r, f, now), first, f.opening.why, WaitingFor.OPENING)
    if f.trouble is not None:
        return Wait(now + retry_pause(r, f), first, f.trouble, f.held_up_by())
    if not r.targets:
        return Begin("it is due")
    values: RolloutColumns = {"started_at": now, "confirmed_at": None}
    if r.plan.deadline is not None:
        values["deadline_at"] = now + r.plan.deadline
    return Record(Event.BEGUN, "pre-flight passed", values)
