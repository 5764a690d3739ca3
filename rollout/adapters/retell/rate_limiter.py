"""The limiter before every request: how many may be under way, and how fast they follow.

Concurrency and rate shrink by half when Retell throttles (429) and grow back by one per round of
good answers. A rollback's requests go first, keep a share of their own and wait for no pause.
Retell publishes no numbers for its limits, so the ceiling is ours to set and the rest is learned.

The account is one, and processes may be many. With `limits` the turns of a rate are dealt to all of them from
one place, a 429 to one is told to all (`adjust`), and the account's concurrency is shared out among them.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Lock

from rollout.adapters.telemetry.logs import Logger
from rollout.domain.errors import RolloutError
from rollout.domain.request_budget import LONGEST_PAUSE, SHRINK_EVERY, SMALLEST, RequestTurns, batch
from rollout.engine.ports import AccountLimits, BudgetState, Clock

_log = Logger("rollout.adapters.retell")

_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0  # seconds, when a 429 does not say how long
_BURST = 0.05  # seconds of unused rate that may be caught up
_DEAL_WAIT = 1.0  # seconds in which another thread has surely been dealt its turns, or asks itself


class RateLimiter:
    """A limiter for one API key in one process.

    `rate` is requests per second, 0 for no limit; `concurrency` is this process's, `account` that of all
    processes together (None: no limit). Without `limits` this process is alone.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        concurrency: int,
        rate: float = 0.0,
        account: int | None = None,
        limits: AccountLimits | None = None,
    ) -> None:
        self._clock = clock
        self._own = self._ceiling = concurrency
        self._account, self._limits = account, limits
        self._fastest = rate
        self._turns: dict[bool, deque[float]] = {False: deque(), True: deque()}  # dealt, and not taken yet
        self._dealing = {False: False, True: False}
        self._limit, self._rate = float(concurrency), rate
        self._under_way = {False: 0, True: 0}  # by urgency
        self._urgent_waiting = 0
        self._queued = {False: 0, True: 0}
        self._next_at = self._paused_until = self._shrunk_at = -LONGEST_PAUSE
        self._throttled = 0  # 429s in a row
        lock = Lock()
        self._turn = {False: Condition(lock), True: Condition(lock)}
        self._lock = lock

    def adjust(self, state: BudgetState) -> None:
        """Apply the current limits of the account, as all processes together have found them."""
        with self._lock:
            if self._account is not None:
                self._ceiling = max(1, min(self._own, self._account // state.services))
            self._limit = min(self._limit, max(1.0, self._ceiling * state.left))
            self._paused_until = max(self._paused_until, self._clock.boot() + state.pause)

    def enter(self, *, urgent: bool, until: float) -> float | None:
        """Wait for a turn until `until` (seconds of Clock.boot).

        None: go, and call `leave` afterwards. A number: there is no turn in time; ask again after so
        many seconds. A wait that is known to be too long is refused at once.
        """
        if urgent:
            with self._lock:
                self._urgent_waiting += 1
        try:
            return self._enter(urgent, until)
        finally:
            if urgent:
                with self._lock:
                    self._urgent_waiting -= 1
                    if not self._urgent_waiting:
                        self._turn[False].notify_all()

    def _enter(self, urgent: bool, until: float) -> float | None:
        queued = False
        while True:
            with self._lock:
                now = self._clock.boot()
                wait = self._wait(now, urgent)
                if wait == 0 and self._queued[urgent] and not queued:
                    wait = None  # others came first; without this, busy senders would starve a read
                undealt = wait == 0 and self._limits is not None and self._rate > 0 and not self._turns[urgent]
                if wait == 0 and not undealt:
                    self._under_way[urgent] += 1
                    self._spend(now, urgent)
                    if self._queued[urgent]:
                        self._turn[urgent].notify()
                    return None
                if wait != 0 and (now >= until or (wait is not None and now + wait > until)):
                    self._turn[urgent].notify()  # we may have used up a wake-up: pass it on
                    return max(wait or 0.0, 0.05)
                if wait is None:
                    queued = True
                    self._queued[urgent] += 1
                    self._turn[urgent].wait(until - now)
                    self._queued[urgent] -= 1
                    continue
                if undealt and self._dealing[urgent]:  # by one thread at a time; the others wait for its turns
                    self._turn[urgent].wait(_DEAL_WAIT)
                    continue
                if undealt:
                    self._dealing[urgent] = True
            if undealt:
                self._deal(urgent)
            else:
                self._clock.sleep(wait)

    def leave(self, status: int | None, retry_after: float | None = None, *, urgent: bool) -> None:
        """The request is over: with this HTTP status, or None when there was no answer."""
        pause: float | None = None
        with self._lock:
            self._under_way[urgent] -= 1
            if status == 429:
                pause = self._shrink(retry_after)
            elif status is not None and status < 500:
                self._throttled = 0
                self._limit = min(float(self._ceiling), self._limit + 1 / self._limit)
                if self._rate:
                    self._rate = min(self._fastest, self._rate + 1 / self._rate)
            self._turn[self._urgent_waiting > 0].notify()  # a request that gets its turn wakes the next
        if pause is not None and self._limits is not None:
            try:
                self._limits.throttled(pause)
            except RolloutError as error:
                _log.warning("the others were not told of a 429", error=error.message)

    def _spend(self, now: float, urgent: bool) -> None:
        if self._turns[urgent]:
            self._turns[urgent].popleft()
        elif self._rate:
            self._next_at = max(self._next_at, now - _BURST) + 1 / self._rate

    def _deal(self, urgent: bool) -> None:
        """Get turns from the shared limits, without the lock; only the thread that set `_dealing` calls this."""
        assert self._limits is not None
        count, rate = batch(self._fastest), self._fastest
        turns: RequestTurns | None = None
        try:
            turns = self._limits.take(count, rate, urgent=urgent)
        except RolloutError as error:
            # Without the database no step is written; a rollback continues at our own rate, as a kit's does.
            _log.warning("turns are dealt by this process alone", error=error.message)
        finally:
            with self._lock:
                now = self._clock.boot()
                began, gap = (max(now, self._next_at), 1 / rate) if turns is None else (now + turns.wait, turns.gap)
                self._next_at = began + count * gap
                self._turns[urgent].extend(began + i * gap for i in range(count))
                self._dealing[urgent] = False
                self._turn[urgent].notify_all()

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
        if self._turns[urgent]:
            return max(0.0, self._turns[urgent][0] - now)
        return max(0.0, self._next_at - now) if self._rate and self._limits is None else 0.0

    def _shrink(self, retry_after: float | None) -> float | None:
        """After a 429. The pause, if this one is not of a burst that was counted already."""
        now = self._clock.boot()
        first = now - self._shrunk_at >= SHRINK_EVERY
        if first:
            self._shrunk_at = now
            self._throttled += 1
            self._limit = max(1.0, self._limit / 2)
            self._rate = max(self._fastest * SMALLEST, self._rate / 2)
        if retry_after is None:
            retry_after = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (self._throttled - 1))
        pause = min(retry_after, LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, now + pause)
        return pause if first else None
