"""The `tests:` of a plan: tests before the first caller."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from rollout.domain.plan.fields import Duration, Part, complaint, number_of, shown


def _cases(value: object) -> str | tuple[str, ...]:
    if value == "all":
        return "all"
    if not isinstance(value, list | tuple) or not value:
        raise complaint(f"{shown(value)} names no test case", "write all, or a list of test_case_definition_id")
    seen: list[str] = []
    for i, item in enumerate(value):
        if not isinstance(item, str) or not 1 <= len(item) <= 200 or not item.isprintable() or item != item.strip():
            raise complaint(f"{shown(item)} is not the id of a test case", "copy it from Retell's dashboard", (i,))
        if item in seen:
            raise complaint(f"{shown(item)} is listed twice", "list it once; runs says how often each runs", (i,))
        seen.append(item)
    if len(seen) > 1000:
        raise complaint(f"{len(seen)} test cases are listed", "list at most 1000, or write all")
    return tuple(seen)


Cases = Annotated[
    Literal["all"] | tuple[str, ...],
    PlainValidator(_cases),
    PlainSerializer(lambda value: value if value == "all" else list(value), return_type=str | list[str]),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
                {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]
Share = Annotated[
    float,
    PlainValidator(lambda value: number_of(value, 0, 1, "a share of the runs", "0.1")),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]


class Tests(Part):
    """Retell's simulated conversations, run before the first write; a tool without a mock runs for real."""

    __test__ = False

    cases: Cases = Field("all", description="all, or a list of test_case_definition_id.")
    runs: int = Field(3, ge=1, le=20, strict=True, description="How often each case runs.")
    max_failed: Share | None = Field(
        None,
        description="Share of the canary's runs that may fail; left out: no more than the baseline's, by the evidence "
        "of the gates.",
    )
    compare: bool | None = Field(
        None, strict=True, description="Run the baseline's version, too; left out: where max_failed is left out."
    )
    deadline: Duration = Field(
        timedelta(minutes=30),
        description="After this long without a result the tests count as unmeasurable.",
        json_schema_extra={"default": "30m"},
    )

    @property
    def compares(self) -> bool:
        """True if the baseline's version is run as well."""
        return self.max_failed is None if self.compare is None else self.compare

    @model_validator(mode="after")
    def _measured_by_something(self) -> Self:
        if self.max_failed is None and self.compare is False:
            raise complaint(
                "without compare the baseline's tests do not run, so there is nothing to compare with",
                "write max_failed, for example 0.1, or leave compare out",
                ("compare",),
            )
        return self
