"""One action on a fleet, chunk by chunk: the next is begun while the last requests of the one before are under way.

A chunk is as large as fits into the send window (P4 of docs/reliability.md). Between its requests lie a reading,
a record of intents, a reading back and a record of outcomes; with one chunk after the other Retell would be idle
for all of these. So when a chunk is nearly through (the lane says so, and only where Retell is far enough away for
it to pay), the next one is begun beside it: other numbers, under the same claim. A chunk with a trouble is the
last; what is left of the fleet is decided anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

from rollout.delivery import Delivery
from rollout.domain.records import Claim
from rollout.domain.state import Rollout, Target

FILLED = 0.8  # of the send window; what does not leave in time goes with the next chunk
LONG = (
    0.6  # seconds of sending; an action that takes longer goes in two chunks at least, so that they overlap
)

Deliver = Callable[[Rollout, Claim, tuple[Target, ...], Callable[[], None]], Delivery]


class Chunks:
    """How large chunks are, learned from what was sent, and the threads that overlap them. Safe for threads."""

    def __init__(self, send_window: float, size: int, most: int) -> None:
        self._window, self.size, self._most = send_window, size, most
        self._rate: float | None = None  # requests a second of the last chunk
        # A rollback's chunks stand in no line behind those of steps. As many as drivers have under way.
        self._pools = {
            undoes: ThreadPoolExecutor(64, thread_name_prefix="chunk-back" if undoes else "chunk")
            for undoes in (False, True)
        }

    def close(self) -> None:
        """Lets the threads end."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def run(
        self,
        rollout: Rollout,
        held: Claim,
        targets: tuple[Target, ...],
        deliver: Deliver,
        first: int | None = None,
    ) -> list[Delivery]:
        """Delivers to the targets in their order: the first chunk in this thread, and those that the lanes let begin
        beside it in others.

        `first`: the size of the first chunk, for an action whose first request must leave at once. Returns what
        each chunk did, in its order; raises what one of them raised, once all of them have ended.
        """
        pool = self._pools[rollout.rollback_at is not None]
        left = deque(targets)
        begun: deque[Future[Delivery]] = deque()
        lock = threading.Lock()
        stopped = threading.Event()

        def take(size: int) -> tuple[Target, ...]:
            return tuple(left.popleft() for _ in range(min(size, len(left))))

        def begin() -> None:
            with lock:
                if left and not stopped.is_set():
                    chunk = take(self._size_for(len(targets)))
                    begun.append(pool.submit(copy_context().run, deliver, rollout, held, chunk, begin))

        found: list[Delivery] = []
        failed: BaseException | None = None
        work: Callable[[], Delivery] = partial(
            deliver, rollout, held, take(first or self._size_for(len(targets))), begin
        )
        while True:
            try:
                found.append(work())
                if not found[-1].is_clean:
                    stopped.set()
                if first is None or len(found) > 1:
                    self._learn(found[-1])
            except BaseException as error:  # noqa: BLE001 - raised below, once nothing is under way any more
                stopped.set()
                failed = failed or error
            if not begun:
                break
            work = begun.popleft().result
        if failed is not None:
            raise failed
        return found

    def _size_for(self, count: int) -> int:
        long = self._rate is not None and count / self._rate > LONG
        return min(self.size, -(-count // 2)) if long else self.size

    def _learn(self, done: Delivery) -> None:
        if done.unsent and not done.sent:
            self.size = max(1, self.size // 2)
        elif done.seconds > 0:
            # What was sent fitted; a part of the window is kept for a slower moment.
            self._rate = done.sent / done.seconds
            fits = int(self._rate * self._window * FILLED)
            self.size = max(1, min(self._most, fits, self.size * 4))
