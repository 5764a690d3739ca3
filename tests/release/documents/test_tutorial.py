"""The tutorial, run command by command in one shell, in an empty folder, beside a real sandbox and a real service."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.release.documents.shell import blocks
from tests.support.command_line import REPOSITORY
from tests.support.parts import need

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
SECONDS = 180
# Ends at the first command that fails; what runs beside it ends with it.
HEAD = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def script(ports: dict[str, int]) -> str:
    """Every block of the tutorial, each told apart by a line, on ports that nobody else uses."""
    parts = [HEAD]
    for i, block in enumerate(blocks(TUTORIAL, "sh"), 1):
        parts.append(f"echo '=== block {i}'\n{block}")
    text = "".join(parts)
    for port, instead in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{instead}")
    text = text.replace("rollout sandbox >", f"rollout sandbox --port {ports['8090']} >")
    return text.replace("rollout serve --migrate", f"rollout serve --migrate --port {ports['8080']}")


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


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    for program in ("bash", "curl"):
        need(program, f"apt-get install {program}")
    folder = tmp_path / "empty"
    folder.mkdir()
    text = script({"8090": free_port(), "8080": free_port()})
    log = tmp_path / "said"
    with log.open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-c", text],
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
    output = log.read_text(errors="replace")
    serve = folder / "serve.log"
    more = serve.read_text(errors="replace")[-2000:] if serve.exists() else "no service was started"
    assert code == 0, f"{output[-4000:]}\n--- the service:\n{more}"
    found = {int(n): part for n, part in re.findall(r"=== block (\d+)\n(.*?)(?==== block|\Z)", output, re.DOTALL)}
    everything = "\n".join(found.values())
    for words in (
        "ok: nothing was written",  # check
        "promoted at 1.3 (100 %)",  # --wait followed the good version to its end
        "exit code 5",  # the bad one did not end as promoted
        "rolled_back",
        "1 number read back at the baseline",
        "PATCH",  # the kit's dry run
        "held",
        "none altered",
    ):
        assert words in everything, f"{words!r} was not said:\n{everything[-6000:]}"
    assert {"frontdesk-v7.yaml", "frontdesk-v10.yaml", "frontdesk-v7.jsonl", "rollout.db"} <= {
        p.name for p in folder.iterdir()
    }


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Ends the shell and everything that it started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    try:
        shell.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def test_every_block_of_the_tutorial_is_run() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(TUTORIAL, "sh")), "a block that is not sh would not be run"
    assert len(blocks(TUTORIAL, "sh")) >= 12
