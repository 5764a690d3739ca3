"""The `gates:` of a plan: profile, metrics and limits. The judging is in rollout.domain.gates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rollout.domain.errors import InputError
from rollout.domain.gates import profiles
from rollout.domain.plan.fields import Duration, Part, complaint
from rollout.domain.plan.metrics import Metric


class ProfileName(StrEnum):
    """The amount of proof that a gate asks for. `low-traffic` accepts wider margins, `strict` half the errors."""

    STANDARD = "standard"
    LOW_TRAFFIC = "low-traffic"
    STRICT = "strict"
    NONE = "none"


class Gates(Part):
    """The rules by which the calls of each step are judged."""

    profile: ProfileName = ProfileName.STANDARD
    metrics: tuple[Metric, ...] | None = Field(
        None, min_length=1, max_length=40, description="Left out: the profile's."
    )
    floors: tuple[Annotated[int, Field(ge=1, le=1_000_000, strict=True)], ...] | None = Field(
        None, min_length=1, max_length=20, description="Minimum of canary calls in a step, small weights first."
    )
    max_call_time: Duration = Field(
        timedelta(hours=1),
        description="A call that is open for longer counts as failed.",
        json_schema_extra={"default": "1h"},
    )
    act_at_full_weight: bool = Field(
        False,
        strict=True,
        description="In the last hold, at weight 1, there is no baseline to compare with: true does on_failure when "
        "the watch raises its alarm, false sends a notice. After the promotion it only sends a notice.",
    )
    hard_error_reasons: tuple[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,79}$", strict=True)], ...] | None = Field(
        None, min_length=1, max_length=100, description="Retell's disconnection reasons that count as hard errors."
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, value: object) -> object:
        if isinstance(value, Mapping) and _FORMER in value:
            raise complaint(
                "has been renamed, because it acts in the last hold at weight 1 and not after promotion",
                "write act_at_full_weight",
                (_FORMER,),
            )
        return value

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[Metric, ...] | None) -> tuple[Metric, ...] | None:
        names = [metric.name for metric in metrics or ()]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise complaint(f"{name} is listed twice", "list each metric once", (i, "name"))
        total = sum(metric.share or 0 for metric in metrics or ())
        if total > 1 + 1e-9:
            raise complaint(f"the shares add up to {total:g}", "write shares that add up to at most 1")
        return metrics

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        judged = [metric.name for metric in self.metrics or () if not metric.external]
        if self.profile is ProfileName.NONE and judged:
            raise complaint(
                f"profile none judges no calls, but {judged[0]} is listed",
                "write profile: standard, or leave the metric out",
                ("profile",),
            )
        try:
            profiles.from_plan(self.model_dump(mode="json"))
        except InputError as error:
            problem, _, advice = error.message.removeprefix("gates.metrics: ").rstrip(".").partition("; ")
            raise complaint(problem, advice or "write other metrics", ("metrics",)) from error
        return self


_FORMER = "act_after_promotion"


def with_new_names(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a plan as recorded by an earlier version, with the keys of this one."""
    gates = plan.get("gates")
    if not isinstance(gates, Mapping) or _FORMER not in gates:
        return plan
    kept = {"act_at_full_weight" if key == _FORMER else key: value for key, value in gates.items()}
    return {**plan, "gates": kept}


class _GatesOrNone:
    """`gates: []` means none."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return BeforeValidator(_gates_of).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        return {"anyOf": [handler(core), {"type": "array", "maxItems": 0}]}


def _gates_of(value: object) -> object:
    if isinstance(value, list | tuple):
        if value:
            raise complaint("a list is given", "write gates: {metrics: [...]}, or [] for none")
        return {"profile": ProfileName.NONE.value}
    if value is None:
        raise complaint("nothing is given", "write [] for none, or leave the key out for the standard gates")
    return value


GatesField = Annotated[Gates, _GatesOrNone()]
