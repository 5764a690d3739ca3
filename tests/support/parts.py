"""Programs that tests need beside Python: found, or said what to install. CI has them all, so there it fails."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def in_ci() -> bool:
    """Whether this is CI's run, where nothing may be left out for want of a part."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def need(program: str, package: str) -> str:
    """The program's path, from the environment of this Python or the system; `package` is what to install."""
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        missing(f"{program} is not installed ({package})")
    return found


def missing(reason: str) -> NoReturn:
    """Leaves the test out, with the reason; in CI it fails instead."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)
