"""Due rollouts, claimed and driven, rollbacks first; several at a time, each in a thread of a pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import structlog

from rollout.adapters.telemetry import tracing
from rollout.app import App
from rollout.domain.decide.actions import Wait
from rollout.domain.errors import ClaimLost, RolloutError
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.columns import RolloutColumns
from rollout.domain.lifecycle.entries import ServiceEvent
from rollout.domain.lifecycle.machine import Event, HeldReason, Phase, after, allows
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.engine.write_protocol import SERVICE

log = structlog.get_logger(__name__)

MOST_CRASHES = 5
ROLLBACKS = 4  # driven at the same time by threads of their own; further ones use the other workers


class Advance:
    """The tick that takes due rollouts as far as they may go now."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.lease = timedelta(seconds=app.timing.lease)
        self._pool = ThreadPoolExecutor(app.settings.workers, thread_name_prefix="drive")
        self._urgent = ThreadPoolExecutor(ROLLBACKS, thread_name_prefix="rollback")
        self._running: set[Future[None]] = set()
        self._undoing: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self.next_due: float | None = None
        """When the next rollout becomes due, in seconds of Clock.boot, as the last tick saw it."""

    def tick(self, before: Callable[[], None] = lambda: None) -> int:
        """Take the rollouts that are due; return how many were taken. `before` is called before any is."""
        if self._stopping:
            return 0
        waits = self.app.store.next_due_in()
        if waits is None or waits > timedelta(0):
            # a plain read: waiting costs no write lock and no disk
            self.next_due = None if waits is None else self.app.clock.boot() + waits.total_seconds()
            return 0
        self.next_due = None  # further ones wait for a free worker, which wakes us
        before()
        return self._take(self._urgent, self._undoing, ROLLBACKS, urgent_only=True) + self._take(
            self._pool, self._running, self.app.settings.workers, urgent_only=False
        )

    def _take(self, pool: ThreadPoolExecutor, running: set[Future[None]], most: int, *, urgent_only: bool) -> int:
        """Claim as many as this pool has free workers: a claimed rollout must not wait while its lease runs."""
        with self._lock:
            free = most - len(running)
        if free <= 0:
            return 0
        claims = self.app.store.claim(self.app.owner, self.lease, free, urgent_only=urgent_only)
        for claim in claims:
            future = pool.submit(self._drive, claim)
            with self._lock:
                running.add(future)
            future.add_done_callback(partial(self._done, running))
        return len(claims)

    def _done(self, running: set[Future[None]], future: Future[None]) -> None:
        with self._lock:
            running.discard(future)
        self.app.interrupts.woken.set()  # a slot is free: look again at once

    def _drive(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(rollout=claim.rollout_id, epoch=claim.epoch):
            try:
                if claim.crashes >= MOST_CRASHES and self._poisoned(claim):
                    return
                self.app.interrupts.clear(claim)
                with tracing.span("rollout.pass", rollout=claim.rollout_id, epoch=claim.epoch) as more:
                    rollout = self.app.driver.drive(claim)
                    more(phase=str(rollout.phase), position=str(rollout.position))
                log.info("drove", phase=str(rollout.phase), position=str(rollout.position), why=rollout.why)
            except ClaimLost:
                log.info("let go", why="a command or another process took it over")
            except RolloutError as error:
                log.warning("could not continue", error=error.message)
                self._again_later(claim, error.message)
            except Exception as error:
                log.exception("crashed", error=str(error))
                # Do not release it: the claim runs out, and the row keeps the number of crashes.

    def _again_later(self, claim: Claim, why: str) -> None:
        try:
            due = self.app.store.now() + timedelta(seconds=self.app.timing.poll)
            self.app.store.release(claim, Wait(due, "", why), tries=1)
        except RolloutError as error:
            log.warning("could not release the rollout", error=error.message)

    def _poisoned(self, claim: Claim) -> bool:
        """Hold a rollout that keeps crashing, if its phase allows that; a rollback is never given up."""
        store = self.app.store
        phase = store.phase(claim.rollout_id)
        if not allows(phase, Event.HELD):
            return False
        why = f"working on it has crashed {claim.crashes} times in a row"
        values: RolloutColumns = {"phase": after(phase, Event.HELD), "reason": HeldReason.POISON.value}
        if phase is not Phase.HELD:
            values["resume_phase"] = phase
        entry = JournalEntry("held", SERVICE, why, ServiceEvent(None, HeldReason.POISON).to_json())
        store.commit(claim, Change(rollout=values), [entry])
        store.release(claim, Wait(None, "adopt, restore, rollback or stop", why, WaitingFor.PERSON))
        return True

    def stop(self) -> None:
        """Take nothing more and wait for what is under way."""
        self._stopping = True
        self._urgent.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
