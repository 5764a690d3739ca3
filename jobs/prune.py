"""Shortens history: finished rollouts older than the limit, answers to old requests, dead heartbeats."""

from __future__ import annotations

from datetime import timedelta

import structlog

from rollout.app import App

log = structlog.get_logger(__name__)


class Prune:
    """Removes what is past its time. Never a live rollout, nor one that can still be rolled back."""

    def __init__(self, app: App) -> None:
        self.app = app

    def tick(self) -> int:
        """One round; returns how many rollouts were removed."""
        keep = timedelta(days=self.app.settings.keep_days)
        removed = self.app.store.prune(keep, timedelta(days=self.app.settings.rollback_days))
        if removed:
            log.info("pruned", rollouts=removed)
        return removed
