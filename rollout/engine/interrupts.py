"""Rollouts that a command has taken away from their driver."""

from __future__ import annotations

import threading
from typing import TypeVar

from rollout.domain.lifecycle.records import Claim

T = TypeVar("T")


class Interrupts:
    """The rollouts that a command has just taken away from a fan-out under way, in this process or in another."""

    MOST = 1000  # of each kind: entries for rollouts that other processes drive are never removed otherwise

    def __init__(self) -> None:
        self._ids: dict[str, bool] = {}
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()
        self.woken = threading.Event()

    def changed(self, id_: str, urgent: bool) -> None:
        with self._lock:
            if urgent:
                self._keep(self._ids, id_, True)
        self.woken.set()

    def taken(self, id_: str, epoch: int) -> None:
        """Note that a command in any process gave the rollout this epoch; a driver with an older one releases it."""
        with self._lock:
            self._keep(self._epochs, id_, max(epoch, self._epochs.get(id_, 0)))
        self.woken.set()

    def _keep(self, known: dict[str, T], id_: str, value: T) -> None:
        """Put the newest last and drop the oldest, whose drive then ends at its next commit, not at its next request."""
        known.pop(id_, None)
        known[id_] = value
        if len(known) > self.MOST:
            del known[next(iter(known))]

    def clear(self, claim: Claim) -> None:
        """Forget earlier interruptions, because a drive under this claim begins."""
        with self._lock:
            self._ids.pop(claim.rollout_id, None)
            if self._epochs.get(claim.rollout_id, 0) <= claim.epoch:
                self._epochs.pop(claim.rollout_id, None)

    def __call__(self, id_: str, epoch: int) -> bool:
        """True if the driver of this rollout under this epoch has been interrupted."""
        return id_ in self._ids or self._epochs.get(id_, 0) > epoch
