"""The base of every part of a plan: the frozen base model, the complaint, and the plain types.

A complaint is a pair: what was wrong, and what to do instead. `rollout.adapters.planfile` adds the place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from rollout.domain.calendar import durations
from rollout.domain.errors import SplitError
from rollout.domain.splits import splits

Finding = tuple[str, str, tuple[str | int, ...]]  # problem, advice, way to the culprit

WRITTEN_NOW: Mapping[str, bool] = {"written_now": True}  # context of a plan that somebody writes, and not of a record


class Part(BaseModel):
    """A part of a plan: frozen, unknown keys are errors, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True, hide_input_in_errors=True
    )


def complaint(problem: str, advice: str, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """An error to raise in a validator. `at` is the way from the validated value to the culprit."""
    return complaints([(problem, advice, tuple(at))])


def complaints(found: list[Finding]) -> PydanticCustomError:
    """Several errors of one validator as one exception."""
    text = " | ".join(f"{problem}; {advice}" for problem, advice, _ in found)
    return PydanticCustomError("plan", "{text}", {"text": text, "found": found})


def shown(value: object) -> str:
    """A value as the writer of the plan would recognise it, short and without control characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."


# ------------------------------------------------------------------ weights and durations


def _weight(value: object) -> float:
    if isinstance(value, str):
        percent = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,2})?) ?%", value, re.ASCII)
        example = f"{float(percent[1]) / 100:.6g}" if percent and float(percent[1]) <= 100 else "0.1"
        raise complaint(f"{shown(value)} is text", f"write a number from 0 to 1 without quotes, for example {example}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise complaint(f"{shown(value)} is not a weight", "write a number above 0 and at most 1, for example 0.1")
    try:
        share = splits.basis_points(value)
    except SplitError as error:
        problem, _, advice = error.message.partition("; ")
        raise complaint(problem, advice) from error
    if share == 0:
        raise complaint(
            "a weight of 0 would serve nobody, and Retell refuses it",
            "write a weight above 0, for example 0.05, or leave this entry out",
        )
    return share / splits.TOTAL


Weight = Annotated[
    float,
    PlainValidator(_weight),
    WithJsonSchema(
        {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "Share of new calls, above 0 and at most 1, with at most four decimals.",
        }
    ),
]


def duration_of(value: object, at: Iterable[str | int] = ()) -> timedelta:
    """A duration as it is written in a plan ("90s", "1h30m"); a complaint at its place otherwise."""
    try:
        return durations.parse(value)
    except durations.DurationError as error:
        raise complaint(error.problem, f"write {error.write}", at) from error


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise complaint("0s leaves no time", "write for example 30s, 15m or 7d, or leave the key out")
    return value


DURATION_SCHEMA = {
    "type": "string",
    "pattern": durations.PATTERN,
    "description": "Days, hours, minutes, seconds: for example 90s, 15m, 1h30m, 3d; only seconds may have decimals.",
}
Duration = Annotated[
    timedelta,
    PlainValidator(lambda value: _positive(duration_of(value))),
    PlainSerializer(durations.render, return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]


# ------------------------------------------------------------------ times


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise complaint(
                f"{shown(value)} is not a time", "write date, time and offset: 2026-12-01T09:00:00-08:00"
            ) from None
    if not isinstance(value, datetime):
        raise complaint(f"{shown(value)} is not a time", "write for example 2026-12-01T09:00:00-08:00")
    if value.utcoffset() is None:
        raise complaint(
            f"{value.isoformat()} has no UTC offset",
            f"write the offset, too: {value.isoformat()}-08:00, or {value.isoformat()}Z for UTC",
        )
    return value


def _moment_or_day(value: object) -> datetime | date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise complaint(f"there is no day {value}", "write a day of the calendar, for example 2026-12-24") from None
    return _moment(value)


_ISO = PlainSerializer(lambda value: value.isoformat(), return_type=str)
Moment = Annotated[datetime, PlainValidator(_moment), _ISO, WithJsonSchema({"type": "string", "format": "date-time"})]
MomentOrDay = Annotated[
    datetime | date,
    PlainValidator(_moment_or_day),
    _ISO,
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]


# ------------------------------------------------------------------ words and numbers


def number_of(value: object, low: float, high: float, what: str, example: str) -> float:
    """A finite number in [low, high]; a complaint names what it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise complaint(f"{shown(value)} is not {what}", f"write a number, for example {example}")
    if not low <= value <= high:
        raise complaint(f"{value} is not {what}", f"write a number from {low:g} to {high:g}, for example {example}")
    return float(value)


def as_text(value: object) -> str:
    """The text to write instead of a value that should be text; true and false as a plan spells them."""
    if isinstance(value, bool):
        return f'put it in quotes: "{str(value).lower()}"'
    return f'put it in quotes: "{value}"' if isinstance(value, int | float) else "write text"


def words(minimum: int = 1, maximum: int = 80) -> Any:
    """Metadata for a strict text of printable characters, without spaces at its ends."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise complaint(f"{shown(value)} is not text", as_text(value))
        if not minimum <= len(value) <= maximum:
            long = "is empty" if not value else f"has {len(value)} characters"
            raise complaint(f"the text {long}", f"write {minimum} to {maximum} characters")
        if not value.isprintable():
            raise complaint(f"{shown(value)} has control or invisible characters", "write printable characters only")
        if value != value.strip():
            raise complaint(f"{shown(value)} begins or ends with a space", f"write {shown(value.strip())}")
        return value

    return PlainValidator(check), WithJsonSchema({"type": "string", "minLength": minimum, "maxLength": maximum})


class OneOrMany:
    """Metadata for a list field that may also be written as its single entry, without the list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        inner = BeforeValidator(lambda value: [value] if isinstance(value, str | Mapping) else value)
        return inner.__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        many = handler(core)
        return {"anyOf": [many["items"], many]} if "items" in many else many
