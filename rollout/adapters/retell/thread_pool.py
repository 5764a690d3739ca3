"""The threads that send: kept between sessions, and as many as the setting says, however long answers took so far.

An answer that comes quickly tells nothing about the next: agents, refusals and an edge's 404 take a millisecond where
a phone number takes fifty. A thread that waits costs nothing, and with Retell nearby 32 of them send as much as three.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context


class ThreadPool:
    """A pool that runs one piece of work in up to `concurrency` threads. Safe for threads."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._pools = {
            urgent: ThreadPoolExecutor(concurrency, thread_name_prefix="retell-urgent" if urgent else "retell")
            for urgent in (False, True)
        }
        # One session opens its connections while the threads of another send.
        self._openers = ThreadPoolExecutor(concurrency, thread_name_prefix="retell-open")

    def run(self, work: Callable[[], None], most: int, *, urgent: bool, opens: bool = False) -> None:
        """Run `work` in up to `most` threads, this one among them; return when all have ended.

        `opens`: the work opens connections. Threads that are at work for another session come when they are free.
        """
        threads = min(most, self._concurrency)
        pool = self._openers if opens else self._pools[urgent]
        # With the context of this thread: log lines carry the rollout's id, and spans their parent.
        helping: list[Future[None]] = [pool.submit(copy_context().run, work) for _ in range(threads - 1)]
        try:
            work()
        finally:
            # Those that have not begun are not needed any more: there is nothing left to take.
            running = [future for future in helping if not future.cancel()]
            wait(running)
        for future in running:
            future.result()

    def close(self) -> None:
        """Let the threads end."""
        for pool in (*self._pools.values(), self._openers):
            pool.shutdown(wait=False, cancel_futures=True)
