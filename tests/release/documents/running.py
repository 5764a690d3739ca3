"""Runs what a document says in one shell, as a reader would; nothing of it goes on afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.parts import need

SECONDS = 180
# Ends at the first command that fails; what runs beside it ends with it.
_HEAD = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    """The script's exit code, None if it took too long, and all that it said."""
    bash = need("bash", "apt-get install bash")
    log = folder.parent / "said"
    with log.open("wb") as said:
        shell = subprocess.Popen(
            [bash, "-c", _HEAD + script],
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = shell.wait(SECONDS)
        _end(shell)
    return code, log.read_text(errors="replace")


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Ends the shell and everything that it started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    try:
        shell.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
