"""A sign of life for commands that take longer than two seconds, on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AFTER = 2.0  # seconds
AGAIN = 10.0  # seconds between lines where there is no terminal


@contextmanager
def waiting(what: str, *, after: float = AFTER, again: float = AGAIN) -> Iterator[Callable[[str], None]]:
    """While the block runs: nothing for `after` seconds, then a spinner, or lines if the output is no terminal.

    Yields a function that says what is being done now.
    """
    done = threading.Event()
    said = [what]

    def show() -> None:
        if done.wait(after):
            return
        from rollout.adapters.telemetry.logs import is_utf8
        from rollout.interfaces.cli.screen import console, plain

        out = console(stderr=True)
        if not out.is_terminal:
            while True:
                out.print(f"{plain(said[0])} ...")
                if done.wait(again):
                    return
        spinner = "dots" if is_utf8(sys.stderr) else "line"
        with out.status(plain(said[0]), spinner=spinner) as status:
            while not done.wait(0.25):
                status.update(plain(said[0]))

    def say(now: str) -> None:
        said[0] = now

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield say
    finally:
        done.set()
        thread.join(timeout=2)
