"""Modelled callers: a Poisson stream for each number and channel, drawn from one seed.

Arrivals never depend on the split, and every caller uses the same draws whichever version answers: two runs
with one seed differ only where weights or behaviours differ. Calls are made when somebody looks, up to now.
"""

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

from rollout.sandbox.agents import Agent, Behaviour
from rollout.sandbox.conversations import PEOPLE, Conversation
from rollout.sandbox.numbers import CHANNELS, Number

_NORMAL = NormalDist()
_ERRORS = (
    "error_llm_websocket_lost_connection",
    "error_no_audio_received",
    "error_llm_websocket_runtime",
    "error_retell",
)
VERSION_GONE = "error_retell"
"""How a call ends that is drawn to a version that no longer exists; what Retell does is not documented."""
_NOBODY = Behaviour(hard_error=1, duration_s=0.1, analysis_delay_s=1)


class Draws(NamedTuple):
    """The random draws of one caller: independent numbers, uniform on [0, 1)."""

    entry: float
    bypass: float
    connected: float
    broken: float
    voicemail: float
    judged: float
    success: float
    sentiment: float
    latency: float
    length: float
    analysis: float
    reason: float
    person: float
    custom: float


class Stream:
    """The callers of one number on one channel; `start` in seconds of the sandbox's clock."""

    def __init__(self, number: str, channel: str, seed: int, start: float) -> None:
        self._number = number
        self._channel = channel
        self._name = f"{seed}|{number}|{channel}"
        self._random = random.Random(self._name)
        self._until = start
        self._rate = 0.0  # callers per second
        self._waiting = self._random.expovariate(1.0)  # time to the next caller, were the rate 1
        self._next = math.inf
        self._index = 0

    def generate(self, number: Number, agents: Mapping[str, Agent], now: float) -> Iterator[Conversation]:
        """Calls that start after the last look and not later than `now`, drawn by the present split.

        The caller sees to it that split, agents and rate have not changed since the last look.
        """
        self._set_rate(number.rates.get(self._channel, 0.0) / 3600)
        state = number.state
        while self._next <= now:
            start = self._next
            self._next = start + self._random.expovariate(1.0) / self._rate
            draws = Draws(*[self._random.random() for _ in Draws._fields])
            self._index += 1
            entry = self._drawn_entry(number, draws)
            if entry is None:
                state.unserved[self._channel] = state.unserved.get(self._channel, 0) + 1
                continue
            made = self._conversation(entry, agents, draws, start)
            served = state.served.setdefault(self._channel, {})
            name = f"{made.agent_id}@{made.version}"
            served[name] = served.get(name, 0) + 1
            yield made
        self._until = max(self._until, now)

    def _set_rate(self, rate: float) -> None:
        """Another rate from the last look on; the wait for the next caller is stretched or shortened."""
        if rate == self._rate:
            return
        if self._rate > 0:
            self._waiting = (self._next - self._until) * self._rate
        self._rate = rate
        self._next = self._until + self._waiting / rate if rate > 0 else math.inf

    def _drawn_entry(self, number: Number, draws: Draws) -> Mapping[str, Any] | None:
        """One entry of the split in proportion to the weights, unless a webhook overrides it."""
        if number.bypass is not None and self._channel == "inbound" and draws.bypass < number.bypass["share"]:
            return number.bypass
        entries: list[dict[str, Any]] = number.state.fields.get(CHANNELS[self._channel]) or []
        reached = 0.0
        point = draws.entry * sum(entry["weight"] for entry in entries)
        for entry in entries:
            reached += entry["weight"]
            if point < reached:
                return entry
        return entries[-1] if entries else None

    def _conversation(
        self, entry: Mapping[str, Any], agents: Mapping[str, Agent], draws: Draws, start: float
    ) -> Conversation:
        reference = entry.get("agent_version")
        agent = agents.get(entry["agent_id"])
        version = agent.resolve(reference) if agent else None
        tags = agent.tags_of(version.number) if agent and version else []
        chat = self._channel.endswith("_sms")
        digest = hashlib.blake2s(f"{self._name}|{self._index}".encode(), digest_size=14).hexdigest()
        length, analysed_after, fate = _fate(version.behaviour if version else _NOBODY, draws, chat)
        if version is None:
            fate["reason"] = VERSION_GONE
        return Conversation(
            id=f"{'chat' if chat else 'call'}_{digest}",
            channel=self._channel,
            number=self._number,
            other=f"{PEOPLE}{int(draws.person * 10_000):04d}",
            agent_id=entry["agent_id"],
            version=version.number if version else (reference if isinstance(reference, int) else 0),
            tag=reference if isinstance(reference, str) and reference in tags else (tags[0] if tags else None),
            start=start,
            end=start + length,
            analysed=start + length + analysed_after,
            **fate,
        )


def _normal(draw: float) -> float:
    """A standard normal variable from a uniform one."""
    return _NORMAL.inv_cdf(min(max(draw, 1e-12), 1 - 1e-12))


def _value(chances: float | Sequence[Sequence[Any]], draw: float) -> Any:
    """True with this probability, or the value of the pair that is drawn."""
    if not isinstance(chances, Sequence):
        return draw < chances
    for value, share in chances:
        draw -= share
        if draw < 0:
            return value
    return chances[-1][0]


def _fate(behaviour: Behaviour, draws: Draws, chat: bool) -> tuple[float, float, dict[str, Any]]:
    """Length, time from the end to the analysis (both seconds), and how the conversation turns out."""
    connected = draws.connected >= behaviour.not_connected
    broken = connected and draws.broken < behaviour.hard_error
    voicemail = connected and not broken and not chat and draws.voicemail < behaviour.voicemail
    judged = connected and draws.judged >= behaviour.unjudged
    length = 0.0
    reason = "dial_no_answer"
    if connected:
        length = behaviour.duration_s * math.exp(behaviour.duration_sigma * _normal(draws.length))
        reason = "user_hangup" if draws.reason < 0.6 else "agent_hangup"
    if broken:
        reason = _ERRORS[int(draws.reason * len(_ERRORS))]
    elif voicemail:
        reason = "voicemail_reached"
    sentiment = "Positive" if draws.sentiment > 0.7 else "Neutral"
    if draws.sentiment < behaviour.negative:
        sentiment = "Negative"
    chance = random.Random(draws.custom)
    fate: dict[str, Any] = {
        "final_status": "error" if broken else ("ended" if connected else "not_connected"),
        "reason": reason,
        "latency_ms": behaviour.latency_p50_ms * math.exp(behaviour.latency_sigma * _normal(draws.latency)),
        "successful": (not broken and draws.success < behaviour.success) if judged else None,
        "sentiment": sentiment if judged else None,
        "voicemail": voicemail,
        "custom": {name: _value(behaviour.custom[name], chance.random()) for name in sorted(behaviour.custom)},
        "backup_model": connected and behaviour.backup_model > 0 and chance.random() < behaviour.backup_model,
        "tool_failed": connected and behaviour.tool_failed > 0 and chance.random() < behaviour.tool_failed,
    }
    fate["cents_per_minute"] = behaviour.cents_per_minute
    # Drawn last, and only if asked for, so that the draws of older worlds stay the same.
    if reason in ("user_hangup", "agent_hangup"):
        if behaviour.early_hangup > 0 and chance.random() < behaviour.early_hangup:
            fate["reason"], length = "user_hangup", 10 * chance.random()
        elif behaviour.transferred > 0 and chance.random() < behaviour.transferred:
            fate["reason"] = "call_transfer"
    return length, behaviour.analysis_delay_s * (0.5 + 0.5 * draws.analysis), fate
