"""Disk space kept for rollbacks: a file beside the SQLite database, emptied when the disk is full.

The size of the file is its state: full size, the space is reserved; empty, it was given back (truncating needs no space,
creating a file does); no file, nothing is reserved. While it is given back, no step is recorded and so none is sent: the
remaining space is for rollbacks. The file is made again when the disk has twice its size free.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from rollout.adapters.store.engine import Database

GIVEN_BACK = "the disk was full: the space that is left is kept for rollbacks, and no step is sent; free space on it"


class DiskReserve:
    """The reserve of one database; none on PostgreSQL, or with a size of 0 megabytes."""

    def __init__(self, database: Database, megabytes: float = 0.0) -> None:
        self._size = int(megabytes * 1_000_000)
        file = database.file
        self._path = Path(f"{file.path}.ballast") if file is not None and self._size else None

    def _found(self) -> int | None:
        """Bytes of the file; None when there is none."""
        with contextlib.suppress(OSError):
            return None if self._path is None else self._path.stat().st_size
        return None

    @property
    def given_back(self) -> bool:
        """True if the disk was full, and has not had enough room since."""
        return self._found() == 0

    def give_back(self) -> bool:
        """Free the reserved space; False if there was none."""
        if self._path is None or not self._found():
            return False
        try:
            os.truncate(self._path, 0)
        except OSError:
            return False
        return True

    def keep(self) -> str:
        """Make the file, or make it again, if the disk has room; return why it could not be made, or an empty string."""
        found = self._found()
        if self._path is None or found == self._size:
            return ""
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize + (found or 0) < 2 * self._size:
                return f"{self._path}: less than twice its size is free"
            descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            except OSError:
                if found is None:
                    self._path.unlink()
                else:
                    os.ftruncate(descriptor, 0)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return ""
