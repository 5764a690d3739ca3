"""`rollout serve`: one process with the scheduler and, unless switched off, the HTTP API and the page."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import structlog

from jobs.scheduler import Scheduler
from rollout.adapters.settings_check import refuse_unusable
from rollout.adapters.store import migrate as migrations
from rollout.adapters.telemetry import logs
from rollout.app import App, build, many_threads_and_objects
from rollout.domain.calls import CallRecord
from rollout.domain.version import __version__
from rollout.engine.rehearse import USUAL_CALLS_PER_DAY, rehearse
from rollout.settings import KeySource, Settings

log = structlog.get_logger(__name__)


def run(settings: Settings, *, http: bool = True, migrate: bool = False) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then finish what is under way and return."""
    logs.set_up(settings.log_level, secrets=settings.secrets)
    KeySource(settings)()  # fail now, not at the first step, if the key is missing
    refuse_unusable(settings)
    os.umask(0o077)
    # A handler interrupts the main thread anywhere. If that is inside Event.wait(), which holds the same lock,
    # Event.set() would never return; SimpleQueue.put() is documented to be safe.
    signals: SimpleQueue[int] = SimpleQueue()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN or name is not signal.SIGHUP:  # under nohup it stays ignored
            signal.signal(name, lambda number, _: signals.put(number))
    app = build(settings)
    many_threads_and_objects()
    # Release the lock of the service only after every connection is closed.
    with contextlib.ExitStack() as held, contextlib.closing(app):
        app.ready()
        if migrate or migrations.has_none_yet(settings):
            app.database.make()
        if app.database.file is not None:
            held.enter_context(app.database.file.only_service())
        if migrate:
            migrations.upgrade(app.database)
        migrations.make_default(app.database, settings)
        migrations.require_current(app.database)
        _serve(app, signals, http=http)


def _serve(app: App, signals: SimpleQueue[int], *, http: bool) -> None:
    settings = app.settings
    scheduler = Scheduler(app)
    server = None
    if http:
        from rollout.adapters.exposition.prometheus import metrics_text
        from rollout.interfaces import dashboard
        from rollout.interfaces.api.server import run_server  # a scheduler alone needs no web framework

        # Collect the figures of a long history once, now, so that the first scrape need not wait.
        threading.Thread(target=_quietly, args=(lambda: metrics_text(app),), daemon=True).start()
        server = run_server(
            app,
            scheduler,
            settings.host,
            settings.port,
            observe=lambda records: _observed(app, records),
            metrics=lambda: metrics_text(app, scheduler),
            rehearse=lambda plan: rehearse(plan, USUAL_CALLS_PER_DAY, calendars=app.calendars, now=app.store.now()),
            pages=dashboard.pages,
        )
        server.start()
    try:
        scheduler.start()
        where = server.url if server else "no HTTP"
        log.info("serving", version=__version__, where=where, owner=app.owner, retell=settings.retell_base_url)
        received = _wait_for(signals)
        log.info("stopping", signal=received)
    finally:
        if server is not None:
            server.stop()
        scheduler.stop()
        log.info("stopped")


def _wait_for(signals: SimpleQueue[int]) -> str:
    """Wait until a signal asks for the end; its name."""
    while True:
        # Wait with a limit: this thread notices a signal that the system gave to another thread (as after SIGSTOP and
        # SIGCONT) only when it wakes.
        with contextlib.suppress(Empty):
            return signal.Signals(signals.get(timeout=0.5)).name


def _quietly(work: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # the request that really needs it reports the error
        work()


def _observed(app: App, records: Sequence[CallRecord]) -> None:
    """Store calls that Retell reported by webhook, and let their rollouts check their gates."""
    if app.store.calls.observe(records):
        drivers = app.store.drivers(sorted({record.number for record in records}))
        if drivers:
            app.store.wake(sorted({owner.rollout_id for owner in drivers.values()}), read_numbers=False)
