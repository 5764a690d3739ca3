"""States of affairs on which decide is asked, with what does not matter filled in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rollout.domain.decide.actions import Action, Record, Wait
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState, Write
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import ONE, TWO, confirmed, plan, rollout, said, target, write

SECOND = timedelta(seconds=1)
HOLD = timedelta(minutes=30)
POLL, WATCH = timedelta(seconds=5), timedelta(seconds=30)
FAIL = said("fail", "the canary is worse")
UNDECIDED = said("undecided", "not decided yet")
UNMEASURABLE = said("unmeasurable", "no calls can be read")
PASS = said("pass", "proven")
SPLIT = said("pass", "the calls do not follow the weights", "split")
CLOSED = Opening(False, START + timedelta(hours=9), "closed until nine")


def scan(*findings: Finding | Blocked, began: datetime = START) -> NumberScan:
    """A scan of ONE, TWO, ... with these findings."""
    return NumberScan(began, dict(zip((ONE, TWO), findings, strict=False)), Change())


SEEN = Facts(scan=scan(Finding.AS_EXPECTED))
BOTH_SEEN = Facts(scan=scan(Finding.AS_EXPECTED, Finding.AS_EXPECTED))


def standing(step: int = 1, ago: timedelta = timedelta(), **changes: Any) -> Rollout:
    """A rollout whose step was confirmed this long ago."""
    values: dict[str, Any] = {
        "position": Position(1, step),
        "confirmed_at": START - ago,
        "targets": (confirmed(step=step),),
        **changes,
    }
    return rollout(**values)


def restored(number: str = ONE, **changes: Any) -> Target:
    return target(number, **{"state": TargetState.RESTORED, "written": True, **changes})


def back(**changes: Any) -> Rollout:
    """A rollback that was ordered now, its number still at the first step."""
    values: dict[str, Any] = {
        "phase": Phase.ROLLING_BACK,
        "rollback_at": START,
        "targets": (confirmed(),),
        "confirmed_at": START,
        **changes,
    }
    return rollout(**values)


def wait_of(action: Action) -> Wait:
    assert isinstance(action, Wait), action
    return action


def record_of(action: Action) -> Record:
    assert isinstance(action, Record), action
    return action


PENDING: dict[str, Any] = {"phase": Phase.PENDING, "started_at": None}
READY = standing(ago=HOLD)
STRICT = plan(steps=[{"weight": 0.1, "hold": "30m", "min_calls": 50, "approve": True}, {"weight": 1.0}])
OPEN: Write = write(step=2)
PAUSED: dict[str, Any] = {"phase": Phase.PAUSED}
HELD: dict[str, Any] = {"phase": Phase.HELD, "reason": "drift"}
