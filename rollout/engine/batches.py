"""One action on a fleet, batch by batch: the next is begun while the last requests of the one before are under way.

A batch is as large as fits into the send window (P4 of docs/reliability.md). Between its requests lie a reading,
a record of intents, a reading back and a record of outcomes; with one batch after the other Retell would be idle
for all of these. So when a batch is nearly through (the lane says so: few of its requests are left), the next one is
begun beside it: other numbers, under the same claim. What cannot overlap is what lies before the first batch's
requests and after the last one's, so these two are small. A batch with a trouble is the last; what is left of the
fleet is decided anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.engine.write_protocol import BatchWrite

FILLED = 0.8  # of the send window; what does not leave in time goes with the next batch
LONG = 0.6  # seconds of sending; an action that takes longer goes in several batches, so that they overlap
FIRST = 0.25  # seconds of sending in the first batch: as long as the next one needs to be read and recorded
MIDDLE = 0.8  # seconds of sending in one between them: two fit into the send window, one behind the other
LAST = 0.2  # seconds of sending in the last one: as long as what the one before has still to record
ROUNDS = 2  # writes of each connection from which on they show what all connections get through
FIRST_ROUNDS = 8  # writes of each connection in a batch, before anything is known

Deliver = Callable[[Rollout, Claim, tuple[Target, ...], Callable[[], None]], BatchWrite]


class Batches:
    """How large batches are, learned from what was sent, and the threads that overlap them. Safe for threads.

    `concurrency`: requests under way at the same time, at most; `most`: numbers in one batch.
    """

    def __init__(self, send_window: float, concurrency: int, most: int = 1000) -> None:
        self._window, self._most = send_window, most
        self.size = min(most, FIRST_ROUNDS * concurrency)
        self._enough = ROUNDS * concurrency
        self._rate: float | None = None  # writes a second that all connections get through together
        # A rollback's batches stand in no line behind those of steps. As many as drivers have under way.
        self._pools = {
            undoes: ThreadPoolExecutor(64, thread_name_prefix="batch-back" if undoes else "batch")
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
        took: Callable[[BatchWrite], None],
        first: int | None = None,
    ) -> None:
        """Delivers to the targets in their order: the first batch in this thread, and those that the lanes let begin
        beside it in others.

        `took` gets what each batch did, in their order and in this thread, while later ones are under way. `first`:
        the size of the first batch, for an action whose first request must leave at once. Raises what one of them
        raised, once all of them have ended.
        """
        pool = self._pools[rollout.rollback_at is not None]
        left = deque(targets)
        begun: deque[Future[BatchWrite]] = deque()
        lock = threading.Lock()
        stopped = threading.Event()

        def take(size: int) -> tuple[Target, ...]:
            return tuple(left.popleft() for _ in range(min(size, len(left))))

        def begin() -> None:
            with lock:
                if left and not stopped.is_set():
                    batch = take(self._size_for(len(left)))
                    begun.append(pool.submit(copy_context().run, deliver, rollout, held, batch, begin))

        batch = take(first or self._first_of(len(left)))
        work: Callable[[], BatchWrite] = partial(deliver, rollout, held, batch, begin)
        place = sent = 0
        since: float | None = None  # what overlaps shares what goes through: all that was sent since then counts
        failed: BaseException | None = None
        while True:
            try:
                done = work()
                if not done.is_clean:
                    stopped.set()
                if first is None or place > 0:
                    since = done.sent_at - done.seconds if since is None else since
                    sent += done.sent
                    self._learn(done, sent, done.sent_at - since)
                place += 1
                took(done)
            except BaseException as error:  # noqa: BLE001 - raised below, once nothing is under way any more
                stopped.set()
                failed = failed or error
            if not begun:
                break
            work = begun.popleft().result
        if failed is not None:
            raise failed

    def _first_of(self, count: int) -> int:
        """The first batch's size in an action on so many."""
        rate = self._long(count)
        return self.size if rate is None else min(self.size, _lasting(FIRST, rate))

    def _size_for(self, left: int) -> int:
        """The next batch's size: equal parts of what is left, but for a small one at the end."""
        rate = self._long(left)
        if rate is None or left <= (last := _lasting(LAST, rate)):
            return self.size
        parts = -(-(left - last) // min(self.size, _lasting(MIDDLE, rate)))
        return -(-(left - last) // parts)

    def _long(self, count: int) -> float | None:
        """Writes a second, if known and if so many take long enough to be cut into batches that overlap; else None."""
        return None if self._rate is None or count / self._rate <= LONG else self._rate

    def _learn(self, done: BatchWrite, sent: int, seconds: float) -> None:
        """Takes over what a batch shows of the rate.

        Few writes do not keep every connection busy, so one number's 50 ms say nothing against a fleet's 640 a second;
        and refusals come at once. Only what the send window cut off is always a limit.
        """
        if done.unsent and not done.sent:
            self.size = max(1, self.size // 2)
            return
        if seconds <= 0 or not (done.unsent or done.is_clean):
            return
        found = sent / seconds
        if not done.unsent and sent < self._enough and (self._rate is None or found <= self._rate):
            return
        self._rate = found
        # What was sent fitted; a part of the window is kept for a slower moment.
        self.size = max(1, min(self._most, int(found * self._window * FILLED), self.size * 4))


def _lasting(seconds: float, rate: float) -> int:
    return max(1, int(seconds * rate))
