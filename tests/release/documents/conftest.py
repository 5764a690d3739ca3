"""The environment of a reader who follows a document."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.command_line import REPOSITORY


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell with `rollout` and python3 on its path, and nothing else of ours."""
    programs = tmp_path / "programs"
    programs.mkdir()
    launcher = programs / "rollout"
    launcher.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.argv[0] = \'rollout\'; import rollout.interfaces.cli; '
        'rollout.interfaces.cli.main()" "$@"\n'
    )
    launcher.chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    return {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path),
        "TZ": "UTC",
        "COLUMNS": "160",
        "PYTHONPATH": str(REPOSITORY),
    }
