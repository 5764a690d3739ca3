"""Coroutines in tests: once a browser's test has been in a process, an event loop runs in its main thread."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns, run by an event loop in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class _NoWaiting(selectors.DefaultSelector):
    """A selector that skips the time until the next timer; what it skipped is in `seconds`."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.seconds += timeout
            timeout = 0
        return super().select(timeout)


class _SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time, by a clock that moves only while it sleeps."""

    def __init__(self) -> None:
        self._skipped = _NoWaiting()
        super().__init__(self._skipped)

    def time(self) -> float:
        return self._skipped.seconds


def run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns, run apart, by a loop whose `time()` jumps to the next timer instead of waiting for it.

    Not for a coroutine that waits for a thread: the next timer would overtake it. Nothing outside that loop notices;
    a patched `asyncio.sleep` would reach every service of the same process.
    """

    def run() -> T:
        with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
            return runner.run(coroutine)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
