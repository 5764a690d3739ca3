"""Every request of the Retell API in the order it was received, with its effect.

The log is the outside witness of a rollout: it is written before the request is judged and completed when
the answer is known or, for late effects, when they happen.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from rollout.sandbox.clock import milliseconds, wall
from rollout.sandbox.messages import Answer, Request

KEPT_ENTRIES = 200_000


@dataclass(slots=True)
class Entry:
    """One request. `at` and `applied_at` are milliseconds of the sandbox's clock, `wall` real seconds."""

    seq: int
    at: int
    wall: float
    method: str
    path: str
    number: str | None
    body: str
    """As received."""
    peer: str
    status: int | None = None
    """Status that was sent; None when no answer was."""
    applied: dict[str, Any] | None = None
    """What the request changed; None when nothing."""
    applied_at: int | None = None
    last_modification_timestamp: int | None = None
    """Of the number, after the change."""
    fault: str | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


class RequestLog:
    """The latest entries; `seq` continues when old ones are dropped or the log is cleared."""

    def __init__(self, kept: int = KEPT_ENTRIES) -> None:
        self.entries: deque[Entry] = deque(maxlen=kept)
        self._seq = 0

    def receive(self, request: Request, now: float) -> Entry:
        """Note a request before anything is done about it."""
        self._seq += 1
        entry = Entry(
            self._seq,
            milliseconds(now),
            wall(),
            request.method,
            request.path,
            request.number,
            request.body.decode(errors="replace"),
            request.peer,
        )
        self.entries.append(entry)
        return entry

    def took_effect(self, entry: Entry, answer: Answer, now: float) -> None:
        """Note what the request changed, if anything."""
        if answer.applied is not None:
            entry.applied = answer.applied
            entry.applied_at = milliseconds(now)
            entry.last_modification_timestamp = answer.timestamp

    def to_json(self, *, since: int = 0, number: str | None = None, method: str | None = None) -> list[dict[str, Any]]:
        """Entries after `since`, optionally of one number or method."""
        return [
            entry.to_json()
            for entry in self.entries
            if entry.seq > since and number in (None, entry.number) and method in (None, entry.method)
        ]
