"""The threads that send: kept between lanes, and as many as the wait for Retell can keep busy.

A thread that waits for an answer costs nothing; one that is ready to run and has to wait for its turn at
the interpreter slows the others down. So the number follows the time an answer takes: three threads for a
server on this machine, all of them for one that is 50 ms away. (Measured with 32 threads and answers of
0.3 ms: 1,700 requests a second; with three: 3,400.)
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context

from rollout.ports import Clock

OWN_TIME = 0.0005  # seconds of processor time that one request costs us, about
LEAST = 3
_SECONDS = 8  # with answers in them


class Crew:
    """Runs one piece of work in several threads. Safe for threads."""

    def __init__(self, concurrency: int, clock: Clock) -> None:
        self._concurrency = concurrency
        self._pools = {
            urgent: ThreadPoolExecutor(
                concurrency, thread_name_prefix="retell-urgent" if urgent else "retell"
            )
            for urgent in (False, True)
        }
        # One lane opens its connections while the threads of another send.
        self._openers = ThreadPoolExecutor(concurrency, thread_name_prefix="retell-open")
        self._clock = clock
        # The quickest of the last answers: an average would count our own queue as Retell's time. And of a
        # while: threads that wait for each other make answers look slow, and that would call for more of them.
        self._quickest: deque[tuple[int, float]] = deque(maxlen=_SECONDS)
        self._lock = threading.Lock()

    def took(self, seconds: float) -> None:
        """Notes how long an answer took."""
        second = int(self._clock.boot())
        with self._lock:
            if not self._quickest or self._quickest[-1][0] != second:
                self._quickest.append((second, seconds))
            elif seconds < self._quickest[-1][1]:
                self._quickest[-1] = (second, seconds)

    @property
    def waits(self) -> bool:
        """Whether Retell is far away: most of a request is waiting, and threads can wait side by side."""
        return self.size(self._concurrency) > self._concurrency // 2

    @property
    def rate(self) -> float | None:
        """Answers a second that all threads get, where Retell is far away; None: it is not, or not known yet."""
        quickest = self._least()
        return None if quickest is None or not self.waits else self._concurrency / quickest

    def answers_in(self, seconds: float, rounds: int) -> int:
        """How many answers all threads get in so many seconds and the time of so many answers."""
        quickest = self._least()
        return (
            0 if quickest is None else int(self._concurrency * (rounds + seconds / max(quickest, OWN_TIME)))
        )

    def _least(self) -> float | None:
        with self._lock:
            return min((seconds for _, seconds in self._quickest), default=None)

    def size(self, most: int) -> int:
        """Threads for so many requests."""
        quickest = self._least()
        if quickest is None:
            return min(most, self._concurrency)
        return min(most, self._concurrency, max(LEAST, math.ceil(quickest / OWN_TIME)))

    def run(self, work: Callable[[], None], most: int, *, urgent: bool = False, opens: bool = False) -> None:
        """Runs `work` in up to `most` threads, this one among them; returns when all have ended.

        `opens`: the work opens connections. Threads that are at work for another lane come when they are free.
        """
        if most <= 0:
            return
        threads = self.size(most)
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
        """Lets the threads end."""
        for pool in (*self._pools.values(), self._openers):
            pool.shutdown(wait=False, cancel_futures=True)
