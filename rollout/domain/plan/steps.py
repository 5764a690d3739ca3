"""Steps of a plan with their holds, and the waves in which numbers go through them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from rollout.domain.calendar import durations
from rollout.domain.plan.fields import DURATION_SCHEMA, Part, Weight, complaint, duration_of, shown
from rollout.domain.splits import splits

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Hold:
    """The time that a confirmed step must stand. `open`: only hours in which the calendar is open count."""

    seconds: float
    open: bool = False

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.seconds)


def _hold(value: object) -> Hold:
    if isinstance(value, Mapping):
        if set(value) != {"open"}:
            raise complaint(f"{shown(value)} is not a hold", "write for example 30m, or {open: 8h} for open hours")
        return Hold(duration_of(value["open"], ("open",)).total_seconds(), open=True)
    return Hold(duration_of(value).total_seconds())


def _hold_text(hold: Hold) -> str | dict[str, str]:
    text = durations.render(hold.duration)
    return {"open": text} if hold.open else text


HoldField = Annotated[
    Hold,
    PlainValidator(_hold),
    PlainSerializer(_hold_text),
    WithJsonSchema(
        {
            "anyOf": [
                DURATION_SCHEMA,
                {
                    "type": "object",
                    "properties": {"open": DURATION_SCHEMA},
                    "required": ["open"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Step(Part):
    """One position of the weights, and what must hold before the next."""

    weight: Weight | None = Field(None, description="The canary's share; with variants write weights instead.")
    weights: dict[str, Weight] | None = Field(None, min_length=1, description="Share of each variant by its name.")
    hold: HoldField = Field(
        Hold(0),
        description="How long the step lasts at least; the last step's hold is the bake.",
        json_schema_extra={"default": "0s"},
    )
    min_calls: int = Field(
        0, ge=0, le=1_000_000, strict=True, description="Canary calls that the step needs before the next one."
    )
    approve: bool = Field(
        False, strict=True, description="A person must promote; asked once all other conditions are met."
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.weight is not None and self.weights is not None:
            raise complaint("weight and weights are both given", "write one of them", ("weights",))
        if self.weight is None and self.weights is None:
            raise complaint("the step has no weight", "write weight: 0.1, or weights: {b: 0.1} for variants")
        if (total := sum(self.points().values())) > splits.TOTAL:
            text = f"{total / splits.TOTAL:g}"
            raise complaint(f"the weights add up to {text}", "write weights that add up to at most 1", ("weights",))
        return self

    def points(self) -> Mapping[str, int]:
        """Basis points of each arm."""
        return self._points

    @cached_property
    def _points(self) -> Mapping[str, int]:
        given = {"canary": self.weight} if self.weights is None else self.weights
        return {name: splits.basis_points(weight) for name, weight in given.items() if weight is not None}


# ------------------------------------------------------------------ waves


class WaveOrder(StrEnum):
    """The order of a plan's numbers: as the plan lists them, or drawn by a seed."""

    PLAN = "plan"
    RANDOM = "random"
    VOLUME = "volume"  # in older records alone, where it means the same as `plan`

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        found["enum"].remove(cls.VOLUME.value)
        return found


def _wave(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?%", value, re.ASCII):
        if 0 < float(value[:-1]) <= 100:
            return value
        raise complaint(f"{value} is not a share of the numbers", 'write above "0%" and at most "100%"')
    raise complaint(
        f"{shown(value)} is not a wave", 'write a count of numbers, for example 1, or a share, for example "10%"'
    )


Wave = Annotated[
    int | str,
    PlainValidator(_wave),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"}]}
    ),
]


def wave_of(count: int, waves: Sequence[int | str] | None) -> list[int]:
    """The count of `count` numbers reached at the end of each wave; the last is always all of them.

    Entries are cumulative; percentages round up. A wave that would add no number is left out.
    """
    reached: list[int] = []
    for wave in waves or ():
        size = wave if isinstance(wave, int) else math.ceil(round(float(wave.rstrip("%")) * count, 6) / 100)
        size = min(size, count)
        if size > (reached[-1] if reached else 0):
            reached.append(size)
    if count and (not reached or reached[-1] < count):
        reached.append(count)
    return reached
