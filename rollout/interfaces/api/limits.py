"""Limits on the requests of a token and on failed sign-ins of a source. None of them applies to a rollback.

Everything is bounded: a table that grows with what strangers send would be a way to take the service down.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from rollout.engine.ports import Clock
from rollout.interfaces.api.problems import TooMany

_MOST_KEYS = 5000


class Buckets:
    """Token buckets by key: `rate` requests a second, with bursts of twice as many."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._size = max(1.0, 2 * rate)
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one request; TooMany, with the seconds to wait, when the bucket is empty."""
        now = self._clock.boot()
        with self._lock:
            level, at = self._level.pop(key, (self._size, now))
            level = min(self._size, level + (now - at) * self._rate)
            taken = level >= 1
            self._level[key] = (level - 1 if taken else level, now)
            if len(self._level) > _MOST_KEYS:
                self._level.popitem(last=False)
        if not taken:
            wait = (1 - level) / self._rate
            raise TooMany(
                f"more than {self._rate:g} requests a second by one token; wait {wait:.1f} s",
                retry_after=max(1, round(wait)),
            )


@dataclass(slots=True)
class _Source:
    failures: int
    since: float


class Attempts:
    """Failed sign-ins by source address: 429 beyond some, for that source's failures only.

    A token is checked before this is asked, so nobody can lock out a good one. Nobody is made to wait: a token has 256
    random bits, and a request that waits takes a place that others need.
    """

    WINDOW = 60.0
    MOST = 300

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Forgive everybody."""
        with self._lock:
            self._sources.clear()

    def count(self, source: str) -> int:
        """Note a failure; how many this source has had within the window."""
        now = self._clock.boot()
        with self._lock:
            seen = self._sources.pop(source, None)
            if seen is None or now - seen.since > self.WINDOW:
                seen = _Source(0, now)
            seen.failures += 1
            self._sources[source] = seen
            if len(self._sources) > _MOST_KEYS:
                self._sources.popitem(last=False)
            return seen.failures

    def refuse(self, source: str) -> None:
        """Note a failure; TooMany when there were too many."""
        if self.count(source) > self.MOST:
            raise TooMany("too many wrong tokens from this address; a valid one still works", retry_after=60)


class Throttle:
    """A throttle that lets something happen once in a while per key, and counts how often it was asked meanwhile."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, key: str) -> int:
        """0: not now; else how many times it was asked since it was last let through."""
        now = self._clock.boot()
        with self._lock:
            at, asked = self._seen.pop(key, (None, 0))
            due = at is None or now - at >= self._seconds
            self._seen[key] = (now, 0) if due or at is None else (at, asked + 1)
            if len(self._seen) > _MOST_KEYS:
                self._seen.popitem(last=False)
            return asked + 1 if due else 0
