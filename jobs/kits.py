"""Removal of kits that are no longer needed: without it, the kits of all rollouts would fill the disk.

Files of rollouts that are not in this database are left alone, because services may share a folder.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import structlog

from jobs.prune import limits
from rollout.app import App

log = structlog.get_logger(__name__)

EVERY_SECONDS = 600.0
AFTER_ROLLBACK = timedelta(hours=1)  # and never before a late write of ours can have landed
_FILE = re.compile(r"rollback-([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.py", re.ASCII)


class Kits:
    """The regular removal of kits that are no longer needed."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.keep = limits(app.settings).rollback
        self.soon = max(AFTER_ROLLBACK, timedelta(seconds=2 * app.settings.horizon))

    def tick(self) -> int:
        """One round; returns how many kits were removed."""
        folder = self.app.settings.kit_dir
        if folder is None or not folder.is_dir():
            return 0
        files = {found[1]: path for path in folder.iterdir() if (found := _FILE.fullmatch(path.name))}
        gone = [files[id_] for id_ in self.app.store.pruning.beyond_kits(list(files), self.keep, self.soon)]
        removed = sum(_removed(path) for path in gone)
        if removed:
            log.info("kits removed", count=removed, left=len(files) - removed)
        return removed


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a kit was not removed", file=path.name, error=error.strerror)
        return False
    return True
