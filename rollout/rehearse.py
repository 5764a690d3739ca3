"""Plays a plan against modelled callers before anybody is called: what it can decide, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from rollout.calendars import Calendars
from rollout.domain.errors import InputError, NotReachable
from rollout.domain.plan import Plan
from rollout.domain.playing_hours import hours
from rollout.domain.timetable_words import hours_text, moment_text
from rollout.gatekeeper import config_of
from rollout.ports import Calls, Failure
from rollout.preflight import Preflight

USUAL_CALLS_PER_DAY = 200.0
HISTORY = timedelta(days=7)
MOST_NUMBERS = 25


def rehearse(
    plan: Plan,
    calls_per_day: float,
    *,
    calendars: Calendars,
    now: datetime,
    canary: Mapping[str, float] | None = None,
    runs: int = 1000,
) -> dict[str, Any]:
    """{"line", "notes", "scenarios": [...], "calls_per_day", "runs", "rates", "begins"}; the gate is the real one.

    `canary` are rates by metric as people say them ("success": 0.75 is the share of successful calls). Days count
    from `begins`: the plan's start, or `now`, or when its hours open next. InputError for a calendar that cannot
    be used, or that never opens.
    """
    from rollout.domain.playing import DAY, PlayStep
    from rollout.domain.profiles import GateConfig
    from rollout.domain.rehearsal import DEADLINE
    from rollout.domain.rehearsal import rehearse as play

    if not 0 < calls_per_day <= 10_000_000:
        raise InputError("--calls-per-day: write a number above 0")
    if not 1 <= runs <= 100_000:
        raise InputError("--runs: write a number from 1 to 100000")
    config = config_of(plan) or GateConfig(profile="none")
    arm = next(iter(plan.arms))
    steps, above = [], plan.steps_above
    for i, s in enumerate(plan.steps, 1):
        # Time at the retreat weight counts for no hold.
        opens = s.hold.open or i in above
        steps.append(PlayStep(s.points().get(arm, 0), s.hold.seconds, s.min_calls, s.approve, opens))
    bad = None if canary is None else {k: 1 - v if k == "success" else v for k, v in canary.items()}
    calendar, holidays = calendars.of(plan)
    begins, open_ = hours(calendar, holidays, max(now, plan.start or now), DEADLINE / DAY)
    if begins is None:
        raise InputError("windows: they do not open within two years; write hours in which steps may advance")
    played = play(config, steps, calls_per_day, canary=bad, runs=runs, hours=open_)
    notes = list(played.notes)
    if open_.turns:
        at = moment_text(begins, calendar.zone or "UTC", now)
        when = hours_text(calendar) if calendar.windows else "outside its holidays and freezes"
        notes.append(f"Steps advance only while the plan's calendar is open ({when}); days count from {at}.")
    if plan.retreat is not None:
        notes.append(
            "The retreat is not played: calls outside the hours are taken for calls at the step's weight."
        )
    return {**asdict(played), "notes": tuple(notes), "plan": plan.name, "begins": begins.isoformat()}


def quick_line(plan: Plan, calls_per_day: float) -> str:
    """The one-line version, by the formulas instead of by playing: milliseconds."""
    from rollout.domain import evidence as ev
    from rollout.domain.playing import PlayStep
    from rollout.domain.rehearsal import USUAL_RATES, expected_calls

    config = config_of(plan)
    if config is None:
        return "no gates: every step is taken when its hold is over, whatever the calls say"
    arm = next(iter(plan.arms))
    base = {**dict.fromkeys(config.series, 0.1), **USUAL_RATES}
    total, parts = 0.0, []
    for i, step in enumerate(plan.steps, 1):
        points = plan.weights(i).get(arm, 0)
        if 0 < points < 10_000:
            calls, _ = expected_calls(config, PlayStep(points, 0.0, step.min_calls), i - 1, base)
            total += calls
            parts.append(f"{points / 100:g} % takes about {max(calls, 1):,.0f} calls")
    if not parts:
        return "no step serves both versions, so nothing can be compared"
    first = plan.weights(1).get(arm, 0) / 10_000
    dead = (
        next(
            (n for n in range(1, 40) if _dead(ev, first, n, base.get("success", 0.1)) >= 1 / config.alpha),
            None,
        )
        if 0 < first < 1
        else None
    )
    each = f"{calls_per_day:,.0f} call{'' if round(calls_per_day) == 1 else 's'}"
    line = f"at {each} a day an equal canary: {', '.join(parts)} ({_days(total, calls_per_day)} in all)"
    return (
        line if dead is None else f"{line}; a dead one is rolled back after about {max(3, dead)} of its calls"
    )


def _dead(ev: Any, weight: float, canary: int, rate: float) -> float:
    import math

    others = canary * (1 - weight) / weight
    counts = [[canary, 0, others * rate, others * (1 - rate)]]
    return math.exp(min(700.0, float(ev.log_e(counts, (weight,)))))


def _days(calls: float, per_day: float) -> str:
    days = calls / per_day
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} hours"


def parse_canary(text: str | None) -> dict[str, float] | None:
    """`success=0.75,hard_error=0.05` as a mapping; InputError for anything else."""
    if text is None:
        return None
    found = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] <= 1:
            raise InputError(
                f"--canary: {part.strip()} is not a rate; write for example success=0.75,hard_error=0.05"
            )
    return found


def calls_per_day(found: Preflight, calls: Calls, now: datetime) -> float:
    """Calls a day that the plan's numbers took in the last week, by Retell's own list; asks at most 25 numbers."""
    numbers = [t.number for t in found.targets]
    asked = numbers[:MOST_NUMBERS]
    pairs = tuple(sorted({pair for t in found.targets[:MOST_NUMBERS] for pair in _pairs(t.baseline)}))
    total = 0
    for number in asked:
        for channel in found.plan.channels:
            for item in calls.since(number, str(channel), pairs, now - HISTORY):
                if isinstance(item, Failure):
                    raise NotReachable(f"Retell's calls cannot be read: {item.detail}")
                total += 1
    return total / HISTORY.days * (len(numbers) / len(asked) if asked else 0.0)


def _pairs(baseline: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {
        (entry["agent_id"], entry["agent_version"])
        for entries in baseline.values()
        for entry in entries or ()
        if isinstance(entry.get("agent_version"), int)
    }
