"""The only importer of APScheduler. It carries ticks and nothing else: what is due lives in our tables.

A tick that is late, skipped or lost is a delay, never a loss.
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, timedelta

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.schedulers.background import BackgroundScheduler

from jobs.advance import Advance
from jobs.drift import Drift
from jobs.notify import Notify
from jobs.observe import Observe
from jobs.prune import Prune
from rollout import tracing
from rollout.app import App
from rollout.domain.errors import NotReachable, RolloutError
from rollout.settings import traces_wanted
from rollout.store.signals import Listener

log = structlog.get_logger(__name__)

_LONGEST_SLEEP = 0.5  # seconds; a signal of the system and a lost wake-up are noticed after it

_NAMES = {EVENT_JOB_ERROR: "errors", EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "overlaps"}


class Scheduler:
    """Starts the ticks, counts what went wrong with them, and stops after finishing what is under way."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.advance = Advance(app)
        self.drift = Drift(app)
        self.observe = Observe(app, app.calls) if app.calls is not None else None
        self.prune = Prune(app)
        self.notify = Notify(app)
        self.counts: Counter[str] = Counter()
        self.last_good: float | None = None
        self.last_error = ""
        self._ticks = 0
        self._beats = 0
        self._stopping = threading.Event()
        self._waker = threading.Thread(target=self._wake, name="waker", daemon=True)
        self._listener = Listener(app.database, self._heard)
        # The default misfire grace of one second loses jobs for ever; None runs them late.
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(
            self._count, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )
        self._tick_lock = threading.Lock()

    def start(self) -> None:
        """Starts ticking; the first ticks come at once."""
        settings = self.app.settings
        for name, seconds, job in (
            ("advance", settings.tick_seconds, self.tick),
            ("drift", settings.drift_seconds, self._guarded("drift", self.drift.tick)),
            ("prune", settings.prune_seconds, self._guarded("prune", self.prune.tick)),
            ("notify", settings.notify_seconds, self._guarded("notify", self.notify.tick)),
        ):
            self._scheduler.add_job(job, "interval", seconds=seconds, id=name)
        # A service that is restarted every night must prune, too: the first time is a minute from now.
        first = self.app.clock.now() + timedelta(seconds=min(60.0, settings.prune_seconds))
        self._scheduler.modify_job("prune", next_run_time=first)
        if self.observe is not None:
            fetch = self._guarded("observe", self.observe.tick)
            self._scheduler.add_job(fetch, "interval", seconds=settings.observe_seconds, id="observe")
        # numpy and scipy take a second to import: not at the first gate, with a rollout waiting
        importlib.import_module("rollout.domain.gates")
        self.notify.warm()
        tracing.start(traces_wanted())
        try:
            self._greet()
        except NotReachable as error:
            # A process that stood still inside a transaction had its session ended by the server. With a new one it
            # goes on; a database that is really gone says so a second time.
            log.warning("the database is asked once more", error=error.message)
            self._greet()
        self._scheduler.start()
        self._waker.start()
        self._listener.start()
        self.tick()

    def _greet(self) -> None:
        """What is looked at and said once, before anything is driven."""
        self._look_back()
        self._beats = self.app.store.beat(self.app.owner, started=True)
        if reason := self.app.store.ballast.keep():
            log.warning("no room is kept for rollbacks on a full disk", reason=reason)
        if advice := self.app.store.durability():
            log.warning("the database may lose what it has confirmed", advice=advice)

    def tick(self) -> None:
        """One look at what is due. Called by the clock, and at once when a command changes something."""
        if self._stopping.is_set() or not self._tick_lock.acquire(blocking=False):
            return
        try:
            self._ticks += 1
            if self._ticks % max(1, round(5 / self.app.settings.tick_seconds)) == 1:
                trouble = self.last_error or self.notify.trouble
                self._look_back()
                self._beats = self.app.store.beat(self.app.owner, ticks=self._ticks, trouble=trouble)
                self.app.store.ballast.keep()
                self.app.adjust()
            self.advance.tick(before=self._look_back)
            self.last_good = self.app.clock.boot()
            self.last_error = ""
        except RolloutError as error:
            self.counts["errors"] += 1
            self.last_error = error.message
            log.warning("tick failed", error=error.message)
        finally:
            self._tick_lock.release()

    def _heard(self, signal: str) -> None:
        try:
            self.app.heard(signal)
        except RolloutError as error:
            log.warning("a signal was not followed", signal=signal, error=error.message)

    def _look_back(self) -> None:
        """Before anything is driven: commits that were lost, intents among them, must not be built upon."""
        beats, elsewhere = self.app.store.lineage()
        if beats < self._beats or elsewhere:
            concerned = self.app.store.rearm(timedelta(seconds=self.app.timing.horizon))
            log.warning(
                "the database went back in time",
                beats=beats, before=self._beats, another_cluster=elsewhere, rearmed=concerned,
            )  # fmt: skip
            self.counts["went_back"] += 1
            self._beats = beats

    def _wake(self) -> None:
        """Ticks when a command changes something, a place becomes free, or the next rollout becomes due."""
        woken = self.app.interrupts.woken
        while not self._stopping.is_set():
            due = self._due_in()
            if woken.wait(timeout=min(_LONGEST_SLEEP, due)):
                woken.clear()
                self.tick()
            elif due <= _LONGEST_SLEEP:
                self.tick()

    def _due_in(self) -> float:
        """Seconds until the next rollout becomes due, as far as this process knows from its last tick."""
        due = self.advance.next_due
        return _LONGEST_SLEEP * 2 if due is None else max(0.0, due - self.app.clock.boot())

    def _guarded(self, name: str, job: Callable[[], int]) -> Callable[[], None]:
        def run() -> None:
            try:
                job()
            except RolloutError as error:
                self.counts[f"{name}_errors"] += 1
                log.warning("job failed", job=name, error=error.message)

        return run

    def _count(self, event: object) -> None:
        self.counts[_NAMES[event.code]] += 1  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Takes nothing more, waits for what is under way, and says goodbye."""
        self._stopping.set()
        if self._scheduler.running:  # not when the start itself failed: that error is the one to be told
            self._scheduler.shutdown(wait=True)
        self._listener.stop()
        self.advance.stop()
        if self.observe is not None:
            self.observe.stop()
        self.notify.stop()
        tracing.stop()
        try:
            self.app.store.forget_beat(self.app.owner)
        except RolloutError as error:
            log.warning("could not say goodbye", error=error.message)
