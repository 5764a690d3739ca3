"""A plan played against modelled callers before anybody is called: what it can decide, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollout.domain.calendar.durations import render
from rollout.domain.calendar.wording import hours_text, moment_text
from rollout.domain.errors import InputError
from rollout.domain.gates import evidence as ev
from rollout.domain.gates.forecast_wording import round_calls
from rollout.domain.gates.profiles import GateConfig, before_full
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.plan import Plan
from rollout.domain.rehearsal.ab_test import ab_test, rehearse_decision
from rollout.domain.rehearsal.hours import hours
from rollout.domain.rehearsal.proposals import PATIENCE, expected_calls, propose
from rollout.domain.rehearsal.rehearsal import DEADLINE, OTHER_RATE, USUAL_RATES, play_plan
from rollout.domain.rehearsal.simulation import DAY, PlayStep
from rollout.engine.calendars import Calendars
from rollout.engine.gate_check import config_of

if TYPE_CHECKING:
    from rollout.domain.gates.profiles import GateConfig
    from rollout.domain.rehearsal.proposals import Proposal
    from rollout.domain.rehearsal.rehearsal import Rehearsal
    from rollout.domain.rehearsal.simulation import PlayStep

USUAL_CALLS_PER_DAY = 200.0
_PASSES_AT_LAST = "its gates pass when the plan decides; what it ships is played apart, from the last step on"
FEW_RUNS = 300  # of what is played beside the plan itself


def rehearse(
    plan: Plan,
    calls_per_day: float,
    *,
    calendars: Calendars,
    now: datetime,
    canary: Mapping[str, float] | None = None,
    runs: int = 1000,
) -> dict[str, Any]:
    """{"line", "notes", "scenarios": [...], "calls_per_day", "runs", "rates", "begins", "decision"}; the gate is the real
    one. decision: of a plan that decides its A/B test, {"calls", "days", "runs", "ends": [...]}.

    `canary` are rates by metric as people say them ("success": 0.75 is the share of successful calls). Days count
    from `begins`: the plan's start, or `now`, or when its hours open next. InputError for a calendar that cannot
    be used, or that never opens.
    """
    if not 0 < calls_per_day <= 10_000_000:
        raise InputError("--calls-per-day: write a number above 0 and not above 10000000")
    if not 1 <= runs <= 100_000:
        raise InputError("--runs: write a number from 1 to 100000")
    config = config_of(plan) or GateConfig(profile="none")
    steps = _steps(plan)
    bad = None if canary is None else {k: 1 - v if k == "success" else v for k, v in canary.items()}
    calendar, holidays = calendars.of(plan)
    deadline = DEADLINE if plan.deadline is None else plan.deadline.total_seconds()
    better = _better(plan, config, calls_per_day, _usual_rates(config))
    later = deadline if better is None else max(deadline, better.deadline or 0.0)
    begins, open_ = hours(calendar, holidays, max(now, plan.start or now), later / DAY)
    if begins is None:
        raise InputError("windows: none opens within two years; write hours in which steps may advance")
    played = play_plan(config, steps, calls_per_day, canary=bad, runs=runs, deadline=deadline, hours=open_)
    notes = [*played.notes]
    if open_.turns:
        notes.append(_hours_note(calendar, begins, now))
    if plan.retreat is not None:
        notes.append("The retreat is not modelled: calls outside the hours count as calls at the step's weight.")
    decision = _decision(plan, config, calls_per_day, min(runs, FEW_RUNS))
    if decision:
        notes.append(f"One variant is played beside the baseline: promoted means that {_PASSES_AT_LAST}.")
    found = {**asdict(played), **decision, "notes": tuple(notes), "plan": plan.name, "begins": begins.isoformat()}
    if better is None:
        return found
    then = play_plan(better.config, better.steps, calls_per_day, runs=min(runs, FEW_RUNS), deadline=later, hours=open_)
    proposal = {**_proposed(plan, better, calls_per_day), "now": _played(played), "then": _played(then)}
    return {**found, "proposal": proposal}


def _hours_note(calendar: Calendar, begins: datetime, now: datetime) -> str:
    when = hours_text(calendar) if calendar.windows else "outside its holidays and freezes"
    at = moment_text(begins, calendar.zone or "UTC", now)
    return f"Steps advance only while the plan's calendar is open ({when}); days count from {at}."


def _decision(plan: Plan, config: GateConfig, calls_per_day: float, runs: int) -> dict[str, Any]:
    """The ends of an A/B test whose plan decides it; empty for any other plan."""
    test = ab_test(plan, calls_per_day)
    if test is None:
        return {}
    ends = [asdict(end) for end in rehearse_decision(config, test, runs=runs)]
    return {"decision": {"calls": test.calls, "days": test.days, "runs": runs, "ends": ends}}


def _played(played: Rehearsal) -> dict[str, Any]:
    by_name = {s.name: s for s in played.scenarios}
    equal, worse = by_name["equal"], by_name["10 points worse"]
    return {
        "equal_promoted": equal.promoted,
        "days": equal.days_to_promote,
        "worse_rolled_back": worse.rolled_back,
        "worse_promoted": worse.promoted,
    }


def _steps(plan: Plan) -> list[PlayStep]:
    arm = next(iter(plan.arms))
    steps, above = [], plan.steps_above
    for i, s in enumerate(plan.steps, 1):
        # Time at the retreat weight counts for no hold.
        opens, hold = s.hold.open or i in above, s.hold.seconds
        if plan.decide is not None and i == plan.last_step:
            opens, hold = False, plan.decide.after.total_seconds()
        steps.append(PlayStep(s.points().get(arm, 0), hold, s.min_calls, s.approve, opens))
    return steps


def _better(plan: Plan, config: GateConfig, calls_per_day: float, rates: Mapping[str, float]) -> Proposal | None:
    """The ladder to propose, for a plan with one canary."""
    if plan.variants is not None:
        return None
    patience = PATIENCE if plan.deadline is None else plan.deadline.total_seconds()
    return propose(config, _steps(plan), calls_per_day, rates, patience)


def proposal(plan: Plan, calls_per_day: float, rates: Mapping[str, float] | None = None) -> dict[str, Any] | None:
    """For a plan that cannot decide at this traffic: the change that could, as YAML, with the figures of both, by the
    formulas. `rates`: the baseline's own, where known. None where it decides.

    {"why", "change", "yaml", "now": {"calls", "days"}, "then": {"calls", "days"}}
    """
    config = config_of(plan)
    if config is None:
        return None
    found = _better(plan, config, calls_per_day, {**_usual_rates(config), **(rates or {})})
    if found is None:
        return None
    return {
        **_proposed(plan, found, calls_per_day),
        "now": {"calls": round(found.calls_now), "days": round(found.calls_now / calls_per_day, 1)},
        "then": {"calls": round(found.calls_then), "days": round(found.calls_then / calls_per_day, 1)},
    }


def _usual_rates(config: GateConfig) -> dict[str, float]:
    return {**dict.fromkeys(config.series, OTHER_RATE), **USUAL_RATES}


def _proposed(plan: Plan, found: Proposal, per_day: float) -> dict[str, Any]:
    days, calls = found.calls_now / per_day, "call" if round(per_day) == 1 else "calls"
    why = (
        f"at {per_day:,.0f} {calls} a day half of the rollouts of an equally good canary need {days:,.0f} days or more "
        f"(about {round_calls(found.calls_now):,} calls)"
    )
    return {"why": why, "change": found.words, "yaml": _as_yaml(plan, found)}


def _as_yaml(plan: Plan, found: Proposal) -> str:
    """The entries of the plan that change, as they are to be written."""
    written = [step.model_dump(mode="json", by_alias=True, exclude_defaults=True) for step in plan.steps]
    for document, step in zip(written, plan.steps, strict=True):
        document.setdefault("hold", render(step.hold.duration))
    if found.half_step is not None:
        # Between the step before it and weight 1, and held as long as that one.
        written.insert(found.half_step, {**written[found.half_step - 1], "weight": 0.5})
        written[found.half_step].pop("min_calls", None)
        written[found.half_step].pop("approve", None)
    written = written[len(written) - len(found.steps) :]  # a raised first weight stands for the smaller ones before it
    for document, played in zip(written, found.steps, strict=True):
        document["weight"] = played.weight / 10_000
    lines = ["steps:", *(f"  - {{{_flow(document)}}}" for document in written)]
    if found.profile is not None:
        gates = plan.gates.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        rest = " (and the metrics as they are, without their margins)" if "metrics" in gates else ""
        lines.append(f"gates: {{profile: {found.profile}}}" + (f"  #{rest}" if rest else ""))
    if found.deadline is not None and plan.deadline is not None:
        lines.append(f"deadline: {round(found.deadline / 86_400)}d")
    return "\n".join(lines)


def _flow(document: Mapping[str, Any]) -> str:
    order = ("weight", "hold", "min_calls", "approve")
    keys = [key for key in order if key in document]
    words = {True: "true", False: "false"}
    return ", ".join(
        f"{key}: {words.get(v, v) if isinstance(v := document[key], bool) else _number(v)}" for key in keys
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def quick_line(plan: Plan, calls_per_day: float) -> str:
    """The one-line version, by the formulas instead of by playing: milliseconds."""
    config = config_of(plan)
    if config is None:
        return "no gates: every step follows when its hold is over, whatever happens to the calls"
    arm = next(iter(plan.arms))
    base = _usual_rates(config)
    shares = [plan.weights(i).get(arm, 0) / 10_000 for i in range(1, plan.last_step + 1)]
    total, parts = 0.0, []
    for i, (share, step) in enumerate(zip(shares, plan.steps, strict=True), 1):
        if 0 < share < 1:
            played = PlayStep(plan.weights(i)[arm], 0.0, step.min_calls)
            calls, _ = expected_calls(config, played, i - 1, base, narrow=before_full(shares, i))
            total += calls
            parts.append(f"{share * 100:g} % takes about {calls:,.0f} calls")
    if not parts:
        return "no step serves both versions, so nothing can be compared"
    each = f"{calls_per_day:,.0f} call{'' if round(calls_per_day) == 1 else 's'}"
    line = f"at {each} a day an equal canary: {', '.join(parts)} ({_days(total, calls_per_day)} in all)"
    if not config.compared:
        unseen = "the gates compare no calls: one that fails every call is not detected"
        return f"{line}; {unseen}" if total else unseen
    dead = _dead_calls(config, shares[0], base["success"])
    return line if dead is None else f"{line}; one that fails every call is rolled back after about {dead} of its calls"


def _dead_calls(config: GateConfig, weight: float, rate: float) -> int | None:
    """Calls of a canary that fails each of them until it is rolled back; None: the first step does not see it."""
    if not 0 < weight < 1:
        return None
    for canary in range(config.least_bad, 40):
        others = canary * (1 - weight) / weight
        counts = [[canary, 0, others * rate, others * (1 - rate)]]
        if float(ev.log_e(counts, (weight,))) >= -math.log(config.alpha):
            return canary
    return None


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
            raise InputError(f"--canary: {part.strip()} is not a rate; write for example success=0.75,hard_error=0.05")
    return found
