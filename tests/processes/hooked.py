"""Starts processes of the product with hooks, quickly: imports everything once, then forks for each.

Reads one JSON object a line: `{"args", "environ", "folder", "log", "out"}` starts `rollout ARGS` and is
answered by its process id; `{"poll": pid}` by its exit status or null. Ends, with all it started, at the
end of its input. Each child is the whole program; nothing but the time for the imports is saved.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.processes import failpoints

_MODULES = (
    "alembic.command",
    "psycopg",
    "rollout.app",
    "rollout.interfaces.backend.local",
    "rollout.interfaces.cli",
    "rollout.interfaces.cli.doctor",
    "rollout.domain.gates.judge",
    "rollout.adapters.retell",
    "rollout.adapters.store.audit",
    "jobs.service",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "rollout.adapters.planfile.yaml_reader",
)


class _Boot:
    """What this process started: pid to wait status, None while it runs."""

    def __init__(self) -> None:
        self.children: dict[int, int | None] = {}

    def poll(self, pid: int) -> int | None:
        if self.children[pid] is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.children[pid] = status
        return self.children[pid]

    def end(self) -> None:
        for pid, status in self.children.items():
            if status is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def main() -> None:
    """Serves orders until the end of input; returns in each child, with the child's arguments set."""
    for module in _MODULES:
        __import__(module)
    boot = _Boot()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            print(json.dumps({"status": boot.poll(order["poll"])}), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _become(order)
            return
        boot.children[pid] = None
        print(json.dumps({"pid": pid}), flush=True)
    boot.end()
    os._exit(0)


def _become(order: dict[str, Any]) -> None:
    for stream, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin = io.StringIO()
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["folder"])
    sys.argv = ["rollout", *order["args"]]


def hook() -> None:
    """Puts in what the environment asks for: a failpoint, a shifted clock, limits of the disk."""
    point = failpoints.Failpoint.read(os.environ)
    if point is not None:
        failpoints.install(point)
    if shift := float(os.environ.get("CLOCK_SHIFT", "0")):
        _shift_clock(shift)
    if limit := int(os.environ.get("FILE_LIMIT", "0")):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _shift_clock(seconds: float) -> None:
    """This process's wall clock is so many seconds ahead of everybody else's."""
    from datetime import timedelta

    from rollout.adapters.clock import SystemClock

    now = SystemClock.now
    SystemClock.now = lambda self: now(self) + timedelta(seconds=seconds)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
    hook()
    warnings.simplefilter("error")
    from rollout.interfaces.cli import main as run

    run()
