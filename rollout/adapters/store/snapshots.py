"""Targets as they were read or written last, kept under the head of their rollout's journal.

A fleet has thousands of targets, and reading them costs more than everything else of a pass. Every change of a
target is in the journal, and its head is a hash over all of them: the same head means the same targets, in
whatever process they were changed. An entry is therefore never stale: it is either present and correct, or absent and
read again. Ended rollouts are left out: they are read too rarely to be worth the memory.
docs/adr/0012-caches.md has what this gains.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import FINAL
from rollout.domain.lifecycle.state import Target

MOST = 25_000  # targets of all rollouts together: some 70 MB at the most


class Head(NamedTuple):
    """The newest journal entry of a rollout: its sequence and its hash."""

    seq: int
    hash: str


class Snapshots:
    """Targets by rollout, the least used dropped first. Safe for threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[str, tuple[Head, Sequence[Target]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rollout_id: str, head: Head) -> Sequence[Target] | None:
        """The rollout's targets at this head of its journal; None: not known."""
        with self._lock:
            kept = self._kept.get(rollout_id)
            if kept is None or kept[0] != head:
                return None
            self._kept.move_to_end(rollout_id)
            return kept[1]

    def put(self, rollout_id: str, head: Head, targets: Sequence[Target]) -> None:
        """Keep what was read together with this head, in one transaction."""
        with self._lock:
            self._drop(rollout_id)
            self._kept[rollout_id] = (head, targets)
            self._size += _room(targets)
            while self._size > self._most:
                self._drop(next(iter(self._kept)))

    def follow(self, rollout_id: str, before: Head, after: Head, change: Change) -> None:
        """Take over a change that was committed between these two heads; keep nothing of a rollout that has ended."""
        if change.rollout.get("phase") in FINAL:
            with self._lock:
                self._drop(rollout_id)
            return
        targets = self.get(rollout_id, before)
        if targets is not None:
            self.put(rollout_id, after, change.targets_after(targets))

    def _drop(self, rollout_id: str) -> None:
        kept = self._kept.pop(rollout_id, None)
        if kept is not None:
            self._size -= _room(kept[1])


def _room(targets: Sequence[Target]) -> int:
    return len(targets) + 1  # a rollout without targets takes some, too
