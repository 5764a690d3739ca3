"""The `decide:` of a plan: how an A/B test ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from rollout.domain.calendar.durations import render
from rollout.domain.gates import profiles
from rollout.domain.plan.fields import Duration, Finding, Part, complaint
from rollout.domain.splits import splits

if TYPE_CHECKING:
    from rollout.domain.plan.plan import Plan


class Ship(StrEnum):
    """The version that gets every call when the plan decides."""

    BEST = "best"
    NONE = "none"


class Otherwise(StrEnum):
    """The end of a test that ships nothing."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    KEEP = "keep"


class Decide(Part):
    """The end of an A/B test by plan: a version is shipped, or `otherwise` is done."""

    after: Duration = Field(
        description="Counts from the moment at which the last step is confirmed on every number, as its hold does. "
        "It starts again after weights that a person sets there, after a resume from `otherwise: pause`, and after "
        "`otherwise: keep`."
    )
    min_calls: int = Field(
        0,
        ge=0,
        le=1_000_000,
        strict=True,
        description="Calls with a result that every variant needs in the last step; until then nothing is decided.",
    )
    ship: Ship = Field(
        Ship.BEST,
        description="best: the variant that is proven not worse than the baseline on every critical metric, and proven "
        "better than every other variant on the first metric; a tie ships nothing. It bakes for the hold of the last "
        "step, and is promoted. none: nothing is shipped.",
    )
    otherwise: Otherwise = Field(
        Otherwise.PAUSE,
        description="Where nothing is shipped: rollback; pause, for a person to decide; or keep: the test continues, and "
        "is decided again after as long.",
    )

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        if self.ship is Ship.NONE and self.otherwise is Otherwise.KEEP:
            raise complaint(
                "nothing is shipped and the test continues, so nothing is decided",
                "write otherwise: rollback or pause, or leave decide out",
                ("otherwise",),
            )
        return self


def decide_problems(plan: Plan) -> Iterator[Finding]:
    """Complaints about what a plan that decides needs of its variants, gates, last step and deadline."""
    decide, last = plan.decide, plan.steps[-1]
    if decide is None:
        return
    if plan.variants is None:
        problem = "decide chooses between variants, but the plan has one canary"
        yield problem, "write variants: {b: {agent_id: ..., agent_version: ...}}, or leave decide out", ("decide",)
        return
    if decide.ship is Ship.BEST and not _proves(plan):
        problem = "no metric with margins compares the calls, so no variant is ever proven best"
        yield problem, "write gates with such a metric, or ship: none", ("decide", "ship")
    at = ("steps", len(plan.steps) - 1)
    if last.approve:
        yield "the last step waits for a person, but decide ends it", "leave approve out", (*at, "approve")
    if missing := [name for name in plan.variants if name not in last.points()]:
        problem = f"{missing[0]} has no calls in the last step, so decide cannot compare it"
        yield problem, f"give it a weight there, for example {missing[0]}: 0.2", (*at, "weights")
    if sum(last.points().values()) == splits.TOTAL:
        problem = "the last step leaves no calls to the baseline, so decide cannot compare with it"
        yield problem, "write weights that add up to less than 1", (*at, "weights")
    if last.hold.duration > decide.after:
        problem = f"the hold of the last step is longer than decide.after, {render(decide.after)}"
        yield problem, "write a shorter one: a version that is shipped bakes for it", (*at, "hold")
    before = sum((step.hold.duration for step in plan.steps[:-1]), timedelta())
    if plan.deadline is not None and plan.deadline <= before + decide.after:
        problem = "the deadline comes before the plan can decide"
        yield problem, f"write more than {render(before + decide.after)}", ("deadline",)


def _proves(plan: Plan) -> bool:
    return bool(profiles.from_plan(plan.gates.model_dump(mode="json")).critical)
