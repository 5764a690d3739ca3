"""The rules for rollouts that are paused or held, and for ended ones while a late write may still land."""

from __future__ import annotations

from datetime import datetime

from rollout.domain.decide.actions import Action, Apply, Read, Record, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.failures import fail, moved_tags, wrong_numbers
from rollout.domain.decide.steps import read_back
from rollout.domain.decide.timing import await_outcomes, next_check, retry_pause
from rollout.domain.decide.wording import percent
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import Event, HeldReason, PausedBy, Phase
from rollout.domain.lifecycle.state import Rollout, Target, TargetState
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.phone_numbers import numbers_text
from rollout.domain.versions import tags


def paused_or_held(r: Rollout, f: Facts, now: datetime) -> Action:
    """The action while paused or held: nothing is written, but drift and gates still count."""
    if f.scan is not None:
        wrong = wrong_numbers(r, f.scan)
        if wrong is not None and (wrong.event is not Event.HELD or r.phase is Phase.PAUSED):
            return wrong
    if r.phase is Phase.PAUSED and not r.stop_asked and (moved := moved_tags(r, f)) is not None:
        return moved
    if (unknown := await_outcomes(r, f, now, _answer(r), "a write may still land")) is not None:
        return unknown
    if r.stop_asked:
        still = r.open_writes(now)
        if still:
            return Wait(max(w.horizon_until for w in still), "stopped", "a write may still land", WaitingFor.HORIZON)
        return Record(Event.ENDED, r.reason or "stopped by a person", {"stop_asked": False})
    if r.look_asked and f.scan is None and f.trouble is None and r.targets:
        return Read(tuple(t.number for t in r.targets), "the scan saw a difference")
    impossible = r.phase is Phase.HELD and r.reason == HeldReason.ROLLBACK_IMPOSSIBLE
    said = f.verdict
    if said is not None and said.outcome is GateOutcome.FAIL and not r.waived and not impossible and r.written:
        failed = fail(r, said.reason, now)
        if failed.event is Event.FAILED:
            return failed
    reached = r.phase is Phase.PAUSED and r.targets and not r.outstanding
    if reached and (back := read_back(r, now)) is not None:
        return back
    again = now + retry_pause(r, f) if r.look_asked and f.trouble is not None else None
    return Wait(next_check(again, now, f), _answer(r), _why(r), WaitingFor.PERSON)


def _answer(r: Rollout) -> str:
    if r.phase is Phase.PAUSED:
        match r.paused_by:
            case PausedBy.DECISION:
                return "ship, resume, rollback or stop"
            case PausedBy.FAILURE:
                return "resume, rollback or stop"
        return "resume"
    return "adopt, rollback or stop" if tags.moved(r.tags) else "adopt, restore, rollback or stop"


def _why(r: Rollout) -> str:
    if r.phase is Phase.PAUSED and r.paused_by not in (PausedBy.FAILURE, PausedBy.DECISION):
        low = f"; it stays at the retreat weight, {percent(r.plan.retreat or 0)}" if r.is_down else ""
        if r.paused_by is PausedBy.ALERT:
            return f"paused by {r.reason or 'an alert'}{low}{_left_to_restore(r)}"
        who = f"paused by a person{': ' + r.reason if r.reason else ''}"  # or None: by an earlier version
        return f"{who}{low}{_left_to_restore(r)}"
    if r.phase is Phase.PAUSED:
        return f"{r.reason or 'paused by the plan'}{_left_to_restore(r)}"
    return r.why or f"held: {r.reason}"


def _left_to_restore(r: Rollout) -> str:
    """The end of a sentence about a pause: the numbers whose split `restore` will write, since nothing is written now."""
    left = [t.number for t in r.outstanding if t.step < 0]
    if not left:
        return ""
    return f"; resume writes the split of {numbers_text(left)} again"


def ended(r: Rollout, f: Facts, now: datetime) -> Action:
    """The action after the end: none, unless a write of ours lands late."""
    late = _late(r)
    open_on = {w.number for w in r.open_writes(now)}
    ready = tuple(t for t in late if t.number not in open_on)
    if ready and f.trouble is None:
        return Apply(ready, "an earlier write took effect after the end: write the last step again")
    if (r.unresolved or r.look_asked) and f.scan is None and f.trouble is None:
        watched = dict.fromkeys([*(t.number for t in r.owned_targets), *(w.number for w in r.unresolved)])
        if watched:
            return Read(tuple(watched), "watch after the end")
    if r.phase is Phase.ROLLED_BACK:
        # By what is recorded, not by this pass's scan: the process that saw it may have died before recording it.
        back = [t.number for t in r.written if t.state is TargetState.CONFIRMED]
        if back:
            return Record(Event.REOPENED, f"an earlier write took effect late on {numbers_text(back)}")
    if r.unresolved or late or (r.look_asked and f.trouble is not None):
        why = f.trouble or "a write may still land"
        return Wait(now + max(f.poll, retry_pause(r, f)), "", why, f.held_up_by(WaitingFor.HORIZON))
    return Wait(None, "", r.why)


def _late(r: Rollout) -> tuple[Target, ...]:
    """The numbers of a promoted rollout that show an earlier split of ours, without those that cannot be written."""
    if r.phase is not Phase.PROMOTED:
        return ()
    return tuple(t for t in r.outstanding if t.step == -1 and t.state is TargetState.CONFIRMED)
