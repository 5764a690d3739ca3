"""Removes ended rollouts that are past their time, and rows of other tables that are past theirs.

With `export_dir` set, a rollout is removed only after its journal was written there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import structlog

from rollout.adapters.store import archive
from rollout.adapters.store.anchors import anchors_of, shared_anchors
from rollout.adapters.store.pruning import BATCH, Retention
from rollout.adapters.store.tokens import AccessStore
from rollout.app import App
from rollout.domain.errors import RolloutError
from rollout.domain.incoming import alerts
from rollout.settings import Settings

log = structlog.get_logger(__name__)

MOST_BATCHES = 500  # of one round: a million rows; the next round continues


def limits(settings: Settings) -> Retention:
    """The settings' limits. What can still be rolled back is kept, whatever `keep_days` says."""
    return Retention(
        rollback=settings.baseline_kept,
        rollouts=max(timedelta(days=settings.keep_days), settings.baseline_kept),
        looks=timedelta(days=settings.keep_looks_days),
        observations=timedelta(days=settings.keep_observations_days),
        requests=timedelta(days=settings.keep_requests_days),
        notices=timedelta(days=settings.keep_notices_days),
        deliveries=timedelta(days=settings.keep_deliveries_days),
        sessions=timedelta(days=settings.keep_sessions_days),
    )


class Prune:
    """The tick that removes everything past its time. Never a live rollout, nor one that can still be rolled back."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.limits = limits(app.settings)

    def tick(self) -> int:
        """One round; returns how many rollouts were removed."""
        store = self.app.store
        removed: list[str] = []
        for _ in range(MOST_BATCHES):
            over = store.pruning.prunable(self.limits.rollouts)
            gone = [id_ for id_ in over if self._remove(id_)]
            removed += gone
            if not over or len(gone) < len(over):  # the rest could not be removed: do not try it again and again
                break
        if removed:
            log.info("pruned", rollouts=len(removed), ids=removed[:20])
        swept = self._deliveries()
        for _ in range(MOST_BATCHES):
            counts = store.pruning.sweep(swept)
            if any(counts.values()):
                log.info("pruned", **{table: count for table, count in counts.items() if count})
            if max(counts.values()) < BATCH:
                break
        return len(removed)

    def _deliveries(self) -> Retention:
        """Forget webhooks by their setting, and alerts by their own time; return the limits for the other tables.

        An alert may keep firing for weeks, and must not be acted on a second time because it was forgotten.
        """
        AccessStore(self.app.database).forget_old("w", self.limits.deliveries)
        return replace(self.limits, deliveries=max(alerts.KEEP, self.limits.deliveries))

    def _remove(self, id_: str) -> bool:
        folder = self.app.settings.export_dir
        try:
            head = None if folder is None else self._export(id_, folder)
            return self.app.store.pruning.remove(id_, self.limits.rollouts, head)
        except RolloutError as error:
            # What cannot be exported is kept, and tried again the next day.
            log.warning("not pruned", rollout=id_, error=error.message)
            return False

    def _export(self, id_: str, folder: Path) -> str:
        entries = self.app.store.history(id_)
        anchors = [*anchors_of(entries), *shared_anchors(self.app.database)]
        archive.save(entries, folder / f"{id_}.jsonl", anchors)
        return entries[-1].hash
