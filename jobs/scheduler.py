"""The ticks, by APScheduler, which only this module imports. What is due is in our own tables.

A tick that is late, skipped or lost is a delay, never a loss.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import scipy.special  # noqa: F401 - what judges imports it late; loaded here, no rollout's first gate waits for it
import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.schedulers.background import BackgroundScheduler

from jobs import anchors
from jobs.advance import Advance
from jobs.anchors import Anchors
from jobs.drift import Drift
from jobs.kits import EVERY_SECONDS, Kits
from jobs.notify import Notify
from jobs.observe import Observe
from jobs.prune import Prune
from rollout.adapters.store.signals import Listener
from rollout.adapters.telemetry import tracing
from rollout.app import App
from rollout.domain.backoff import Backoff
from rollout.domain.errors import NotReachable, RolloutError
from rollout.settings import traces_wanted

log = structlog.get_logger(__name__)

_LONGEST_SLEEP = 0.5  # seconds until a signal of the system or a lost wake-up is noticed
# Seconds between two ticks that fail. A command, or a database that answers again, starts the next one at once.
LONGEST_PAUSE = 5.0
LONGEST_PAUSE_OF_JOBS = 30.0
BEAT_EVERY = 5.0  # seconds; a process without a beat for heartbeats.ALIVE_WITHIN counts as gone

_NAMES = {EVENT_JOB_ERROR: "errors", EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "overlaps"}


class Scheduler:
    """The ticks: started, counted when they fail, and stopped once everything under way is finished."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.advance = Advance(app)
        self.drift = Drift(app)
        self.observe = Observe(app, app.calls) if app.calls is not None else None
        self.prune = Prune(app)
        self.kits = Kits(app)
        self.anchors = Anchors(app)
        self.notify = Notify(app)
        self.counts: Counter[str] = Counter()
        self.last_good: float | None = None
        self.last_error = ""
        self._ticks = 0
        self._beats = 0
        self._beat_due = 0.0  # Clock.boot
        self._stopping = threading.Event()
        self._waker = threading.Thread(target=self._wake, name="waker", daemon=True)
        self._listener = Listener(app.database, self._heard)
        # With the default misfire grace of one second, late jobs are dropped; None runs them late.
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(self._count, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._tick_lock = threading.Lock()
        self._backoff = Backoff(app.settings.tick_seconds, max(LONGEST_PAUSE, app.settings.tick_seconds))

    def start(self) -> None:
        """Start ticking; the first ticks come at once."""
        settings = self.app.settings
        for name, seconds, job in (
            ("advance", settings.tick_seconds, self.tick_by_clock),
            ("drift", settings.drift_seconds, self.guarded("drift", settings.drift_seconds, self.drift.tick)),
            ("prune", settings.prune_seconds, self.guarded("prune", settings.prune_seconds, self.prune.tick)),
            ("notify", settings.notify_seconds, self.guarded("notify", settings.notify_seconds, self.notify.tick)),
        ):
            self._scheduler.add_job(job, "interval", seconds=seconds, id=name)
        if settings.kit_dir is not None:
            sweep = self.guarded("kits", EVERY_SECONDS, self.kits.tick)
            self._scheduler.add_job(sweep, "interval", seconds=EVERY_SECONDS, id="kits")
        # Prune first a minute from now, so that a service that restarts every night prunes, too.
        first = self.app.clock.now() + timedelta(seconds=min(60.0, settings.prune_seconds))
        self._scheduler.modify_job("prune", next_run_time=first)
        note = self.guarded("anchors", anchors.EVERY, self.anchors.tick)
        self._scheduler.add_job(note, "interval", seconds=anchors.EVERY, id="anchors", next_run_time=first)
        if self.observe is not None:
            fetch = self.guarded("observe", settings.observe_seconds, self.observe.tick)
            self._scheduler.add_job(fetch, "interval", seconds=settings.observe_seconds, id="observe")
        self.notify.warm()
        tracing.start(traces_wanted())
        try:
            self._greet()
        except NotReachable as error:
            # If this process stopped responding inside a transaction, the server has ended its session. A new session
            # works; if the database is really gone, the second try says so.
            log.warning("the database is asked again", error=error.message)
            self._greet()
        self._scheduler.start()
        self._waker.start()
        self._listener.start()
        self.tick()

    def _greet(self) -> None:
        """Check and log what concerns the whole process, once, before anything is driven."""
        self._look_back()
        self._beats = self.app.store.heartbeats.beat(self.app.owner, started=True)
        if reason := self.app.store.disk_reserve.keep():
            log.warning("no disk space is reserved for rollbacks", reason=reason)
        if advice := self.app.store.heartbeats.durability():
            log.warning("the database may lose confirmed commits", advice=advice)
        for trouble in self.app.database.sessions():
            log.warning("the database's sessions have the wrong settings", trouble=trouble)

    def tick_by_clock(self, patience: float = 0.0) -> None:
        """Do a `tick`, unless the last one failed a moment ago."""
        if self._backoff.left(self.app.clock.boot()) <= 0:
            self.tick(patience)

    def tick(self, patience: float = 0.0) -> None:
        """One look at what is due; none when one is under way that does not end within `patience` seconds.

        Called by the clock, and at once when a command changes something.
        """
        if self._stopping.is_set() or not self._tick_lock.acquire(timeout=patience):
            return
        try:
            self._ticks += 1
            if self.app.clock.boot() >= self._beat_due:
                trouble = self.last_error or self.notify.trouble
                self._look_back()
                self._beats = self.app.store.heartbeats.beat(self.app.owner, ticks=self._ticks, trouble=trouble)
                self._beat_due = self.app.clock.boot() + BEAT_EVERY
                self.app.store.disk_reserve.keep()
                self.app.adjust()
            self.advance.tick(before=self._look_back)
            self.app.store.heartbeats.require_same()  # also when nothing is due; rollbacks have been taken by now
            self.last_good = self.app.clock.boot()
            self.last_error = ""
            self._backoff.succeeded()
        except RolloutError as error:
            self._failed(error.message)
            log.warning("tick failed", error=error.message)
        except Exception as error:
            # Keep this thread alive: what fails now may work a second later.
            self._failed(f"a look at what is due ended with {type(error).__name__}; the log says where")
            log.exception("tick crashed", error=type(error).__name__)
        finally:
            self._tick_lock.release()

    def _failed(self, why: str) -> None:
        self.counts["errors"] += 1
        self.last_error = why
        self._backoff.failed(self.app.clock.boot())

    def _heard(self, signal: str) -> None:
        try:
            self.app.heard(signal)
        except RolloutError as error:
            log.warning("a signal was not handled", signal=signal, error=error.message)

    def _look_back(self) -> None:
        """Check first that the database has not lost commits: driving a rollout on lost intents would be unsafe."""
        beats, elsewhere = self.app.store.heartbeats.lineage()
        if beats < self._beats or elsewhere:
            concerned = self.app.store.heartbeats.rearm(timedelta(seconds=self.app.timing.horizon))
            log.warning(
                "the database went back in time",
                beats=beats,
                before=self._beats,
                another_cluster=elsewhere,
                rearmed=concerned,
            )
            self.counts["went_back"] += 1
            self._beats = beats

    def _wake(self) -> None:
        """Ticks when a command changes something, a place becomes free, or the next rollout becomes due."""
        woken = self.app.interrupts.woken
        while not self._stopping.is_set():
            due = self._due_in()
            if woken.wait(timeout=min(_LONGEST_SLEEP, due)):
                woken.clear()
                self.tick(_LONGEST_SLEEP)
            elif due <= _LONGEST_SLEEP:
                # One tick for each due moment: after one that fails or hangs, only the clock's ticks continue, until one
                # of them finds out when the next rollout becomes due.
                self.advance.next_due = None
                self.tick_by_clock(_LONGEST_SLEEP)

    def _due_in(self) -> float:
        """Seconds until the next rollout becomes due, as far as this process knows from its last tick."""
        due = self.advance.next_due
        now = self.app.clock.boot()
        return _LONGEST_SLEEP * 2 if due is None else max(0.0, due - now, self._backoff.left(now))

    def guarded(self, name: str, seconds: float, job: Callable[[], int]) -> Callable[[], None]:
        """A job for the clock, every `seconds`; after failures it skips more and more of its turns."""
        backoff = Backoff(seconds, max(LONGEST_PAUSE_OF_JOBS, seconds))
        early = min(1.0, seconds / 2)  # the clock is not exact: run a job that is nearly due

        def run() -> None:
            clock = self.app.clock
            if backoff.left(clock.boot()) > early:
                return
            try:
                job()
            except RolloutError as error:
                self.counts[f"{name}_errors"] += 1
                log.warning("job failed", job=name, error=error.message)
                backoff.failed(clock.boot())
            except Exception:
                backoff.failed(clock.boot())
                raise  # a mistake of ours: APScheduler counts it and says where
            else:
                backoff.succeeded()

        return run

    def _count(self, event: Any) -> None:
        self.counts[_NAMES[event.code]] += 1

    def stop(self) -> None:
        """Take nothing more, wait for what is under way, and remove this process's heartbeat."""
        self._stopping.set()
        if self._scheduler.running:  # not if the start itself failed: its error must be reported
            self._scheduler.shutdown(wait=True)
        self._listener.stop()
        self.advance.stop()
        if self.observe is not None:
            self.observe.stop()
        self.notify.stop()
        tracing.stop()
        try:
            self.app.store.heartbeats.forget(self.app.owner)
        except RolloutError as error:
            log.warning("could not sign off", error=error.message)
