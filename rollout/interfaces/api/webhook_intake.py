"""Retell's webhooks: verified on arrival, queued, recorded by one thread of their own.

The answer never waits for the database, so it comes within a second whatever the load; when the queue is
full the answer is 429 and Retell sends it again. What is lost with the process, polling finds later.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.adapters.store.tokens import AccessStore
from rollout.domain.calls import CallRecord
from rollout.domain.errors import InputError, RolloutError, Unauthenticated
from rollout.domain.incoming import webhooks
from rollout.engine.ports import Clock
from rollout.interfaces.api.problems import TooMany
from rollout.interfaces.api.strict_json import read_json
from rollout.settings import KeySource, Settings

log = structlog.get_logger(__name__)
Observe = Callable[[Sequence[CallRecord]], None]
MOST_BYTES = 32 * 1024 * 1024
BATCH = 500
BETWEEN = (
    0.5  # seconds from batch to batch: each makes its rollouts look at their gates, which costs more than calls do
)
REPLAY_MEMORY = timedelta(minutes=15)
LIVE_SECONDS = 1.0
PRUNE_SECONDS = 600.0


class WebhookIntake:
    """The queue and its worker; the thread starts with the first webhook."""

    def __init__(
        self, settings: Settings, clock: Clock, queries: InterfaceQueries, access: AccessStore, observe: Observe | None
    ) -> None:
        self._settings, self._clock = settings, clock
        self._queries, self._access, self._observe = queries, access, observe
        self._most = settings.webhook_queue
        self._queue: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._something = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._live: frozenset[str] = frozenset()
        self._live_at: float | None = None
        self._pruned_at = 0.0
        self.counts: Counter[str] = Counter()

    def verify(self, signatures: list[str], body: bytes) -> str:
        """The signature's digest; Unauthenticated for anything but a good one."""
        now_ms = int(self._clock.now().timestamp() * 1000)
        found = webhooks.verify(signatures, body, self._keys(), now_ms)
        if found is None:
            self.counts["refused"] += 1
            raise Unauthenticated("the signature is missing, wrong or too old")
        return found

    def _keys(self) -> list[str]:
        settings = self._settings
        given = [k.get_secret_value() for k in (settings.webhook_key, settings.webhook_key_next) if k]
        if not any(given):
            try:
                given = [KeySource(settings)()]
            except RolloutError:
                return []
        return [key for key in given if key]

    def put(self, digest: str, body: bytes) -> None:
        """Queue a verified body; TooMany when the queue is full."""
        with self._something:
            if len(self._queue) >= self._most or self._bytes + len(body) > MOST_BYTES or self._stopping:
                self.counts["full"] += 1
                raise TooMany("too many webhooks are waiting; send it again later", retry_after=1)
            self._queue.append((digest, body))
            self._bytes += len(body)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self._thread.start()
            self._something.notify()

    def _run(self) -> None:
        clock, last = self._clock, -BETWEEN
        while True:
            with self._something:
                while not self._queue and not self._stopping:
                    self._something.wait()
                self._something.wait_for(lambda: self._stopping, max(0.0, last + BETWEEN - clock.boot()))
                last = clock.boot()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                self._bytes -= sum(len(body) for _, body in batch)
            try:
                self._record(batch)
            except RolloutError as error:
                self.counts["lost"] += len(batch)
                log.warning("webhooks were not recorded", count=len(batch), error=error.message)
            except Exception as error:
                self.counts["lost"] += len(batch)
                log.exception("webhooks were not recorded", error=type(error).__name__)

    def _record(self, batch: list[tuple[str, bytes]]) -> None:
        """New deliveries only; calls of live rollouts' numbers only."""
        calls = []
        for digest, body in batch:
            try:
                call = webhooks.call_of(read_json(body))
            except InputError:
                self.counts["unreadable"] += 1
                continue
            if call is None or call.number not in self._live_numbers():
                self.counts["passed_over"] += 1
                continue
            calls.append(("w" + hashlib.sha256(digest.encode()).hexdigest()[:63], call))
        new = self._access.remember([digest for digest, _ in calls])
        records = []
        for digest, call in calls:
            if digest not in new:
                self.counts["replayed"] += 1
                continue
            new.discard(digest)
            self.counts["taken"] += 1
            records.append(call)
        if records and self._observe is not None:
            self._observe(records)
        now = self._clock.boot()
        if now - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = now
            self._access.forget_old("w", REPLAY_MEMORY)

    def _live_numbers(self) -> frozenset[str]:
        now = self._clock.boot()
        if self._live_at is None or now - self._live_at >= LIVE_SECONDS:
            self._live, self._live_at = frozenset(self._queries.driven_numbers()), now
        return self._live

    def stop(self, seconds: float = 2.0) -> None:
        """Take nothing more and record what waits, for at most `seconds`."""
        with self._something:
            self._stopping = True
            thread = self._thread
            self._something.notify_all()
        if thread is not None:
            thread.join(seconds)
