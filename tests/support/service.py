"""`rollout serve` as a process beside the test."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command_line import PYTHON


class Service:
    """A running service: its process, and what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 60) -> None:
        """Returns when the log has these words; AssertionError when it ends or stays silent."""
        wait_until(lambda: words in self.text() or self.process.poll() is not None, seconds)
        assert words in self.text(), f"the service said no {words!r}:\n{self.text()[-2000:]}"

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM; returns the exit code, TimeoutExpired when it takes longer."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, as a crash of the machine."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def service(
    folder: Path, environment: dict[str, str], *args: str, program: tuple[str, ...] = (PYTHON, "-m", "rollout")
) -> Iterator[Service]:
    """Starts `rollout serve ARGS` in a folder; it is gone when the block ends."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*program, "serve", *args], cwd=folder, env=environment, stdout=file, stderr=file)
    running = Service(process, log)
    try:
        running.wait_for("serving")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def wait_until(true: Callable[[], object], seconds: float = 60, pause: float = 0.05) -> None:
    """Polls until `true` is; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true after {seconds} s"
        time.sleep(pause)
