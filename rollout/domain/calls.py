"""Calls and chats as gates need them, and the marks up to which they were fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

LATEST_MS = 32_503_680_000_000
"""The year 3000 in milliseconds since 1970: a later time stamp is invalid, and could overflow where it is stored."""


@dataclass(frozen=True, slots=True)
class FetchMark:
    """The next fetch asks from `since`; `trouble`: why the last one failed, from `trouble_since` on."""

    number: str
    channel: str
    since: datetime
    polled_at: datetime
    trouble: str = ""
    trouble_since: datetime | None = None


CustomValue = bool | float | str
"""A value of a custom analysis field; whole numbers are kept as float."""


@dataclass(frozen=True, slots=True)
class CallDetails:
    """Details that only the call itself shows, and no list of calls. None: it does not say.

    tools: by name of the tools that were called: True if a call of it failed, None if that is not known.
    """

    backup_model: bool | None = None
    tools: Mapping[str, bool | None] | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call or chat as far as gates need it, neither transcript nor recording; times are aware UTC.

    figures: "cost" in cents, and latencies in ms such as "llm_p90". details: None until the call itself was read.
    """

    call_id: str
    agent_id: str
    agent_version: int
    number: str
    channel: str
    started_at: datetime | None
    ended_at: datetime | None
    status: str
    disconnection_reason: str | None = None
    e2e_p50_ms: float | None = None
    successful: bool | None = None
    sentiment: str | None = None
    in_voicemail: bool | None = None
    custom: Mapping[str, CustomValue] = field(default_factory=dict)
    analyzed: bool = False
    # When we first saw its analysis; None if it had one when we first saw the call. Not part of the call's data.
    analyzed_at: datetime | None = field(default=None, compare=False)
    figures: Mapping[str, float] = field(default_factory=dict)
    details: CallDetails | None = None
