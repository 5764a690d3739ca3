"""The heads of all chains written to the log, where the owner of the database cannot change them."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from rollout.adapters.store.anchors import all_anchors
from rollout.app import App
from rollout.domain.anchors import Anchor

log = structlog.get_logger(__name__)

EVERY = 3600.0  # seconds
AGAIN = timedelta(minutes=10)  # a commit may become visible this long after its own time stamp
_LINE = 100  # anchors


class Anchors:
    """The regular note: all heads the first time, then those that have moved."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._noted: frozenset[Anchor] = frozenset()  # anchors that the next look may find again
        self._since: datetime | None = None

    def tick(self) -> int:
        """One note; returns how many heads it names."""
        next_since = self.app.store.now() - AGAIN
        found = all_anchors(self.app.database, self._since)
        moved = [str(anchor) for anchor in found if anchor not in self._noted]
        for start in range(0, len(moved), _LINE):
            log.info("anchors", heads=" ".join(moved[start : start + _LINE]))
        self._noted, self._since = frozenset(found), next_since
        return len(moved)
