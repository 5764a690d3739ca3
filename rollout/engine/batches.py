"""One action on a fleet, batch by batch: the next one begins while the last requests of the one before are under way.

A batch is as large as fits into the send window (P4 of docs/reliability.md). Besides sending, a batch reads its numbers,
records intents, reads back and records outcomes; with one batch after the other, Retell would be idle during all of
these. So when only a few requests of a batch are left (the session says so), the next one begins beside it, with other
numbers and under the same claim. Nothing can overlap with what the first batch does before its requests, nor with what
the last one does after them, so these two are small. After a batch with a trouble no other one begins, and the rollout
is decided again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.engine.write_protocol import BatchWrite

FILLED = 0.8  # of the send window; writes that are not sent in time go with the next batch
LONG = 0.6  # seconds of sending; an action that takes longer goes in several batches, so that they overlap
FIRST = 0.25  # seconds of sending in the first batch: as long as the next one needs to be read and recorded
MIDDLE = 0.8  # seconds of sending in each batch between them: two in a row fit into the send window
LAST = 0.2  # seconds of sending in the last one: as long as the one before it takes to record
ROUNDS = 2  # writes per connection before they show the rate of all connections
FIRST_ROUNDS = 8  # writes per connection in a batch, before the rate is known

BatchWriter = Callable[[Rollout, Claim, tuple[Target, ...], Callable[[], None]], BatchWrite]


class _Action:
    """Batches of one action: what is left of its targets, and what is under way. Safe for threads."""

    def __init__(
        self,
        targets: Iterable[Target],
        write_batch: Callable[[tuple[Target, ...], Callable[[], None]], BatchWrite],
        size_for: Callable[[int], int],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._left = deque(targets)
        self._write_batch, self._size_for, self._pool = write_batch, size_for, pool
        self._under_way: deque[Future[BatchWrite]] = deque()
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def batches(self, first: int) -> Iterator[Callable[[], BatchWrite]]:
        """A call for each batch, in their order: the first does its work, the others wait for theirs."""
        yield partial(self._write_batch, self._take(first), self._begin_next)
        while self._under_way:
            yield self._under_way.popleft().result

    def stop(self) -> None:
        """Begin no other batch."""
        self._stopped.set()

    def _begin_next(self) -> None:
        with self._lock:
            if self._left and not self._stopped.is_set():
                batch = self._take(self._size_for(len(self._left)))
                run = copy_context().run
                self._under_way.append(self._pool.submit(run, self._write_batch, batch, self._begin_next))

    def _take(self, size: int) -> tuple[Target, ...]:
        return tuple(self._left.popleft() for _ in range(min(size, len(self._left))))


@dataclass
class _Throughput:
    """All that an action has sent: batches that overlap share the connections, so only their sum shows a rate."""

    began: float | None = None
    sent: int = 0
    seconds: float = 0.0

    def add(self, done: BatchWrite) -> None:
        began = done.sent_at - done.seconds
        self.began = began if self.began is None else self.began
        self.sent += done.sent
        self.seconds = done.sent_at - self.began


class Batches:
    """The sizes of batches, learned from what was sent, and the threads that overlap them. Safe for threads.

    `concurrency`: requests under way at the same time, at most; `most`: numbers in one batch.
    """

    def __init__(self, send_window: float, concurrency: int, most: int = 1000) -> None:
        self._window, self._most = send_window, most
        self.size = min(most, FIRST_ROUNDS * concurrency)
        self._enough = ROUNDS * concurrency
        self._rate: float | None = None  # writes a second that all connections get through together
        # Rollbacks have a pool of their own, so they never queue behind steps. Sized for all drivers together.
        self._pools = {
            undoes: ThreadPoolExecutor(64, thread_name_prefix="batch-back" if undoes else "batch")
            for undoes in (False, True)
        }

    def close(self) -> None:
        """Let the threads end."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def run(
        self,
        rollout: Rollout,
        claim: Claim,
        targets: tuple[Target, ...],
        write_batch: BatchWriter,
        took: Callable[[BatchWrite], None],
        first: int | None = None,
    ) -> None:
        """Write to the targets in order: the first batch in this thread, batches that may overlap it in others.

        `took` gets what each batch did, in their order and in this thread, while later ones are under way. `first`:
        the size of the first batch, for an action whose first request must leave at once. Raises what one of them
        raised, once all of them have ended.
        """
        pool = self._pools[rollout.rollback_at is not None]
        action = _Action(targets, partial(write_batch, rollout, claim), self._size_for, pool)
        throughput = _Throughput()
        failed: BaseException | None = None
        for place, batch in enumerate(action.batches(first or self._first_of(len(targets)))):
            try:
                done = batch()
                if not done.is_clean:
                    action.stop()
                if first is None or place > 0:
                    throughput.add(done)
                    self._learn(done, throughput)
                took(done)
            except BaseException as error:  # noqa: BLE001 - raised below, once nothing is under way any more
                action.stop()
                failed = failed or error
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

    def _learn(self, done: BatchWrite, throughput: _Throughput) -> None:
        """Learn the rate from a batch.

        A few writes do not keep every connection busy, so the 50 ms of one number say nothing about a fleet's 640 a
        second; and refusals come at once. Only writes that the send window cut off always show a limit.
        """
        if done.unsent and not done.sent:
            self.size = max(1, self.size // 2)
            return
        sent, seconds = throughput.sent, throughput.seconds
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
