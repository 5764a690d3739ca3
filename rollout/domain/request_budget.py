"""The budget of all processes' requests to Retell: turns at a rate, and the lull after a 429. Pure.

Turns are dealt as in the generic cell rate algorithm: what is kept is when the next turn is free. Rollbacks have
a line of their own that no other work stands in, and push the others' line back by what they take. Turns that
were dealt before stay dealt, so for the length of one deal (`batch`) both together may be above the rate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

LONGEST_PAUSE = 300.0  # seconds; a longer Retry-After is cut to this
RECOVERY = 60.0  # seconds in which what a 429 took away comes back, if no other follows
SMALLEST = 1 / 64  # of a limit is left, however many 429s come
SHRINK_EVERY = 1.0  # seconds; 429s of requests that were under way together count once
_DEAL_SECONDS, _LARGEST_DEAL = 0.2, 50
_UNUSED = 0.05  # seconds of unused turns that may be caught up


@dataclass(frozen=True, slots=True)
class Allowance:
    """Times in seconds since 1970 by the database's clock. `factor` is what was left of the limits at `shrunk_at`."""

    next_at: float = 0.0
    urgent_at: float = 0.0
    factor: float = 1.0
    shrunk_at: float = 0.0
    paused_until: float = 0.0

    @classmethod
    def of(cls, document: Any) -> Self:
        """The allowance of its JSON form; unknown keys of older or newer versions are ignored."""
        known = document if isinstance(document, dict) else {}
        values = {name: known[name] for name in cls.__slots__ if isinstance(known.get(name), int | float)}
        return cls(**values)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RequestTurns:
    """`count` turns for one process: the first in `wait` seconds, each of the others `gap` seconds later."""

    count: int
    wait: float
    gap: float


def batch(rate: float) -> int:
    """The number of turns dealt at once: enough for a fifth of a second, so that dealing costs little."""
    return max(1, min(_LARGEST_DEAL, math.floor(rate * _DEAL_SECONDS)))


def left(a: Allowance, now: float) -> float:
    """The part of the limits, above 0 and at most 1, that 429s have left; it grows back by itself."""
    return min(1.0, a.factor + max(0.0, now - a.shrunk_at) / RECOVERY)


def deal(a: Allowance, now: float, count: int, rate: float, *, urgent: bool) -> tuple[Allowance, RequestTurns]:
    """Take `count` turns at `rate` a second (above 0)."""
    gap = 1 / (rate * left(a, now))
    taken = count * gap
    if urgent:
        first = max(a.urgent_at, now - _UNUSED)
        dealt = replace(a, urgent_at=first + taken, next_at=max(a.next_at, now) + taken)
    else:
        first = max(a.next_at, a.paused_until, now - _UNUSED)
        dealt = replace(a, next_at=first + taken)
    return dealt, RequestTurns(count, max(0.0, first - now), gap)


def throttled(a: Allowance, now: float, pause: float) -> Allowance:
    """After a 429 that asks for a pause of so many seconds: half of what is left, at most once a second."""
    paused = max(a.paused_until, now + min(pause, LONGEST_PAUSE))
    if now - a.shrunk_at < SHRINK_EVERY:
        return replace(a, paused_until=paused)
    return replace(a, factor=max(SMALLEST, left(a, now) / 2), shrunk_at=now, paused_until=paused)
