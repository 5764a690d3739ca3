"""The agents that serve, and where: agents with their versions, phone numbers, and the ways to select numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainValidator, Tag, ValidationInfo, WithJsonSchema

from rollout.domain.patterns import fits
from rollout.domain.plan.fields import WRITTEN_NOW, Part, Weight, complaint, shown, words
from rollout.domain.splits import splits

E164 = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_AGENT_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}", re.ASCII)
# Retell's own pattern of a tag (its list-phone-numbers page of 2026-08); `v3` and "3" are no tags
_TAG = re.compile(r"(?!v[0-9]+\Z)[a-z][a-z0-9_-]{0,19}", re.ASCII)
_LARGEST_VERSION = 2**31 - 1


class Channel(StrEnum):
    """A channel of a number: calls and SMS, in and out."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INBOUND_SMS = "inbound_sms"
    OUTBOUND_SMS = "outbound_sms"

    @property
    def field(self) -> str:
        """The list of this channel in Retell's phone number."""
        return f"{self.value}_agents"


def _agent_id(value: object) -> str:
    if isinstance(value, str) and _AGENT_ID.fullmatch(value):
        return value
    raise complaint(f"{shown(value)} is not an agent id", "write the id as Retell shows it, for example agent_1a2b3c")


def _number(value: object) -> int:
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            raise complaint(f'"{value}" is text', f"write {int(value)} without quotes")
        if match := re.fullmatch(r"[vV]([0-9]{1,9})", value, re.ASCII):
            raise complaint(f"{shown(value)} is text", f"write {int(match[1])}")
        raise complaint(
            f"{shown(value)} is a tag", "write the number, not a tag: tags move; for example agent_version: 7"
        )
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_VERSION:
        raise complaint(f"{shown(value)} is not a version", "write the version's whole number, for example 7")
    return value


def _number_or_tag(value: object) -> int | str:
    if isinstance(value, str) and _TAG.fullmatch(value):
        return value
    if isinstance(value, str) and not re.fullmatch(r"[vV]?[0-9]+", value, re.ASCII):
        raise complaint(f"{shown(value)} is neither a version nor a tag", "write a number or a tag of the agent")
    return _number(value)


def is_version_or_tag(value: int | str) -> bool:
    """True if Retell takes this as the agent_version of an entry."""
    return bool(_TAG.fullmatch(value)) if isinstance(value, str) else 0 <= value <= _LARGEST_VERSION


AgentId = Annotated[
    str, PlainValidator(_agent_id), WithJsonSchema({"type": "string", "pattern": f"^{_AGENT_ID.pattern}$"})
]
Version = Annotated[
    int, PlainValidator(_number), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": _LARGEST_VERSION})
]
VersionOrTag = Annotated[
    int | str,
    PlainValidator(_number_or_tag),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _LARGEST_VERSION},
                {"type": "string", "pattern": r"^(?!v[0-9]+$)[a-z][a-z0-9_-]{0,19}$"},
            ]
        }
    ),
]


class AgentRef(Part):
    """One version of one agent. The version is a number: a tag may point elsewhere tomorrow."""

    agent_id: AgentId = Field(description="The agent's id as Retell shows it.")
    agent_version: Version = Field(description="The published version's number; tags are refused: they move.")

    @property
    def pair(self) -> tuple[str, int]:
        return self.agent_id, self.agent_version


class BaselineEntry(Part):
    """One entry that the numbers must serve before the first step."""

    agent_id: AgentId
    agent_version: VersionOrTag | None = Field(None, description="Number or tag; left out: an entry without version.")
    weight: Weight = 1.0

    def to_wire(self) -> dict[str, Any]:
        version = {} if self.agent_version is None else {"agent_version": self.agent_version}
        return {"agent_id": self.agent_id, **version, "weight": self.weight}


# ------------------------------------------------------------------ numbers


def _phone(value: object, info: ValidationInfo) -> str:
    example = 'write plus, country code and number in quotes, for example "+14157774444"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise complaint(f"{value} is a number, so YAML drops its plus", f'put it in quotes: "+{abs(int(value))}"')
    if not isinstance(value, str):
        raise complaint(f"{shown(value)} is not a phone number", example)
    digits = re.sub(r"[ ().-]", "", value)
    if not E164.fullmatch(digits):
        raise complaint(f"{shown(value)} is not a phone number in international form", example)
    if info.context != WRITTEN_NOW and digits == value:
        return (
            value  # of a record: it was checked when it was written, and is read whatever is known of countries today
        )
    import phonenumbers  # loads slowly

    try:
        parsed = phonenumbers.parse(digits)
    except phonenumbers.NumberParseException:
        raise complaint(f"{shown(value)} does not begin with a country code", example) from None
    normal = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if normal != digits:
        raise complaint(f"{shown(value)} is not the international form", f'write "{normal}"')
    if not phonenumbers.is_possible_number(parsed):
        raise complaint(f"{shown(value)} has too few or too many digits for its country", "write the whole number")
    return normal


PhoneNumber = Annotated[
    str,
    PlainValidator(_phone),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[ (.]*\+[ (.]*[1-9][0-9 ().-]{1,30}$",
            "description": "E.164 in quotes, for example +14157774444.",
        }
    ),
]


class ByNickname(Part):
    """Every number whose nickname fits a pattern; resolved at the start and recorded."""

    nickname: Annotated[str, *words(1, 100)] = Field(
        description="For example Front*: `*` stands for any characters or none, `?` for exactly one. Every other "
        "character is itself, brackets too; case matters."
    )

    def matches(self, nickname: str | None) -> bool:
        return nickname is not None and fits(nickname, self.nickname)


class Serving(Part):
    """An agent, and a version or tag of it; without one, any version."""

    agent_id: AgentId
    agent_version: VersionOrTag | None = None


class ByServing(Part):
    """Every number that serves this agent on a channel of the plan; resolved at the start and recorded."""

    serving: Serving

    def matches(self, entries: Sequence[Mapping[str, Any]] | None) -> bool:
        wanted = self.serving.agent_version
        return any(
            entry.get("agent_id") == self.serving.agent_id
            and (wanted is None or splits.normal_version(entry.get("agent_version")) == wanted)
            for entry in entries or ()
        )


def _kind(value: object) -> str:
    if isinstance(value, ByNickname) or (isinstance(value, Mapping) and "serving" not in value):
        return "<nickname>"
    return "<serving>" if isinstance(value, ByServing | Mapping) else "<number>"


Selector = Annotated[
    Annotated[PhoneNumber, Tag("<number>")]
    | Annotated[ByNickname, Tag("<nickname>")]
    | Annotated[ByServing, Tag("<serving>")],
    Discriminator(_kind),
]
