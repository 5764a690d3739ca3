"""decide(rollout, facts, now): the one next thing to do with a rollout, and why.

Pure. The driver fetches facts, calls this, carries out the action and calls again until the action is to wait. The rules
are in the order of their precedence: rollback first, then faults, then unfinished writes, then waiting, then the next
step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rollout.domain.decide.actions import Action, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.pending import pending
from rollout.domain.decide.resting import ended, paused_or_held
from rollout.domain.decide.rollback import rolling_back
from rollout.domain.decide.steps import progressing
from rollout.domain.decide.timing import next_opening_check
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout


def decide(rollout: Rollout, facts: Facts, now: datetime) -> Action:
    """Exactly one action with a one-line reason."""
    match rollout.phase:
        case Phase.ROLLING_BACK:
            return rolling_back(rollout, facts, now)
        case Phase.PENDING:
            return pending(rollout, facts, now)
        case Phase.PROGRESSING:
            return _by_calendar(rollout, facts, now, _by_deadline(rollout, progressing(rollout, facts, now)))
        case Phase.PAUSED | Phase.HELD:
            return paused_or_held(rollout, facts, now)
        case Phase.PROMOTED | Phase.ROLLED_BACK | Phase.STOPPED:
            return ended(rollout, facts, now)


def _by_deadline(r: Rollout, action: Action) -> Action:
    """The action; a wait ends at the plan's deadline at the latest."""
    if not isinstance(action, Wait) or r.deadline_at is None:
        return action
    until = r.deadline_at if action.until is None else min(action.until, r.deadline_at)
    return replace(action, until=until)


def _by_calendar(r: Rollout, f: Facts, now: datetime, action: Action) -> Action:
    """The action; if the plan retreats, a wait ends when its calendar closes or opens at the latest."""
    if not isinstance(action, Wait) or r.plan.retreat is None:
        return action
    turn = next_opening_check(r, f, now)
    return replace(action, until=turn if action.until is None else min(action.until, turn))
