"""One call or SMS chat, whose whole fate is drawn at its start and shown as time passes.

Ongoing until `end`, then ended (or error), and judged from `analysed` on. Shapes: Retell's phone call and
chat responses.
"""

from dataclasses import dataclass, field
from typing import Any

from rollout.sandbox.clock import milliseconds

PEOPLE = "+1212555"
"""How the numbers of modelled people begin; four digits follow."""
TOOL = "look_up"
"""The tool that a modelled agent calls in every phone call."""


@dataclass(slots=True)
class Conversation:
    """Times are seconds of the sandbox's clock."""

    id: str
    channel: str
    number: str
    """Our phone number; `other` is the person's."""
    other: str
    agent_id: str
    version: int
    tag: str | None
    start: float
    end: float
    analysed: float
    final_status: str
    """ended, error or not_connected."""
    reason: str
    latency_ms: float
    successful: bool | None
    sentiment: str | None
    voicemail: bool
    custom: dict[str, Any] = field(default_factory=dict)
    backup_model: bool = False
    tool_failed: bool = False
    cents_per_minute: float = 7.0

    @property
    def is_chat(self) -> bool:
        """SMS conversations are chats, the others phone calls."""
        return self.channel.endswith("_sms")

    @property
    def direction(self) -> str:
        """inbound or outbound."""
        return "inbound" if self.channel.startswith("inbound") else "outbound"

    @property
    def from_number(self) -> str:
        """The caller's number."""
        return self.other if self.direction == "inbound" else self.number

    @property
    def to_number(self) -> str:
        """The number that was called."""
        return self.number if self.direction == "inbound" else self.other

    @property
    def start_ms(self) -> int:
        """Start, milliseconds since the epoch."""
        return milliseconds(self.start)

    @property
    def key(self) -> tuple[int, str]:
        """Place in every list: by start, then by id."""
        return milliseconds(self.start), self.id

    def status(self, now: float) -> str:
        """Status as of a time of the sandbox's clock."""
        return self.final_status if now >= self.end else "ongoing"

    def duration_ms(self) -> int:
        """Length; 0 for a call that never connected."""
        return milliseconds(self.end) - milliseconds(self.start)

    def cost(self) -> float:
        """Cents; a chat costs one cent a minute."""
        return round((self.end - self.start) / 60 * (1 if self.is_chat else self.cents_per_minute), 4)

    def analysis(self, now: float) -> dict[str, Any] | None:
        """The analysis, or None while there is none; unjudged fields are left out."""
        if now < self.analysed:
            return None
        kind = "chat" if self.is_chat else "call"
        found: dict[str, Any] = {f"{kind}_summary": f"A modelled {kind} with {self.agent_id}."}
        if not self.is_chat:
            found["in_voicemail"] = self.voicemail
        if self.successful is not None:
            found[f"{kind}_successful"] = self.successful
        if self.sentiment is not None:
            found["user_sentiment"] = self.sentiment
        if self.custom:
            found["custom_analysis_data"] = dict(self.custom)
        return found

    def to_json(self, now: float, *, transcript: bool = False) -> dict[str, Any]:
        """The call or chat as Retell would show it at `now`; lists leave the transcript out."""
        shown = self._chat_json(now) if self.is_chat else self._call_json(now)
        if self.tag is not None:
            shown["agent_tag"] = self.tag
        analysis = self.analysis(now)
        if analysis is not None:
            shown["chat_analysis" if self.is_chat else "call_analysis"] = analysis
        if transcript and now >= self.end and not self.is_chat:
            shown["transcript"] = "Agent: Hello, how can I help?\nUser: A modelled caller."
            shown["transcript_object"], shown["transcript_with_tool_calls"] = self._utterances()
        return shown

    def _utterances(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The utterances, and the same with a tool call; utterances say which backup model answered, if one did."""
        said: list[dict[str, Any]] = [
            {"role": "agent", "content": "Hello, how can I help?", "words": []},
            {"role": "user", "content": "A modelled caller.", "words": []},
        ]
        if self.backup_model:
            said[0]["metadata"] = {"backup_model_used": {"backup_model": "gpt-4.1-mini"}}
        call = {"tool_call_id": "tool_1", "name": TOOL, "arguments": "{}"}
        result = {"tool_call_id": "tool_1", "content": "{}", "successful": not self.tool_failed}
        tools: list[dict[str, Any]] = [{"role": "tool_call_invocation", **call}, {"role": "tool_call_result", **result}]
        return said, [*said, *tools]

    def _call_json(self, now: float) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "call_id": self.id,
            "call_type": "phone_call",
            "agent_id": self.agent_id,
            "agent_version": self.version,
            "call_status": self.status(now),
            "direction": self.direction,
            "from_number": self.from_number,
            "to_number": self.to_number,
            "start_timestamp": self.start_ms,
        }
        if now < self.end:
            return shown
        shown["end_timestamp"] = milliseconds(self.end)
        shown["duration_ms"] = self.duration_ms()
        shown["disconnection_reason"] = self.reason
        if self.final_status == "not_connected":
            return shown
        shown["latency"] = {part: _latency(self.latency_ms * share) for part, share in _PARTS.items()}
        seconds = self.end - self.start
        shown["call_cost"] = {
            "combined_cost": self.cost(),
            "total_duration_seconds": round(seconds, 3),
            "total_duration_unit_price": round(self.cents_per_minute / 60, 6),
            "product_costs": [
                {"product": "modelled_voice", "cost": self.cost(), "unit_price": round(self.cents_per_minute / 60, 6)}
            ],
        }
        return shown

    def _chat_json(self, now: float) -> dict[str, Any]:
        """A chat has no direction, number, reason or latency: those exist as filters only."""
        shown: dict[str, Any] = {
            "chat_id": self.id,
            "chat_type": "sms_chat",
            "agent_id": self.agent_id,
            "version": self.version,
            "chat_status": self.status(now),
            "start_timestamp": self.start_ms,
        }
        if now >= self.end:
            shown["end_timestamp"] = milliseconds(self.end)
            shown["chat_cost"] = {"combined_cost": self.cost(), "product_costs": []}
        return shown


_PARTS = {"e2e": 1.0, "llm": 0.6, "tts": 0.25, "asr": 0.1}


def _latency(p50: float) -> dict[str, Any]:
    """One part's latencies in ms."""
    p50 = round(p50, 1)
    return {
        "p50": p50,
        "p90": round(p50 * 1.4, 1),
        "p95": round(p50 * 1.6, 1),
        "p99": round(p50 * 2.0, 1),
        "min": round(p50 * 0.7, 1),
        "max": round(p50 * 2.1, 1),
        "num": 5,
    }
