"""A plan that retreats to a lower weight while it is closed: its numbers, rollouts and openings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rollout.domain.decide.facts import Opening
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.state import Position, Rollout, Target
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.drift import NumberScan
from rollout.domain.writes.protocol import Finding, lists_at
from tests.support.clock import START
from tests.support.values import ONE, TWO, confirmed, only, plan, rollout, target

HOUR = timedelta(hours=1)
HOURS: dict[str, Any] = {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}
LOW = plan([ONE, TWO], closing={"retreat": 0.2}, waves=[1], **HOURS)  # below its first step's 0.1 nothing happens
NIGHT = Opening(False, START + 16 * HOUR, "closed", 2000, "until Tue 09:00 (outside the plan's hours)")
SHUT = Opening(False, START + 16 * HOUR, "closed")  # closed, and a person or a broken calendar keeps the weight
DAY = Opening(True, START + HOUR)
SEEN = NumberScan(START, {ONE: Finding.AS_EXPECTED}, Change())


def low(number: str = ONE, step: int = 2, **changes: Any) -> Target:
    """A number at the retreat weight."""
    split = lists_at(LOW, only(6), step, 2000)
    return confirmed(number, step, LOW, split=split, retreated=2000, **changes)


def at(step: int, number: str = ONE, **changes: Any) -> Target:
    return confirmed(number, step, LOW, **changes) if step else target(number, **changes)


def standing(step: int = 2, **changes: Any) -> Rollout:
    """A rollout of LOW at 1.step, confirmed three hours ago."""
    values: dict[str, Any] = {
        "plan": LOW,
        "position": Position(1, step),
        "confirmed_at": START - 3 * HOUR,
        "targets": (at(step),),
        "started_at": START - 9 * HOUR,
        **changes,
    }
    return rollout(**values)


def down(**changes: Any) -> Rollout:
    """It retreated after two of its hours."""
    return standing(**{"retreated": 2000, "stood": 7200.0, "targets": (low(),), **changes})


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


TUESDAY = when("2026-06-02 10:00")
OFFICE = Calendar.model_validate(HOURS)


def one_wave() -> Plan:
    return plan(closing={"retreat": 0.2}, **HOURS)
