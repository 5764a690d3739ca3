"""The `gates:` of a plan: profile, metrics, margins and limits. The judging is in rollout/domain/gates."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, field_validator, model_validator

from rollout.domain.errors import InputError
from rollout.domain.gates import profiles
from rollout.domain.plan.fields import Duration, Part, complaint, number_of, shown, words

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ProfileName(StrEnum):
    """How much proof a gate asks for. `low-traffic` accepts wider margins, `strict` half the errors."""

    STANDARD = "standard"
    LOW_TRAFFIC = "low-traffic"
    STRICT = "strict"
    NONE = "none"


def _url(value: object) -> str:
    """https anywhere, http on this machine only; which hosts may be asked, the server's settings decide."""
    text = value if isinstance(value, str) and value.isprintable() and len(value) <= 2000 else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("https", "http") or re.search(r"[\s\\<>\"]", text):
        raise complaint(f"{shown(value)} is not a web address", "write for example https://metrics.example.com/value")
    if parts.username is not None or parts.password is not None:
        raise complaint("the address carries a user name or password", "write the address without them")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise complaint("the address is not encrypted", f"write https://{text.removeprefix('http://')}"[:120])
    return text


Url = Annotated[
    str, PlainValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://", "maxLength": 2000})
]


def _limit(value: object) -> float:
    return number_of(value, -1e15, 1e15, "a limit", "0.05")


def _fraction(value: object) -> float:
    number = number_of(value, 0, 1, "a part of 1", "0.25")
    if number == 0:
        raise complaint("0 is too small", "write a number above 0 and at most 1, for example 0.25")
    return number


def _margin(value: object) -> float:
    number = number_of(value, 0, 1, "a margin", "0.25")
    if number in (0, 1):
        raise complaint(f"{number:g} is not a margin", "write a number above 0 and below 1, for example 0.25")
    return number


Limit = Annotated[float, PlainValidator(_limit), WithJsonSchema({"type": "number"})]
Fraction = Annotated[
    float, PlainValidator(_fraction), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
]

Margin = Annotated[
    float, PlainValidator(_margin), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})
]


class External(Part):
    """A value measured elsewhere, held against a limit at every look."""

    url: Url
    max: Limit | None = Field(None, description="Fails above this.")
    min: Limit | None = Field(None, description="Fails below this.")
    looks: int = Field(
        1, alias="for", ge=1, le=1000, strict=True, description="Consecutive looks over the limit before it fails."
    )

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.max is None and self.min is None:
            raise complaint("there is no limit", "write max or min, for example max: 0.05")
        if self.max is not None and self.min is not None and self.min >= self.max:
            raise complaint("min is not below max", "write a min below max", ("min",))
        return self


class Prometheus(External):
    """An instant query of a Prometheus server that gives one number."""

    query: Annotated[str, *words(1, 2000)]


class Http(External):
    """A JSON document with one number in it."""

    field: Annotated[str, *words(1, 200)] = Field(description="Key of the number; dots go into nested objects.")


class Metric(Part):
    """One thing that is watched: a metric of calls, a custom analysis field, or a value from elsewhere."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", strict=True)
    custom: Annotated[str, *words(1, 100)] | None = Field(
        None, description="A boolean of call_analysis.custom_analysis_data."
    )
    bad: bool = Field(False, strict=True, description="Which value of the custom field counts against the canary.")
    prometheus: Prometheus | None = None
    http: Http | None = None
    share: Fraction | None = Field(None, description="Its part of the combined evidence; left out: the profile's.")
    margins: tuple[Margin, ...] | None = Field(
        None,
        min_length=1,
        max_length=20,
        description="Points of the bad rate that must be excluded before a step passes, small weights first; "
        "given: the metric is critical.",
    )

    @property
    def external(self) -> Prometheus | Http | None:
        return self.prometheus or self.http

    @model_validator(mode="after")
    def _measured_somewhere(self) -> Self:
        sources = [key for key in ("custom", "prometheus", "http") if getattr(self, key) is not None]
        if len(sources) > 1:
            raise complaint(f"{' and '.join(sources)} are both given", "name one place of measurement", (sources[1],))
        if not sources and self.name not in profiles.BUILT_IN:
            near = difflib.get_close_matches(self.name, profiles.BUILT_IN, 1, 0.5)
            known = near[0] if near else f"one of {', '.join(profiles.BUILT_IN)}"
            raise complaint(
                f"there is no metric {shown(self.name)}",
                f"write {known}, or say where it is measured: custom, prometheus or http",
                ("name",),
            )
        if sources and self.name in profiles.BUILT_IN:
            raise complaint(
                f"{self.name} is measured on calls and cannot be taken from {sources[0]}",
                f"write another name, for example my_{self.name}",
                ("name",),
            )
        if self.external and (self.share is not None or self.margins is not None):
            key = "share" if self.share is not None else "margins"
            raise complaint(f"{key} belongs to metrics of calls", "leave it out and write max or min", (key,))
        if self.bad and self.custom is None:
            raise complaint("bad belongs to custom fields", "leave it out", ("bad",))
        return self


class Gates(Part):
    """How the calls of each step are judged."""

    profile: ProfileName = ProfileName.STANDARD
    metrics: tuple[Metric, ...] | None = Field(
        None, min_length=1, max_length=40, description="Left out: the profile's."
    )
    floors: tuple[Annotated[int, Field(ge=1, le=1_000_000, strict=True)], ...] | None = Field(
        None, min_length=1, max_length=20, description="Least canary calls in a step, small weights first."
    )
    max_call_time: Duration = Field(
        timedelta(hours=1), description="A call open longer counts as failed.", json_schema_extra={"default": "1h"}
    )
    act_at_full_weight: bool = Field(
        False,
        strict=True,
        description="In the last hold, at weight 1, nothing is left to compare with: true does on_failure when the "
        "watch raises its alarm, false tells. After the rollout is promoted it tells in either case.",
    )
    hard_error_reasons: tuple[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,79}$", strict=True)], ...] | None = Field(
        None, min_length=1, max_length=100, description="Retell's disconnection reasons that count as hard errors."
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, value: object) -> object:
        if isinstance(value, Mapping) and _FORMER in value:
            raise complaint(
                "has a new name, as it acts in the last hold at weight 1 and not after promotion",
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
            profiles.from_plan(self.model_dump(mode="json", by_alias=True, exclude_none=True))
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
