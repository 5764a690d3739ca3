"""How many requests may be under way, and how fast they follow: the limiter before every request.

Concurrency and rate shrink by half when Retell throttles (429) and grow back by one per round of
good answers. A rollback's requests go first, keep a share of their own and wait for no pause.
Retell publishes no numbers for its limits, so the ceiling is ours to set and the rest is learned.
"""

from __future__ import annotations

from threading import Condition, Lock

from rollout.ports import Clock

LONGEST_PAUSE = 300.0  # seconds; a longer Retry-After is not believed
_SHRINK_EVERY = 1.0  # a burst of 429s that were under way together is one sign, not thirty
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0  # seconds, when a 429 does not say how long
_BURST = 0.05  # seconds of unused rate that may be caught up


class Pace:
    """A limiter for one API key in one process. `rate` is requests per second, 0 for no limit."""

    def __init__(self, clock: Clock, *, concurrency: int, rate: float = 0.0) -> None:
        self._clock = clock
        self._ceiling, self._fastest = concurrency, rate
        self._limit, self._rate = float(concurrency), rate
        self._under_way = {False: 0, True: 0}  # by urgency
        self._urgent_waiting = 0
        self._next_at = self._paused_until = self._shrunk_at = -LONGEST_PAUSE
        self._throttled = 0  # 429s in a row
        lock = Lock()
        self._turn = {False: Condition(lock), True: Condition(lock)}
        self._lock = lock

    @property
    def limit(self) -> int:
        """Requests that may be under way now, rollbacks not counted."""
        return int(self._limit)

    def enter(self, *, urgent: bool, until: float) -> float | None:
        """Wait for a turn until `until` (seconds of Clock.boot).

        None: go, and call `leave` afterwards. A number: there is no turn in time; ask again after so
        many seconds. A wait that is known to be too long is refused at once.
        """
        with self._lock:
            self._urgent_waiting += urgent
            try:
                while True:
                    now = self._clock.boot()
                    wait = self._wait(now, urgent)
                    if wait == 0:
                        self._under_way[urgent] += 1
                        if self._rate:
                            self._next_at = max(self._next_at, now - _BURST) + 1 / self._rate
                        return None
                    if now >= until or (wait is not None and now + wait > until):
                        self._turn[urgent].notify()  # the wake-up we may have had belongs to another
                        return max(wait or 0.0, 0.05)
                    if wait is None:
                        self._turn[urgent].wait(until - now)
                    else:
                        self._sleep(wait)
            finally:
                self._urgent_waiting -= urgent
                if urgent and not self._urgent_waiting:
                    self._turn[False].notify_all()

    def leave(self, status: int | None, retry_after: float | None = None, *, urgent: bool) -> None:
        """The request is over: with this HTTP status, or None when there was no answer."""
        with self._lock:
            self._under_way[urgent] -= 1
            if status == 429:
                self._shrink(retry_after)
            elif status is not None and status < 500:
                self._throttled = 0
                self._limit = min(float(self._ceiling), self._limit + 1 / self._limit)
                if self._rate:
                    self._rate = min(self._fastest, self._rate + 1 / self._rate)
            self._turn[self._urgent_waiting > 0].notify(2 if self._limit < self._ceiling else 1)

    def _wait(self, now: float, urgent: bool) -> float | None:
        """0: go now. A number: seconds to sleep first. None: until another request is over."""
        if urgent:
            # a share of its own, as large as the ceiling: forward work that hangs cannot fill it
            if self._under_way[True] >= self._ceiling:
                return None
        else:
            if self._urgent_waiting or sum(self._under_way.values()) >= int(self._limit):
                return None
            if now < self._paused_until:
                return self._paused_until - now
        return max(0.0, self._next_at - now) if self._rate else 0.0

    def _shrink(self, retry_after: float | None) -> None:
        now = self._clock.boot()
        if now - self._shrunk_at >= _SHRINK_EVERY:
            self._shrunk_at = now
            self._throttled += 1
            self._limit = max(1.0, self._limit / 2)
            self._rate = max(self._fastest / 64, self._rate / 2)
        if retry_after is None:
            retry_after = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (self._throttled - 1))
        self._paused_until = max(self._paused_until, now + min(retry_after, LONGEST_PAUSE))

    def _sleep(self, seconds: float) -> None:
        self._lock.release()
        try:
            self._clock.sleep(seconds)
        finally:
            self._lock.acquire()
