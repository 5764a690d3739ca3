"""One phone number: its fields, and every state it ever had, so reads can be stale and shares counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.sandbox.messages import dump

CHANNELS = {
    "inbound": "inbound_agents",
    "outbound": "outbound_agents",
    "inbound_sms": "inbound_sms_agents",
    "outbound_sms": "outbound_sms_agents",
}
"""Channel of calls or chats -> the field that holds its split."""
LISTS = tuple(CHANNELS.values())
SIP_FIELDS = ("termination_uri", "auth_username", "transport")
"""Sent flat, shown inside `sip_outbound_trunk_config` (Retell's OpenAPI); the password is never shown."""


@dataclass(slots=True)
class State:
    """A number as it was from `at` (sandbox seconds) until the next state."""

    at: float
    timestamp: int
    """`last_modification_timestamp`, milliseconds."""
    fields: dict[str, Any]
    by: str
    """What made it: created, patch, or edit (by somebody else)."""
    seq: int | None = None
    """The request of the log that made it."""
    served: dict[str, dict[str, int]] = field(default_factory=dict)
    """Channel -> `agent@version` -> calls or chats started in this state."""
    unserved: dict[str, int] = field(default_factory=dict)
    """Channel -> callers who came while no agent was bound."""
    cached: bytes | None = None

    def to_json(self, number: "Number") -> dict[str, Any]:
        """Retell's PhoneNumberResponse."""
        return {**number.fixed, **self.fields, "last_modification_timestamp": self.timestamp}

    def to_bytes(self, number: "Number") -> bytes:
        """The same as JSON text, made once: reads are far more frequent than writes."""
        if self.cached is None:
            self.cached = dump(self.to_json(number))
        return self.cached


@dataclass(slots=True)
class Number:
    """A phone number. `state` is live: it always is what Retell would serve now."""

    phone_number: str
    order: int
    """Rises with creation; lists are sorted by it."""
    fixed: dict[str, Any]
    states: list[State]
    rates: dict[str, float] = field(default_factory=dict)
    """Channel -> callers per hour."""
    bypass: dict[str, Any] | None = None
    """An inbound webhook that overrides the split: agent_id, agent_version and the share it takes."""

    @property
    def state(self) -> State:
        """The state served now."""
        return self.states[-1]

    @property
    def timestamp(self) -> int:
        """`last_modification_timestamp`, milliseconds."""
        return self.states[-1].timestamp

    def split(self, channel: str = "inbound") -> list[dict[str, Any]]:
        """The entries of one channel; empty when none is bound."""
        return list(self.states[-1].fields.get(CHANNELS[channel]) or [])

    @property
    def inbound_agents(self) -> list[dict[str, Any]]:
        """The split of inbound calls."""
        return self.split("inbound")

    @property
    def outbound_agents(self) -> list[dict[str, Any]]:
        """The split of outbound calls."""
        return self.split("outbound")

    def state_at(self, at: float) -> State:
        """The state at a time of the sandbox's clock; the first one for earlier times."""
        for state in reversed(self.states):
            if state.at <= at:
                return state
        return self.states[0]

    def to_json(self) -> dict[str, Any]:
        """Retell's PhoneNumberResponse, now."""
        return self.state.to_json(self)

    def history_json(self) -> list[dict[str, Any]]:
        """Every state with its times (milliseconds), its splits and the calls it served, oldest first."""
        ends = [int(state.at * 1000) for state in self.states[1:]]
        return [
            {
                "from": int(state.at * 1000),
                "until": until,
                "last_modification_timestamp": state.timestamp,
                "by": state.by,
                "seq": state.seq,
                **{name: state.fields.get(name) for name in LISTS},
                "served": {channel: dict(counts) for channel, counts in state.served.items()},
                "unserved": dict(state.unserved),
            }
            for state, until in zip(self.states, [*ends, None], strict=True)
        ]


def fixed_fields(phone_number: str, phone_number_type: str) -> dict[str, Any]:
    """The fields of a number that no PATCH moves."""
    fixed: dict[str, Any] = {"phone_number": phone_number, "phone_number_type": phone_number_type}
    digits = phone_number.removeprefix("+1")
    if phone_number.startswith("+1") and len(digits) == 10 and digits.isdigit():
        fixed["phone_number_pretty"] = f"+1 ({digits[:3]}) {digits[3:6]}-{digits[6:]}"
        fixed["area_code"] = int(digits[:3])
    return fixed


def merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields after a PATCH: what is given replaces, what is left out stays."""
    result = dict(fields)
    trunk = dict(result.get("sip_outbound_trunk_config") or {})
    for name, value in changes.items():
        if name in SIP_FIELDS:
            trunk[name] = value
        elif name != "auth_password":
            result[name] = value
    if trunk:
        result["sip_outbound_trunk_config"] = trunk
    return result
