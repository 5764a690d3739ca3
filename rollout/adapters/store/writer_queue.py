"""Writers of one process take turns, urgent ones first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class WriterQueue:
    """A lock with two queues, each first come, first served: urgent callers go before all others. Safe for threads."""

    def __init__(self, patience: float, urgent_patience: float) -> None:
        self._patience = {False: patience, True: urgent_patience}
        self._lock = threading.Lock()
        self._busy = False
        self._lines: dict[bool, deque[threading.Event]] = {True: deque(), False: deque()}

    @contextmanager
    def taken(self, urgent: bool) -> Iterator[None]:
        """Wait for a turn, for `patience` seconds at most; after that the database's own lock decides who waits."""
        mine = threading.Event()
        with self._lock:
            given = not self._busy
            if given:
                self._busy = True
            else:
                self._lines[urgent].append(mine)
        given = given or mine.wait(self._patience[urgent]) or not self._left(urgent, mine)
        try:
            yield
        finally:
            if given:
                self._next()

    def _left(self, urgent: bool, mine: threading.Event) -> bool:
        """Leave the queue; False if the turn was given just now."""
        with self._lock:
            if mine in self._lines[urgent]:
                self._lines[urgent].remove(mine)
                return True
            return False

    def _next(self) -> None:
        with self._lock:
            line = self._lines[True] or self._lines[False]
            if line:
                line.popleft().set()
            else:
                self._busy = False
