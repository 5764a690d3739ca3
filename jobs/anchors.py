"""The heads of all chains written to the log, where whoever can change the database cannot change them."""

from __future__ import annotations

import structlog

from rollout.adapters.store.anchors import all_anchors
from rollout.app import App
from rollout.domain.anchors import Anchor

log = structlog.get_logger(__name__)

EVERY = 3600.0  # seconds
_LINE = 100  # anchors


class Anchors:
    """The regular note: all heads the first time, then those that have moved."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._noted: dict[str, Anchor] = {}

    def tick(self) -> int:
        """One note; returns how many heads it names."""
        now = {anchor.chain: anchor for anchor in all_anchors(self.app.database)}
        moved = [str(anchor) for chain, anchor in now.items() if self._noted.get(chain) != anchor]
        for start in range(0, len(moved), _LINE):
            log.info("anchors", heads=" ".join(moved[start : start + _LINE]))
        self._noted = now
        return len(moved)
