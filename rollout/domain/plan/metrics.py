"""The metrics of a plan's gates: what each is measured on, and which calls count against the canary."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from rollout.domain.calendar import durations
from rollout.domain.gates.metrics import BUILT_IN, EARLY_SECONDS, NAMED, QUANTILES, SOURCES, USUAL_QUANTILE
from rollout.domain.plan.fields import DURATION_SCHEMA, Duration, Part, complaint, duration_of, number_of, shown, words

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


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


def _custom_bad(value: object) -> bool | float | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not 1 <= len(value) <= 100 or not value.isprintable():
            raise complaint(f"{shown(value)} is not a value to compare with", "write 1 to 100 printable characters")
        return value
    return number_of(value, -1e9, 1e9, "true, false, a number or text", "1")


class External(Part):
    """A value measured elsewhere, held against a limit at every look."""

    url: Url
    max: Limit | None = Field(None, description="Fails above this.")
    min: Limit | None = Field(None, description="Fails below this.")
    looks: int = Field(
        1,
        alias="for",
        ge=1,
        le=1000,
        strict=True,
        description="Consecutive looks outside the limit before the gate fails.",
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


_NAMES = ", ".join(QUANTILES)


def _above(value: object) -> float | str:
    if isinstance(value, str):
        if value not in QUANTILES:
            raise complaint(f"{shown(value)} is not a quantile", f"write a number, or one of {_NAMES}")
        return value
    return number_of(value, 0, 1e9, f"a limit or one of {_NAMES}", "40")


def _longer(value: object) -> timedelta | str:
    return value if isinstance(value, str) and value in QUANTILES else duration_of(value)


_QUANTILE_SCHEMA = {"type": "string", "enum": list(QUANTILES)}
Above = Annotated[
    float | str,
    PlainValidator(_above),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1e9}, _QUANTILE_SCHEMA]}),
]
Longer = Annotated[
    timedelta | str,
    PlainValidator(_longer),
    PlainSerializer(lambda value: value if isinstance(value, str) else durations.render(value), return_type=str),
    WithJsonSchema({"anyOf": [DURATION_SCHEMA, _QUANTILE_SCHEMA]}),
]
_OR_QUANTILE = "or a quantile of the baseline's own earlier calls: p50, p90, p95 or p99."


class EarlyHangup(Part):
    """A caller who hangs up soon."""

    within: Duration = Field(
        timedelta(seconds=EARLY_SECONDS),
        description="From the start of the call.",
        json_schema_extra={"default": f"{EARLY_SECONDS:g}s"},
    )


class Cost(Part):
    """A call that costs more than others."""

    above: Above = Field(USUAL_QUANTILE, description=f"Cents, {_OR_QUANTILE}")


class CallLength(Part):
    """A call that takes longer than others."""

    above: Longer = Field(USUAL_QUANTILE, description=f"A duration, {_OR_QUANTILE}")


class Latency(Part):
    """A call in which one part of the agent is slower than in others."""

    part: Literal["e2e", "llm", "tts", "asr"] = Field(
        "e2e", description="The whole answer, or one part of producing it."
    )
    quantile: Literal["p50", "p90", "p95"] = Field("p50", description="Of the latencies within one call.")
    above: Above = Field(USUAL_QUANTILE, description=f"Milliseconds, {_OR_QUANTILE}")


CustomBad = Annotated[
    bool | float | str,
    PlainValidator(_custom_bad),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "number"}, {"type": "string", "maxLength": 100}]}),
]


class Metric(Part):
    """One thing that is watched: a metric of calls, a custom analysis field, or a value from elsewhere."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        strict=True,
        description=f"One of {', '.join(BUILT_IN)}; or a name of your own, with one of the keys that say what is "
        "measured. docs/gates.md says which calls are bad.",
    )
    custom: Annotated[str, *words(1, 100)] | None = Field(
        None,
        description="A field of call_analysis.custom_analysis_data; a boolean, unless a key says which values are bad.",
    )
    bad: bool = Field(False, strict=True, description="Which value of a boolean field counts against the canary.")
    bad_values: tuple[CustomBad, ...] | None = Field(
        None, min_length=1, max_length=50, description="The values of the field that count against the canary."
    )
    bad_below: Limit | None = Field(None, description="Numbers below this count against the canary.")
    bad_above: Limit | None = Field(None, description="Numbers above this count against the canary.")
    tool_failed: Annotated[str, *words(1, 100)] | None = Field(
        None, description="Name of a tool: calls in which it failed count against the canary."
    )
    early_hangup: EarlyHangup | None = Field(None, description="Callers who hang up early.")
    cost: Cost | None = Field(None, description="Expensive calls.")
    duration: CallLength | None = Field(None, description="Long calls.")
    latency: Latency | None = Field(None, description="Calls in which the agent, or one part of it, is slow.")
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
        sources = [key for key in (*SOURCES, "prometheus", "http") if getattr(self, key) is not None]
        if len(sources) > 1:
            raise complaint(f"{' and '.join(sources)} are both given", "keep one of them", (sources[1],))
        if not sources and self.name not in BUILT_IN:
            near = difflib.get_close_matches(self.name, (*BUILT_IN, *NAMED), 1, 0.5)
            known = near[0] if near else f"one of {', '.join(BUILT_IN)}"
            if known in NAMED:
                raise complaint(
                    f"{self.name} needs the name of what it measures", f"write {known}: with a name", ("name",)
                )
            raise complaint(
                f"there is no metric {shown(self.name)}",
                f"write {known}, or say where it is measured: custom, tool_failed, prometheus or http",
                ("name",),
            )
        if sources and self.name in BUILT_IN and self.name != sources[0]:
            raise complaint(
                f"{self.name} is measured on calls and cannot be taken from {sources[0]}",
                f"write another name, for example my_{self.name}",
                ("name",),
            )
        if self.external and (self.share is not None or self.margins is not None):
            key = "share" if self.share is not None else "margins"
            raise complaint(f"{key} belongs to metrics of calls", "leave it out and write max or min", (key,))
        return self

    @model_validator(mode="after")
    def _bad_once(self) -> Self:
        found = {key: getattr(self, key) for key in ("bad", "bad_values", "bad_below", "bad_above")}
        given = [key for key, value in found.items() if value is not None and value is not False]  # 0 is a limit
        if given and self.custom is None:
            raise complaint(f"{given[0]} belongs to custom fields", "leave it out", (given[0],))
        if len(given) > 1 and given != ["bad_below", "bad_above"]:
            raise complaint(f"{' and '.join(given)} are both given", "keep one of them", (given[1],))
        if self.bad_below is not None and self.bad_above is not None and self.bad_below > self.bad_above:
            raise complaint("every number is bad", "write a bad_below below bad_above", ("bad_below",))
        return self
