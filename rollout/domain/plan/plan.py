"""The plan that an operator asks for, as frozen models; the JSON Schema of plan files comes from here.

Every rule that needs only the plan itself is checked here; what needs the live numbers is pre-flight.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rollout.domain.plan.agents import AgentRef, BaselineEntry, Channel, Selector
from rollout.domain.plan.calendar import Calendar, Closing, ClosingField, Freezes, Holidays, Retreat, Windows, Zone
from rollout.domain.plan.decide import Decide, decide_problems
from rollout.domain.plan.fields import (
    WRITTEN_NOW,
    Duration,
    Finding,
    Moment,
    OneOrMany,
    Part,
    complaint,
    complaints,
    shown,
    words,
)
from rollout.domain.plan.gates import Gates, GatesField
from rollout.domain.plan.notices import AlertRule, NoticeRule, Reaction
from rollout.domain.plan.rules import arm_problems, time_problems
from rollout.domain.plan.steps import Hold, Step, Wave, WaveOrder
from rollout.domain.plan.tests import Tests
from rollout.domain.splits import splits

Name = Annotated[str, *words(1, 80)]
_ARM = r"^[a-z][a-z0-9_-]{0,29}$"


# ------------------------------------------------------------------ the plan


class Plan(Part):
    """A plan: which numbers move to which agent version, in which steps, judged how."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["canary"]}, {"required": ["variants"]}]})

    version: Annotated[Literal[1], Field(description="Version of the plan format: 1.")]
    name: Name = Field(
        description="1 to 80 printable characters without a slash; notices and lists show it. No two live rollouts "
        "have the same.",
        json_schema_extra={"pattern": r"^(?!\.{1,2}$)[^/]+$"},
    )
    numbers: Annotated[tuple[Selector, ...], OneOrMany()] = Field(
        min_length=1, max_length=20_000, description="Quoted E.164 numbers, {nickname: pattern} or {serving: agent}."
    )
    channels: tuple[Channel, ...] = Field(min_length=1, description="Only these lists of a number are ever written.")
    canary: AgentRef | None = Field(None, description="The version being tried.")
    variants: dict[str, AgentRef] | None = Field(
        None, min_length=1, max_length=10, description="Several versions being tried, by name, instead of canary."
    )
    baseline: Annotated[tuple[BaselineEntry, ...], OneOrMany()] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="What the numbers must serve now; on anything else the rollout does not start.",
    )
    steps: tuple[Step, ...] = Field(min_length=1, max_length=100)
    waves: tuple[Wave, ...] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Cumulative parts of the numbers that go first, rising; a last wave with all is implied.",
    )
    wave_order: WaveOrder = WaveOrder.PLAN
    seed: int | None = Field(None, ge=0, le=2**53, strict=True, description="For wave_order random.")
    gates: GatesField = Field(
        default_factory=lambda: Gates.model_validate({}), description="[] means none; left out: profile standard."
    )
    tests: Tests | None = Field(None, description="Retell's batch tests before the first step; left out: none.")
    start: Moment | None = Field(None, description="Not before this time; left out: at once.")
    after: Name | None = Field(None, description="Name of a plan that must have been promoted first.")
    deadline: Duration | None = Field(None, description="After this long, on_deadline applies.")
    decide: Decide | None = Field(None, description="How an A/B test ends by itself; left out: a person ends it.")
    on_failure: Reaction = Reaction.ROLLBACK
    on_deadline: Reaction = Reaction.PAUSE
    alerts: Annotated[tuple[AlertRule, ...], OneOrMany()] = Field((), max_length=50)
    calendar: Annotated[str, *words(1, 80)] | None = Field(None, description="Name of a shared calendar.")
    windows: Windows = Field((), max_length=50, description="When steps may advance; left out: always.")
    zone: Zone | None = Field(None, description="IANA zone of windows, holidays and days of freezes.")
    holidays: Holidays = Field((), max_length=20, description="Country or region on whose holidays no step advances.")
    freezes: Freezes = Field((), max_length=200)
    closing: ClosingField = Field(Closing.KEEP, description="At closing time: keep, or {retreat: weight}.")
    notify: Annotated[tuple[NoticeRule, ...], OneOrMany()] = Field((), max_length=20)

    # -------------------------------------------------------------- rules of single fields

    @field_validator("version", mode="before")
    @classmethod
    def _known_version(cls, value: object) -> object:
        if type(value) is not int or value != 1:
            raise complaint(f"{shown(value)} is not a version of the plan format", "write version: 1")
        return value

    @field_validator("wave_order")
    @classmethod
    def _order_has_an_effect(cls, order: WaveOrder, info: ValidationInfo) -> WaveOrder:
        # A rollout that was recorded before this rule keeps its word.
        if info.context == WRITTEN_NOW and order is WaveOrder.VOLUME:
            raise complaint("volume has no effect", "write plan and list the quietest numbers first, or random")
        return order

    @field_validator("name")
    @classmethod
    def _name_is_part_of_an_address(cls, name: str, info: ValidationInfo) -> str:
        # A rollout that was recorded before this rule keeps its name, and is reached by its id.
        if info.context == WRITTEN_NOW and ("/" in name or name in (".", "..")):
            raise complaint(
                f"{shown(name)} cannot be used in a web address" if "/" not in name else f"{shown(name)} has a slash",
                f"write a name without slashes, for example {name.strip('./').replace('/', '-') or 'frontdesk-v7'}",
            )
        return name

    @field_validator("numbers")
    @classmethod
    def _each_number_once(cls, numbers: tuple[Selector, ...]) -> tuple[Selector, ...]:
        first: dict[str, int] = {}
        found: list[Finding] = []
        for i, number in enumerate(numbers):
            key = number if isinstance(number, str) else repr(number)
            if first.setdefault(key, i) != i:
                what = key if isinstance(number, str) else "this selection"
                found.append((f"{what} is listed twice, first as entry {first[key] + 1}", "list it once", (i,)))
        if found:
            raise complaints(found)
        return numbers

    @field_validator("channels")
    @classmethod
    def _each_channel_once(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        for i, channel in enumerate(channels):
            if channel in channels[:i]:
                raise complaint(f"{channel.value} is listed twice", "list each channel once", (i,))
        return channels

    @field_validator("variants")
    @classmethod
    def _named_variants(cls, variants: dict[str, AgentRef] | None) -> dict[str, AgentRef] | None:
        pairs: dict[tuple[str, int], str] = {}
        for name, ref in (variants or {}).items():
            if not re.fullmatch(_ARM, name, re.ASCII) or name == "baseline":
                raise complaint(
                    f"{shown(name)} cannot name a variant", "write a short lower-case name, for example b", (name,)
                )
            if (other := pairs.setdefault(ref.pair, name)) != name:
                raise complaint(f"{name} is the same agent and version as {other}", "write another version", (name,))
        return variants

    @field_validator("baseline")
    @classmethod
    def _whole_baseline(cls, baseline: tuple[BaselineEntry, ...] | None) -> tuple[BaselineEntry, ...] | None:
        total = sum(splits.basis_points(entry.weight) for entry in baseline or ())
        if baseline and total != splits.TOTAL:
            raise complaint(f"the weights add up to {total / splits.TOTAL:g}", "write weights that add up to 1")
        return baseline

    @field_validator("waves")
    @classmethod
    def _rising(cls, waves: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        highest: dict[bool, float] = {}
        for i, wave in enumerate(waves or ()):
            counted = isinstance(wave, int)
            size = float(str(wave).rstrip("%"))
            if size <= highest.get(counted, 0):
                raise complaint(
                    f"wave {shown(wave)} is not larger than the one before",
                    "write rising sizes: a wave includes those before",
                    (i,),
                )
            highest[counted] = size
        return waves

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := [*arm_problems(self), *time_problems(self), *decide_problems(self)]:
            raise complaints(found)
        return self

    # -------------------------------------------------------------- what others ask

    @property
    def arms(self) -> dict[str, AgentRef]:
        """The versions being tried, by name; a single canary's name is `canary`."""
        if self.variants is not None:
            return dict(self.variants)
        return {} if self.canary is None else {"canary": self.canary}

    @property
    def pairs(self) -> dict[str, tuple[str, int]]:
        """The arms as `splits.compose` takes them: name to (agent_id, agent_version)."""
        return {name: ref.pair for name, ref in self.arms.items()}

    @property
    def last_step(self) -> int:
        return len(self.steps)

    def step(self, step: int) -> Step:
        """A step, counted from 1; IndexError outside the plan."""
        if not 1 <= step <= len(self.steps):
            raise IndexError(f"step {step} of {len(self.steps)}")
        return self.steps[step - 1]

    def weights(self, step: int) -> Mapping[str, int]:
        """Basis points of each arm in a step (from 1); an arm that is left out has none."""
        return self.step(step).points()

    def hold(self, step: int) -> Hold:
        return self.step(step).hold

    @property
    def retreat(self) -> int | None:
        """Basis points of the canary while the calendar is closed; None: closing time leaves the weights alone."""
        return splits.basis_points(self.closing.retreat) if isinstance(self.closing, Retreat) else None

    @property
    def steps_above(self) -> frozenset[int]:
        """The steps with more weight than its retreat: closing time takes them down. None if it does not retreat."""
        if (retreat := self.retreat) is None:
            return frozenset()
        return frozenset(i for i, step in enumerate(self.steps, 1) if sum(step.points().values()) > retreat)

    @property
    def expected_baseline(self) -> list[dict[str, Any]] | None:
        """The list that the numbers must serve, as Retell would show it; None: whatever they serve."""
        return None if self.baseline is None else [entry.to_wire() for entry in self.baseline]

    @property
    def own_calendar(self) -> Calendar | None:
        """The calendar written in the plan itself; None if there is none (see `calendar` for a named one)."""
        if not (self.windows or self.holidays or self.freezes):
            return None
        return Calendar(windows=self.windows, zone=self.zone, holidays=self.holidays, freezes=self.freezes)

    def canonical(self) -> dict[str, Any]:
        """The plan as JSON values, defaults written out; `Plan.model_validate` reads it back equal."""
        return self.model_dump(mode="json", exclude_none=True)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex: two plans that mean the same have the same."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
