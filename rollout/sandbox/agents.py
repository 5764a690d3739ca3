"""Agents, their versions, and the outcomes of each version's calls.

Shapes follow Retell's AgentResponse; behaviour is ours and never appears in an answer of the Retell API.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

ENGINES = {"retell-llm": ("llm_id", "llm"), "conversation-flow": ("conversation_flow_id", "flow")}
"""Kinds of response engine that Retell keeps: the field of their id, and how the ids begin."""
_SHARES = (
    "success",
    "hard_error",
    "negative",
    "voicemail",
    "not_connected",
    "unjudged",
    "early_hangup",
    "transferred",
    "backup_model",
    "tool_failed",
    "test_pass",
    "test_error",
)
_SIZES = (
    "latency_p50_ms",
    "latency_sigma",
    "duration_s",
    "duration_sigma",
    "analysis_delay_s",
    "cents_per_minute",
    "test_s",
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The behaviour of calls to one agent version. Shares are probabilities 0..1, times seconds unless named."""

    success: float = 0.9
    """Share judged successful; a call with a hard error never is."""
    hard_error: float = 0.01
    """Share that ends by a fault of the agent or the engine."""
    negative: float = 0.05
    """Share with negative sentiment."""
    voicemail: float = 0.0
    not_connected: float = 0.0
    """Share that never connects (outbound: nobody answers)."""
    unjudged: float = 0.0
    """Share whose analysis leaves out success and sentiment."""
    latency_p50_ms: float = 800.0
    """Median over calls of a call's own p50 end-to-end latency."""
    latency_sigma: float = 0.25
    """Spread of the lognormal latency."""
    duration_s: float = 90.0
    """Median length of a call."""
    duration_sigma: float = 0.5
    analysis_delay_s: float = 20.0
    """Longest time from the end of a call to its analysis; at least half of it passes."""
    early_hangup: float = 0.0
    """Share of calls in which the caller hangs up within ten seconds."""
    transferred: float = 0.0
    """Share of calls that are transferred to somebody else."""
    cents_per_minute: float = 7.0
    custom: Mapping[str, float | Sequence[Sequence[Any]]] = field(default_factory=dict)
    """Custom analysis fields: true with the given probability, or pairs of a value of any kind and its probability."""
    backup_model: float = 0.0
    """Share of calls in which a backup model answered; only get-call tells."""
    tool_failed: float = 0.0
    """Share of calls in which a tool call failed; only get-call tells."""
    test_pass: float = 0.95
    """Share of simulated test runs that pass, of those that do not end in an error."""
    test_error: float = 0.0
    """Share of simulated test runs that Retell itself cannot finish."""
    test_s: float = 20.0
    """Longest time of a simulated test run; at least half of it passes."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} {value} is not a probability: write a number from 0 to 1")
        for name in _SIZES:
            value = getattr(self, name)
            if value < 0:
                raise ValueError(f"{name} {value} is negative: write 0 or more")
        if self.latency_p50_ms == 0 or self.duration_s == 0:
            raise ValueError("latency_p50_ms and duration_s must be more than 0")
        for name, chances in self.custom.items():
            if isinstance(chances, Sequence) and not _is_distribution(chances):
                raise ValueError(f"custom.{name} is no list of pairs of a value and its probability, adding up to 1")


def _is_distribution(pairs: Sequence[Any]) -> bool:
    if isinstance(pairs, str) or not all(isinstance(p, Sequence) and len(p) == 2 for p in pairs):
        return False
    shares = [share for _, share in pairs]
    return all(isinstance(s, int | float) and 0 <= s <= 1 for s in shares) and abs(sum(shares) - 1) < 1e-6


_BEHAVIOUR = {item.name for item in fields(Behaviour)}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an agent."""

    number: int
    is_published: bool = True
    base_version: int | None = None
    title: str | None = None
    modified: int = 0
    """Milliseconds since the epoch."""
    published_order: int = 0
    """Rises with every publication; the greatest is `latest_published`."""
    behaviour: Behaviour = field(default_factory=Behaviour)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields that get-agent shows beside the usual ones, such as voice_id."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Its response engine: `type`, and what get-retell-llm or get-conversation-flow shows of this version."""


@dataclass(slots=True)
class Agent:
    """An agent with its versions by number, and tags that point at versions (None: tag not assigned)."""

    agent_id: str
    name: str
    channel: str = "voice"
    is_suspended: bool = False
    versions: dict[int, Version] = field(default_factory=dict)
    tags: dict[str, int | None] = field(default_factory=dict)
    tag_variables: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tag -> its dynamic variables."""
    modified: int = 0

    @property
    def latest(self) -> Version | None:
        """The version with the greatest number, a draft as well as a published one."""
        return self.versions[max(self.versions)] if self.versions else None

    def resolve(self, reference: object) -> Version | None:
        """The version meant by a number, a tag, `latest`, `latest_published` or nothing; None if none is.

        An existing but unassigned tag means latest (Retell's OpenAPI, AgentVersionReference).
        """
        if isinstance(reference, int):
            return self.versions.get(reference)
        if reference is None or reference == "latest":
            return self.latest
        if reference == "latest_published":
            published = [version for version in self.versions.values() if version.is_published]
            return max(published, key=lambda version: version.published_order, default=None)
        if reference in self.tags:
            assigned = self.tags[str(reference)]
            return self.latest if assigned is None else self.versions.get(assigned)
        return None

    def tags_of(self, version: int) -> list[str]:
        """Tags that point at this version, the latest given first (Retell's preferred tag)."""
        return [tag for tag, number in reversed(self.tags.items()) if number == version]

    def version_json(self, version: Version) -> dict[str, Any]:
        """Retell's AgentResponse as far as a rollout looks at it; required fields are all there."""
        return {
            "agent_id": self.agent_id,
            "version": version.number,
            "base_version": version.base_version,
            "is_published": version.is_published,
            "assigned_tags": self.tags_of(version.number),
            "agent_name": self.name,
            "response_engine": self.engine_of(version),
            "voice_id": "11labs-Adrian",
            "language": "en-US",
            "last_modification_timestamp": version.modified,
            **({"version_title": version.title} if version.title else {}),
            **version.settings,
        }

    def engine_of(self, version: Version) -> dict[str, Any]:
        """The response engine of a version as get-agent refers to it; versions of both have the same numbers."""
        kind = version.engine.get("type", "retell-llm")
        if kind not in ENGINES:
            return {"type": kind, "llm_websocket_url": f"wss://llm.example.com/{self.agent_id}"}
        field_name, prefix = ENGINES[kind]
        return {"type": kind, field_name: f"{prefix}_{self.agent_id}", "version": version.number}

    def engine_json(self, version: Version) -> dict[str, Any]:
        """The JSON of get-retell-llm or get-conversation-flow."""
        reference = self.engine_of(version)
        shown = {name: value for name, value in reference.items() if name != "type"}
        shown |= {name: value for name, value in version.engine.items() if name != "type"}
        if reference["type"] == "retell-llm":
            shown = {"model": "gpt-4.1", "general_prompt": f"You are {self.name}.", **shown}
        else:
            shown = {"global_prompt": f"You are {self.name}.", "nodes": [], **shown}
        return shown | {"is_published": version.is_published, "last_modification_timestamp": version.modified}

    def root_json(self) -> dict[str, Any]:
        """The JSON of get-agent-root: the tags and where they point."""
        return {"agent_id": self.agent_id, "channel": self.channel, "tags": self._tags_json()}

    def _tags_json(self) -> dict[str, Any]:
        return {
            tag: ({} if number is None else {"version": number})
            | ({"dynamic_variables": dict(variables)} if (variables := self.tag_variables.get(tag)) else {})
            for tag, number in self.tags.items()
        }

    def list_json(self) -> dict[str, Any]:
        """One item of `/v2/list-agents`."""
        return {
            "agent_id": self.agent_id,
            "agent_name": self.name,
            "channel": self.channel,
            "is_suspended": self.is_suspended,
            "tags": self._tags_json(),
            "user_modified_timestamp": self.modified,
        }


def version_list_json(version: Version) -> dict[str, Any]:
    """One item of `/list-agent-versions`."""
    item = {
        "version": version.number,
        "is_published": version.is_published,
        "last_modification_timestamp": version.modified,
    }
    extra = {"base_version": version.base_version, "version_title": version.title}
    return item | {key: value for key, value in extra.items() if value is not None}


def read_versions(
    items: Iterable[int | Mapping[str, Any]], known: Mapping[int, Version], modified: int
) -> list[Version]:
    """Versions as the control route gets them: a number, or an object with `version` and behaviour.

    What an object leaves out is kept from the known version of that number. Raises ValueError.
    """
    made: list[Version] = []
    order = max((version.published_order for version in known.values()), default=0)
    for item in items:
        data: dict[str, Any] = dict(item) if isinstance(item, Mapping) else {"version": item}
        number = data.pop("version", None)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"version {number!r} is not a version number: write an integer of 0 or more")
        order += 1
        before = known.get(number)
        old = known.get(number, Version(number))
        changes = {key: data.pop(key) for key in list(data) if key in _BEHAVIOUR}
        for key in ("is_published", "base_version", "title", "settings", "engine"):
            if key in data:
                old = replace(old, **{key: data.pop(key)})
        if data:
            raise ValueError(
                f"version {number}: unknown field {min(data)!r}; known are is_published, "
                f"base_version, title, settings, engine, {', '.join(sorted(_BEHAVIOUR))}"
            )
        publication = before.published_order if before and before.is_published else order
        behaviour = replace(old.behaviour, **changes)
        made.append(replace(old, modified=modified, published_order=publication, behaviour=behaviour))
    return made
