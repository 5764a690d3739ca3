"""Worker threads, in pools that cannot starve each other: many readers cannot delay a rollback.

Everything that touches the database or Retell runs in one of these; the event loop only moves bytes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import structlog

from rollout.app import App
from rollout.domain.errors import RolloutError
from rollout.interfaces.backend.local import LocalBackend

log = structlog.get_logger(__name__)
T = TypeVar("T")

# pool -> (threads, requests that may wait; None: no limit, for what must never be refused)
POOLS: dict[str, tuple[int, int | None]] = {
    "read": (6, 500),
    "change": (4, 200),
    "retell": (4, 50),  # what asks Retell something before it answers: check, start, adopt, restore
    "look": (4, 50),  # reads of one number from Retell: readers cannot occupy the threads of "retell"
    "model": (1, 4),  # rehearsals: all processor time
    "tests": (2, 2),  # batch tests of an agent that a person waits for: minutes each
    "hooks": (2, 200),
    "urgent": (6, None),  # rollback and pause
    "sign_in": (2, 1000),  # as many as there can be connections: people who guess tokens cannot fill it
    "minor": (1, 200),  # last use, refusals: lost rather than waited for
}


QUIET_SECONDS = 15.0


class Busy(RolloutError):
    """The service is overloaded: try again in a second."""

    status = 503
    exit_code = 4


class WorkerPools:
    """The pools of one process."""

    def __init__(self) -> None:
        self._pools = {name: ThreadPoolExecutor(n, f"api-{name}") for name, (n, _) in POOLS.items()}
        self._waiting = dict.fromkeys(POOLS, 0)
        self._lock = threading.Lock()

    def submit(self, pool: str, work: Callable[[], T]) -> Future[T]:
        """Queue work; Busy when the pool is full."""
        most = POOLS[pool][1]
        with self._lock:
            if most is not None and self._waiting[pool] >= most:
                raise Busy
            self._waiting[pool] += 1

        def run() -> T:
            try:
                return work()
            finally:
                with self._lock:
                    self._waiting[pool] -= 1

        return self._pools[pool].submit(run)

    async def run(self, pool: str, work: Callable[[], T]) -> T:
        """The result of work done in a pool."""
        return await asyncio.wrap_future(self.submit(pool, work))

    def lines(self, pool: str, work: Callable[[Callable[[str], None]], str]) -> AsyncIterator[str]:
        """Begin work that takes minutes; each line that it tells as it comes, and last the line that it returns.

        An empty line comes after every quiet 15 s, so that nobody takes the answer for lost. Busy when the pool is full.
        """
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def tell(line: str | None) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        def run() -> None:
            try:
                tell(work(tell))
            finally:
                tell(None)

        asyncio.wrap_future(self.submit(pool, run)).add_done_callback(lambda f: f.cancelled() or f.exception())
        return _written(lines)

    def later(self, work: Callable[[], object]) -> None:
        """Do something small when there is time; never raises, and is dropped when there is none."""

        def guarded() -> None:
            try:
                work()
            except RolloutError as error:
                log.warning("a note was not kept", error=error.message)

        try:
            self.submit("minor", guarded)
        except (Busy, RuntimeError):
            log.warning("a note was dropped", reason="too many are waiting")

    def stop(self) -> None:
        """Let running work end, and drop the work that waits."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


async def _written(lines: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    while True:
        try:
            line = await asyncio.wait_for(lines.get(), QUIET_SECONDS)
        except TimeoutError:
            line = ""
        if line is None:
            return
        yield line.replace("\n", " ") + "\n"


class Followers:
    """A pool that starts at once to drive the rollbacks ordered here, each only once however many people ask.

    The order is committed before this begins: whatever happens here, the scheduler of any process continues it.
    """

    SECONDS = 20.0

    def __init__(self, app: App) -> None:
        self._backend = LocalBackend(app)
        self._pool = ThreadPoolExecutor(16, "api-rollback")
        self._running: dict[str, Future[dict[str, object]]] = {}
        self._lock = threading.Lock()

    def follow(self, id_: str) -> Future[dict[str, object]]:
        """A future of the rollback's end: the rollout as shown, with `seconds` it took."""
        with self._lock:
            running = self._running.get(id_)
            if running is not None and not running.done():
                return running
            running = self._running[id_] = self._pool.submit(self._follow, id_)
        # Not under the lock: one that has ended by now calls back at once, in this thread.
        running.add_done_callback(lambda f: self._done(id_, f))
        return running

    def _follow(self, id_: str) -> dict[str, object]:
        try:
            return self._backend.follow_rollback(id_, self.SECONDS)
        except RolloutError:
            raise
        except Exception as error:
            log.exception("a rollback was not driven on", rollout=id_, error=type(error).__name__)
            raise

    def _done(self, id_: str, future: Future[dict[str, object]]) -> None:
        with self._lock:
            if self._running.get(id_) is future:
                del self._running[id_]

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
