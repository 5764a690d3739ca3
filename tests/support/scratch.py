"""Folders for what tests write and throw away: in memory, where the system has a file system in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")


def scratch(prefix: str) -> Path:
    """A new folder in memory; in the system's temporary folder where memory is missing or cannot be written.

    It is tried, for a mode says nothing of a file system that is mounted read-only or is full.
    """
    try:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY))
    except OSError:
        return Path(tempfile.mkdtemp(prefix=prefix))
    try:
        (made / "room").write_bytes(b"\0" * _ROOM)
        (made / "room").unlink()
    except OSError:
        _remove(made)
        return Path(tempfile.mkdtemp(prefix=prefix))
    return made


_ROOM = 16 * 1024 * 1024  # a container's /dev/shm may have less


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    folder.rmdir()
