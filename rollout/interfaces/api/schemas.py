"""The bodies that the API takes. Times are ISO 8601 with their zone, weights 0..1."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Path
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from rollout.domain.errors import InputError
from rollout.domain.lifecycle.commands import MOST_REASON, parse_position
from rollout.domain.lifecycle.state import Position
from rollout.domain.one_line import one_line
from rollout.interfaces.auth.roles import Role

RolloutId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="A rollout's id or the beginning of one, or a plan's name: its live rollout, else its newest ended one "
        "that you may see.",
        examples=["k7m2x9p4qa"],
    ),
]
MOST_SEQ = 2**31 - 1


class Strict(BaseModel):
    """A body: unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Expect(Strict):
    """The position the asker saw; if the rollout stands elsewhere, nothing is changed (409)."""

    wave: int = Field(ge=1, le=9999, description="Counts from 1.", examples=[1])
    step: int = Field(ge=1, le=9999, description="Counts from 1.", examples=[2])

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        if isinstance(given, str):
            try:
                return parse_position(given)._asdict()
            except InputError:
                pass
        elif isinstance(given, dict):
            return given
        raise ValueError('write "1.2" or {"wave": 1, "step": 2}')

    @property
    def position(self) -> Position:
        return Position(self.wave, self.step)


Expected = Annotated[
    Expect,
    WithJsonSchema(
        {
            "anyOf": [
                Expect.model_json_schema(),
                {"type": "string", "pattern": r"^([1-9][0-9]{0,3}\.)?[1-9][0-9]{0,3}$"},
            ],
            "examples": ["1.2", {"wave": 1, "step": 2}],
        }
    ),
]


def _one_line(text: str) -> str:
    try:
        return one_line("reason", text, MOST_REASON)
    except InputError as error:
        raise ValueError(error.message.removeprefix("reason: ")) from None


Reason = Annotated[
    str,
    Field(max_length=MOST_REASON, description="Why, for the journal: one line.", examples=["calls drop"]),
    AfterValidator(_one_line),
]
RequestId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        description="Repeating it gives the first answer again. The header Idempotency-Key is the same thing; "
        "if both are sent they must be equal. Ids are the token's own.",
        examples=["3f2b8c1e-promote-1.2"],
    ),
]


class CommandBody(Strict):
    """Asking for a change of one rollout."""

    reason: Reason = ""
    expect: Expected | None = Field(None, description="Refuse (409) unless the rollout is at this position.")
    request_id: RequestId | None = None


class PromoteBody(CommandBody):
    """Asking for the next step, or with `full` for the last one."""

    full: bool = Field(False, description="Go straight to the last step.")


class SetBody(CommandBody):
    """Asking for weights in place of the step's: `weight` of a plan with one canary, `weights` of one with variants."""

    weight: float | None = Field(None, description="The canary's share of new calls.", examples=[0.2])
    weights: dict[str, float] | None = Field(
        None, max_length=10, description="Share of each variant; one that is left out gets none."
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if (self.weight is None) == (self.weights is None):
            raise ValueError('write "weight": 0.2, or "weights": {"b": 0.2} for variants')
        return self

    @property
    def by_arm(self) -> dict[str, float]:
        return {"canary": self.weight} if self.weight is not None else self.weights or {}


class ShipBody(CommandBody):
    """Asking for a version to get every call."""

    variant: str = Field(description="A variant's name, or `canary`.", examples=["b"])
    anyway: bool = Field(False, description="Also without enough evidence; the journal keeps it.")


class RollbackBody(Strict):
    """Asking for a rollback. It needs no expected state; `expect` is accepted and ignored."""

    reason: Reason = ""
    expect: Any = Field(None, description="Ignored: a rollback is valid at every position.")
    request_id: RequestId | None = None


_PLAN_EXAMPLE = {
    "version": 1,
    "name": "frontdesk-v7",
    "numbers": ["+14157774444"],
    "channels": ["inbound"],
    "canary": {"agent_id": "agent_abc", "agent_version": 7},
    "steps": [{"weight": 0.1, "hold": "30m"}, {"weight": 1.0, "hold": "1d"}],
}


def _object_or_text(given: object) -> object:
    if not isinstance(given, dict | str):
        raise ValueError("write an object with the plan's keys, or the text of a plan file")
    return given


PlanField = Annotated[
    dict[str, Any] | str,
    BeforeValidator(_object_or_text),
    Field(description="The plan, as an object or as YAML or JSON text.", examples=[_PLAN_EXAMPLE]),
]
PlanName = Annotated[
    str, Field(min_length=1, max_length=200, description="The file's name, for error messages.", examples=["plan.yaml"])
]


class PlanBody(Strict):
    """A plan to check or to rehearse."""

    plan: PlanField
    name: PlanName = "plan"
    strict: bool = Field(False, description="Warnings count as problems.")


class StartBody(PlanBody):
    """A plan to start."""

    start_at: Annotated[AwareDatetime, Field(strict=False)] | None = Field(
        None,
        description="Not before this time, with its zone; left out: the plan's own start, or now.",
        examples=["2026-12-01T09:00:00-08:00"],
    )
    reason: Reason = ""
    request_id: RequestId | None = None


class TokenBody(Strict):
    """A token to make."""

    role: str = Field(
        description="What it may do: each role includes those before it; trigger: alert hooks only.",
        examples=["responder"],
        json_schema_extra={"enum": list(Role)},  # the complaint about another one is `create_token`'s
    )
    name: str = Field(min_length=1, max_length=80, description="Its owner.", examples=["on-call phone"])
    expires: Annotated[AwareDatetime, Field(strict=False)] | None = Field(
        None, description="When it expires; left out: never.", examples=["2027-01-31T00:00:00Z"]
    )
    numbers: list[str] | None = Field(
        None,
        max_length=10_000,
        description="Only rollouts within these numbers; left out: all.",
        examples=[["+14157774444"]],
    )


def same_id(header: str | None, body: str | None) -> str | None:
    """The request's id from the header Idempotency-Key or the body; InputError when they differ."""
    if header is not None and body is not None and header != body:
        raise InputError(
            "request_id: it differs from the header Idempotency-Key; send one of them, or the same in both",
            errors=[{"in": "body", "field": "request_id", "problem": "differs from Idempotency-Key"}],
        )
    return body if header is None else header
