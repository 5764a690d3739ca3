"""Composition root: settings in, everything wired out. Fakes come in as arguments."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rollout.adapters.clock import SystemClock
from rollout.adapters.metric_sources.poller import Externals
from rollout.adapters.notify import address_problems
from rollout.adapters.store import signals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.adapters.store.limits import SharedLimits
from rollout.adapters.store.repository import Store
from rollout.adapters.telemetry import tracing
from rollout.adapters.telemetry.logs import Logger
from rollout.adapters.telemetry.request_stats import RequestMeter
from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.engine.calendars import Calendars
from rollout.engine.commands import Commands
from rollout.engine.driver import Driver
from rollout.engine.gate_check import GateCheck
from rollout.engine.ports import Agents, Calls, Clock, GateJudge, OpeningHours, PhoneNumbers
from rollout.engine.preflight import VersionLookup, preflight
from rollout.engine.server_limits import ServerLimits
from rollout.engine.write_protocol import Timing, WriteProtocol
from rollout.kit.build import write_kit
from rollout.settings import KeySource, Settings

if TYPE_CHECKING:
    from rollout.adapters.retell import RetellClient

log = Logger(__name__)

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no characters that people confuse on the phone


def new_id() -> str:
    """A rollout's id: 50 random bits, short enough to read aloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


class Interrupts:
    """Which rollouts a command has just taken away from a fan-out under way, in this process or in another."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()
        self.woken = threading.Event()

    def changed(self, id_: str, urgent: bool) -> None:
        with self._lock:
            if urgent:
                self._ids.add(id_)
        self.woken.set()

    def taken(self, id_: str, epoch: int) -> None:
        """A command of any process gave the rollout this epoch; who drives it under an older one lets go."""
        with self._lock:
            self._epochs[id_] = max(epoch, self._epochs.get(id_, 0))
        self.woken.set()

    def clear(self, held: Claim) -> None:
        """A drive under this claim begins: what was before it is no interruption of it."""
        with self._lock:
            self._ids.discard(held.rollout_id)
            if self._epochs.get(held.rollout_id, 0) <= held.epoch:
                self._epochs.pop(held.rollout_id, None)

    def __call__(self, id_: str, epoch: int) -> bool:
        """Whether the driver of this rollout under this epoch has been interrupted."""
        return id_ in self._ids or self._epochs.get(id_, 0) > epoch


@dataclass
class App:
    """Everything wired together for one process."""

    settings: Settings
    clock: Clock
    database: Database
    store: Store
    numbers: PhoneNumbers
    agents: Agents
    calls: Calls | None
    versions: VersionLookup
    commands: Commands
    driver: Driver
    calendars: Calendars
    timing: Timing
    interrupts: Interrupts
    owner: str
    close: Callable[[], None]
    meter: RequestMeter
    adjust: Callable[[], None]
    ready: Callable[[], None]

    def heard(self, signal: str) -> None:
        """Another process (or this one) has committed something that concerns us."""
        if signal == signals.LIMITS:
            self.adjust()
        elif (taken := signals.rollout_of(signal)) is not None:
            self.interrupts.taken(*taken)
        else:
            self.interrupts.woken.set()

    def drive(self, id_: str, until: Callable[[Rollout], bool] = lambda _rollout: False) -> Rollout | None:
        """Claims one rollout, due or not, and drives it now; None when somebody else holds it."""
        held = self.store.claim(self.owner, timedelta(seconds=self.timing.lease), only=id_)
        if not held:
            return None
        self.interrupts.clear(held[0])
        with tracing.span("rollout.pass", rollout=id_, epoch=held[0].epoch):
            return self.driver.drive(held[0], until)


def many_threads_and_objects() -> None:
    """Settings of the interpreter for a process that drives fleets.

    A thread that comes back from the database or from Retell waits so long for the interpreter while another one
    computes: with Python's five milliseconds, answers look slow and floods of requests hold up the drivers. And a
    fleet is many small objects without cycles: looking through them again and again finds nothing.
    """
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def write_kits(settings: Settings, timing: Timing, clock: Clock) -> Callable[[Rollout], None]:
    """Writes a fresh break-glass kit before each step, when a folder for kits is set."""

    def write(rollout: Rollout) -> None:
        if settings.kit_dir is None:
            return
        try:
            write_kit(
                rollout,
                settings.kit_dir,
                base_url=rollout.base_url,
                lease=timing.lease,
                horizon=timing.horizon,
                now=clock.now(),
            )
        except RolloutError as error:
            # A full disk must not stop a step, and must not stay unseen either.
            log.warning("no kit written", rollout=rollout.id, error=error.message)

    return write


def _calendars(path: Path | None) -> Calendars:
    """The calendars of plans, with those of this file; None: there is no file of shared ones."""
    if path is None:
        return Calendars(None)
    from rollout.adapters.planfile.calendar_file import CalendarFile

    return Calendars(CalendarFile(path))


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    database: Database | None = None,
    retell: RetellClient | None = None,
    numbers: PhoneNumbers | None = None,
    agents: Agents | None = None,
    calls: Calls | None = None,
    gates: GateJudge | None = None,
    calendar: OpeningHours | None = None,
    ids: Callable[[], str] = new_id,
    write_ids: Callable[[], str] = lambda: secrets.token_hex(10),
    owner: str | None = None,
) -> App:
    """Wires the product. Without fakes it talks to Retell and to the database of the settings."""
    clock = clock or SystemClock()
    database = database or Database(settings.database_url, clock)
    store = Store(database, settings.ballast_mb)
    closers: list[Callable[[], None]] = [database.close]
    meter, wall = RequestMeter(), clock
    allowed = frozenset(settings.allowed_numbers) or None
    limits = SharedLimits(database, settings.retell_base_url)

    def on_request(operation: str, method: str, status: int | None, seconds: float) -> None:
        meter(operation, method, status, seconds)
        tracing.request(operation, method, status, seconds, wall.now())

    if numbers is None or agents is None:
        from rollout.adapters.retell import RetellClient

        retell = retell or RetellClient(
            settings.retell_base_url,
            KeySource(settings),
            clock,
            deadline=settings.request_deadline,
            concurrency=settings.concurrency,
            rate=settings.rate,
            account_concurrency=settings.account_concurrency,
            limits=limits,
            on_request=on_request,
            allowed=allowed,
            environ=os.environ,
        )
        closers.append(retell.close)
        numbers, agents = numbers or retell, agents or retell
    timing = Timing(
        settings.send_window,
        settings.request_deadline,
        settings.lease,
        settings.horizon,
        settings.read_staleness,
        settings.poll,
        settings.watch_seconds,
    )
    interrupts = Interrupts()
    versions = VersionLookup(agents, clock, engines=retell, roots=retell)
    calendars = _calendars(settings.calendars)
    own_numbers, own_versions = numbers, versions
    externals = Externals(settings.metric_hosts, clock, fresh=settings.watch_seconds)
    closers.append(externals.close)
    bounds = ServerLimits(allowed, externals.problems, partial(address_problems, hosts=settings.notify_hosts))

    def begin(rollout: Rollout) -> tuple[Target, ...]:
        found = preflight(rollout.plan, own_numbers, own_versions, store.drivers, rollout.seed, bounds=bounds)
        found.refuse()
        return found.targets

    driver = Driver(
        store,
        WriteProtocol(store, numbers, clock, timing, write_ids, interrupts),
        versions,
        gates or GateCheck(StoredGateRecords(database), externals),
        calendar or calendars,
        clock,
        timing,
        begin,
        write_kits(settings, timing, clock),
        concurrency=settings.concurrency,
    )
    closers.append(driver.batches.close)
    commands = Commands(
        store, numbers, versions, ids, settings.retell_base_url, interrupts.changed, bounds, calendars.of
    )

    def close() -> None:
        for closer in reversed(closers):
            closer()

    def adjust() -> None:
        if retell is not None:
            retell.adjust(limits.standing())

    def ready() -> None:
        """Loads what the first request needs: the trusted certificates. Raises SettingsError."""
        if retell is not None:
            retell.ready()

    owner = owner or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
    return App(
        settings,
        clock,
        database,
        store,
        numbers,
        agents,
        calls if calls is not None else retell,
        versions,
        commands,
        driver,
        calendars,
        timing,
        interrupts,
        owner,
        close,
        meter,
        adjust,
        ready,
    )
