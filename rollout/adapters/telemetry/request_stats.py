"""Counts of this process's requests to Retell, by operation and outcome, with their latencies."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 60.0)  # seconds; the deadline of a request is 15


@dataclass
class Latencies:
    """A histogram: `counts` has one more place than the bounds, for what is longer than all of them."""

    bounds: tuple[float, ...] = BUCKETS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        """Take one value in."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        found, so_far = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found

    def copy(self) -> Latencies:
        """As it is at this moment."""
        return Latencies(self.bounds, list(self.counts), self.total)


class RequestMeter:
    """A meter of requests, for RetellClient's `on_request`. Safe for threads, and cheap: it is called for every request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._latencies: dict[str, Latencies] = {}

    def __call__(self, operation: str, method: str, status: int | None, seconds: float) -> None:
        """One request: `status` None when there was no answer."""
        with self._lock:
            self._counts[operation, method, "none" if status is None else str(status)] += 1
            self._latencies.setdefault(operation, Latencies()).add(seconds)

    def read(self) -> tuple[dict[tuple[str, str, str], int], dict[str, Latencies]]:
        """(how many by operation, method and status; latencies by operation) at this moment."""
        with self._lock:
            return dict(self._counts), {name: found.copy() for name, found in self._latencies.items()}
