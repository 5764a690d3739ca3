"""`rollout` run as people run it: in processes of its own, in a folder and an environment that the test owns."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.state import Rollout

PYTHON = sys.executable
REPOSITORY = Path(__file__).parents[2]
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")

# The bounds of the write protocol, scaled down together: the sandbox answers in milliseconds.
QUICK = {
    "ROLLOUT_TICK_SECONDS": "0.1",
    "ROLLOUT_SEND_WINDOW": "0.5",
    "ROLLOUT_REQUEST_DEADLINE": "1",
    "ROLLOUT_LEASE": "2",
    "ROLLOUT_PROVIDER_IDLE": "1",
    "ROLLOUT_PROVIDER_APPLY": "0.5",
    "ROLLOUT_HORIZON_MARGIN": "0.5",
    "ROLLOUT_WATCH_SECONDS": "0.3",
    "ROLLOUT_OBSERVE_SECONDS": "0.5",
    "ROLLOUT_DRIFT_SECONDS": "0.5",
}


@dataclass(frozen=True)
class Done:
    """How a command ended. `cpu` is the processor time it took, in seconds."""

    code: int
    out: str
    err: str
    cpu: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """A terminal that nobody looks at; `path` is where a program opens it."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)  # what is written is what is read
        self.path = Path(os.ttyname(self._theirs))
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Terminal:
        self._reader.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.text()
        os.close(self._ours)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody has it open any more
            while part := os.read(self._ours, 4096):
                self._parts.append(part)

    def text(self) -> str:
        """All that was written, once the programs that write are gone; without colours."""
        if self._theirs != -1:
            os.close(self._theirs)
            self._theirs = -1
            self._reader.join(10)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(self._parts).decode())


class Forks:
    """The process that commands are forked from; started by the first one, and again after one that hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: str, timeout: float) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "tests.support.zygote"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self.stop()
            raise AssertionError(f"no end after {timeout:g} s: {json.loads(request)['args']}")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        """Ends it, and a command that hangs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


class CommandLine:
    """Runs commands in `folder`; `environment` is added to almost nothing."""

    def __init__(self, folder: Path, scratch: Path, forks: Forks) -> None:
        self.folder = folder
        self._scratch = scratch
        self._forks = forks
        self.environment: dict[str, str] = {}

    def use(self, base_url: str, key: str = "key_of_a_test") -> None:
        """Points the commands at a server that speaks Retell's API, with quick bounds."""
        self.environment |= {**QUICK, "ROLLOUT_RETELL_BASE_URL": base_url, "RETELL_API_KEY": key}

    def variables(self, **more: str) -> dict[str, str]:
        """The whole environment of a command."""
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        fixed = {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "default", "TZ": "UTC", "COLUMNS": "200"}
        return {**inherited, **fixed, **self.environment, **more}

    def write(self, name: str, text: str) -> str:
        """A file in the folder; returns its name."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def stored(self, id_: str) -> Rollout:
        """A rollout as the folder's own database has it, without the cost of a command."""
        database = Database(f"sqlite:///{self.folder / 'rollout.db'}", SystemClock())
        try:
            return Store(database).load(id_)[0]
        finally:
            database.close()

    def __call__(
        self,
        *args: str,
        input: str = "",  # noqa: A002 - as subprocess.run calls it
        timeout: float = 60,
        encoding: str = "utf-8",
        **more: str,
    ) -> Done:
        """One command, in a forked process; `encoding` is that of its outputs."""
        files = {}
        for name, text in (("input", input), ("out", ""), ("err", "")):
            files[name] = self._scratch / name
            files[name].write_text(text, encoding="utf-8")
        answer = self._fork(args, files, timeout, encoding, more)
        out, err = (files[name].read_text(encoding=encoding) for name in ("out", "err"))
        return Done(answer["code"], out, err, answer["cpu"])

    def on_terminal(self, width: int, *args: str, timeout: float = 60, **more: str) -> Done:
        """One command whose standard output is a terminal of this width; `out` is without colours."""
        with Terminal() as terminal:
            files = {name: self._scratch / name for name in ("input", "err")}
            for file in files.values():
                file.write_text("", encoding="utf-8")
            variables = {"COLUMNS": str(width), "TERM": "xterm", **more}
            answer = self._fork(args, {**files, "out": terminal.path}, timeout, "utf-8", variables)
            out = terminal.text()
        return Done(answer["code"], out, files["err"].read_text(encoding="utf-8"), answer["cpu"])

    def _fork(
        self, args: tuple[str, ...], files: dict[str, Path], timeout: float, encoding: str, more: dict[str, str]
    ) -> dict[str, Any]:
        environment = self.variables(**more)
        request = {"args": args, "cwd": self.folder, "env": environment, "encoding": encoding, **files}
        return self._forks.ask(json.dumps(request, default=str), timeout)

    def alone(self, *args: str, timeout: float = 60, **more: str) -> Done:
        """One command, in a process that starts from nothing, as a person's does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [PYTHON, "-m", "rollout", *args],
            cwd=self.folder,
            env=self.variables(**more),
            input="",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(done.returncode, done.stdout, done.stderr, cpu)
