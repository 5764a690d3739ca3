"""Starts, signals and ends the processes of a test; none outlives it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.processes.failpoints import MARK

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """One process that has imported everything, and forks a process of the product for each order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Threads of a numerical library would not survive a fork.
        environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        for name in [n for n in environ if n.startswith(("ROLLOUT_", "RETELL_"))]:
            del environ[name]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.hooked"],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if "ready" not in self._process.stdout.readline():
            raise RuntimeError("the starter of processes did not come up")

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order and its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(self, args: list[str], environ: dict[str, str], folder: Path, name: str) -> Child:
        """Starts `rollout ARGS` with exactly this environment; output goes to files in `folder`."""
        log, out = folder / f"{name}.log", folder / f"{name}.out"
        order = {"args": args, "environ": environ, "folder": str(folder), "log": str(log), "out": str(out)}
        return Child(self, self.ask(order)["pid"], log, out)

    def close(self) -> None:
        """Kills whatever still runs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Child:
    """One process of the product. `status` is its exit code, negative for a signal, None while it runs."""

    nursery: Nursery
    pid: int
    log: Path
    out: Path
    status: int | None = None

    def wait(self, timeout: float) -> int | None:
        """Its exit code once it has ended; None after `timeout` seconds."""
        if self.poll() is not None:
            return self.status
        descriptor = os.pidfd_open(self.pid)
        try:
            select.select([descriptor], [], [], timeout)
        finally:
            os.close(descriptor)
        return self.poll()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.status is None:
            raw = self.nursery.ask({"poll": self.pid})["status"]
            self.status = None if raw is None else os.waitstatus_to_exitcode(raw)
        return self.status

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing if it has ended (its id is kept until then)."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for its end."""
        self.send(signal.SIGKILL)
        if self.wait(10) is None:
            raise RuntimeError(f"process {self.pid} survived kill -9")

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, and its exit code; fails if that takes longer.

        One that has only just been started does not listen for the signal yet, and is ended by it: that is as
        good an end, and 0, as long as it has said nothing.
        """
        self.send(signal.SIGTERM)
        code = self.wait(timeout)
        if code is None:
            raise RuntimeError(f"process {self.pid} did not end within {timeout} s of SIGTERM: {self.said()}")
        return 0 if code == -signal.SIGTERM and not self.said() else code

    def is_stopped(self) -> bool:
        """Whether it stands still after SIGSTOP."""
        if self.poll() is not None:
            return False
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self.log.read_text() if self.log.exists() else ""

    def printed(self) -> str:
        """What it wrote to stdout so far."""
        return self.out.read_text() if self.out.exists() else ""

    @property
    def reached(self) -> str | None:
        """The failpoint it acted at."""
        _, found, rest = self.said().rpartition(MARK)
        return rest.split("\n")[0] if found else None

    def until_said(self, text: str, timeout: float = 60) -> None:
        """Returns once stderr has this text; fails if it ends or takes longer."""
        until = time.monotonic() + timeout
        while text not in self.said():
            if self.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"process {self.pid} never said {text!r}; it said: {self.said()[-3000:]}")
            time.sleep(0.01)
