"""Rules between the fields of a plan: each gives the problems it finds, what to write, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rollout.domain.calendar import durations
from rollout.domain.plan.calendar import Retreat, calendar_problems
from rollout.domain.plan.fields import Finding, shown
from rollout.domain.plan.steps import WaveOrder

if TYPE_CHECKING:
    from rollout.domain.plan.plan import Plan


def arm_problems(plan: Plan) -> Iterator[Finding]:
    """Complaints about canary or variants, steps and baseline."""
    if plan.canary is None and plan.variants is None:
        yield "the plan names no version to try", "write canary: {agent_id: ..., agent_version: ...}", ()
        return
    if plan.canary is not None and plan.variants is not None:
        yield "canary and variants are both given", "write one of them", ("variants",)
        return
    arms = plan.arms
    for i, step in enumerate(plan.steps):
        at = ("steps", i)
        if plan.canary is not None and step.weights is not None:
            problem = f"step {i + 1} has weights, but the plan has one canary"
            yield problem, "write weight: 0.1", (*at, "weights")
        elif plan.variants is not None and step.weight is not None:
            example = ", ".join(f"{name}: 0.1" for name in arms)
            problem = f"step {i + 1} has weight, but the plan has variants"
            yield problem, f"write weights: {{{example}}}", (*at, "weight")
        else:
            for name in step.points().keys() - arms.keys():
                problem = f"there is no variant {shown(name)}"
                yield problem, f"write one of: {', '.join(arms)}", (*at, "weights", name)
    for name, ref in arms.items():
        if any((entry.agent_id, entry.agent_version) == ref.pair for entry in plan.baseline or ()):
            place = ("canary",) if plan.canary is not None else ("variants", name)
            problem = f"{name} is already in the baseline, so there is nothing to try"
            yield problem, "write another version", (*place, "agent_version")
    if plan.variants is not None and isinstance(plan.closing, Retreat):
        yield "retreat names one weight, but the plan has variants", "write closing: keep", ("closing",)


def time_problems(plan: Plan) -> Iterator[Finding]:
    """Complaints about calendar, holds, closing, waves and `after`."""
    yield from calendar_problems(plan.windows, plan.zone, plan.holidays, plan.freezes)
    own = [key for key in ("windows", "zone", "holidays", "freezes") if getattr(plan, key)]
    if plan.calendar is not None and own:
        problem = f"calendar and {own[0]} are both given"
        yield problem, f"leave one out; {own[0]} can stand in the calendar", ("calendar",)
    scheduled = plan.calendar is not None or bool(plan.windows) or bool(plan.holidays)
    for i, step in enumerate(plan.steps):
        if step.hold.open and not scheduled:
            problem = "open hours are counted, but the plan has no windows"
            advice = f"write hold: {durations.render(step.hold.duration)}, or give windows and zone"
            yield problem, advice, ("steps", i, "hold")
    if isinstance(plan.closing, Retreat) and not scheduled:
        problem = "the plan never closes, because it has no windows"
        yield problem, "leave closing out, or give windows and zone", ("closing",)
    if plan.seed is not None and plan.wave_order is not WaveOrder.RANDOM:
        yield ("a seed is given, but nothing is drawn", "write wave_order: random, or leave seed out", ("seed",))
    if plan.after == plan.name:
        yield "the plan waits for itself", "write another plan's name", ("after",)
