"""Values that the domain, the engine and the adapters exchange: a claim, a journal entry, a command's request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from rollout.domain.lifecycle.changes import Change


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of `owner` to drive one rollout until `until`, at the epoch this claim was given.

    `crashes` counts claims since the last one that ended in a release.
    """

    rollout_id: str
    epoch: int
    owner: str
    until: datetime
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry for the journal: who did what and why. `data` is JSON-able."""

    kind: str
    actor: str
    reason: str = ""
    data: Mapping[str, Any] | None = None


class CommandEffect(NamedTuple):
    """The effect of a command on a rollout: its change, the journal entry, and the sentence for `show`."""

    change: Change
    entry: JournalEntry
    why: str


@dataclass(frozen=True, slots=True)
class Request:
    """A command's identity: the same id from the same actor gets the first answer again.

    `digest` is of what was asked, so that an id used for something else is noticed.
    """

    actor: str
    id: str
    command: str
    digest: str
