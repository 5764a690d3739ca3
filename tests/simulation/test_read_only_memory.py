"""The simulation, and whatever else is thrown away, where /dev/shm is missing or cannot be written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.simulation import database
from tests.simulation.database import folder
from tests.support import scratch


@pytest.mark.parametrize("memory", ["/proc", "/nowhere/at/all", "/etc/passwd"], ids=["read-only", "missing", "a file"])
def test_a_folder_in_memory_that_cannot_be_written_is_done_without(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc is what root, too, can make nothing in: its mode says that it could."""
    monkeypatch.setattr(scratch, "MEMORY", Path(memory))
    folder.cache_clear()
    try:
        made = database.folder()
        assert made.parent == Path(tempfile.gettempdir())
        (made / "history.db").write_bytes(b"a page")
        shutil.rmtree(made)
    finally:
        folder.cache_clear()
