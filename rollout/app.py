"""Composition root: settings in, everything wired out. Fakes come in as arguments."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

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
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.batches import Batches
from rollout.engine.calendars import Calendars
from rollout.engine.commands import Commands
from rollout.engine.driver import Driver
from rollout.engine.facts import FactFinder
from rollout.engine.gate_check import GateCheck
from rollout.engine.ports import Agents, Calls, Clock, GateJudge, OpeningHours, PhoneNumbers
from rollout.engine.preflight import Preflight, Workspace, preflight
from rollout.engine.server_limits import ServerLimits
from rollout.engine.version_lookup import VersionLookup
from rollout.engine.write_protocol import Timing, WriteProtocol
from rollout.kit.build import write_kit
from rollout.settings import KeySource, Settings

if TYPE_CHECKING:
    from rollout.adapters.retell import RetellClient

log = Logger(__name__)
T = TypeVar("T")

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no characters that people confuse on the phone


def new_id() -> str:
    """A rollout's id: 50 random bits, short enough to read aloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


class Interrupts:
    """Which rollouts a command has just taken away from a fan-out under way, in this process or in another."""

    MOST = 1000  # kept of each kind: of rollouts that other processes drive nothing is ever taken off

    def __init__(self) -> None:
        self._ids: dict[str, bool] = {}
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()
        self.woken = threading.Event()

    def changed(self, id_: str, urgent: bool) -> None:
        with self._lock:
            if urgent:
                self._keep(self._ids, id_, True)
        self.woken.set()

    def taken(self, id_: str, epoch: int) -> None:
        """A command of any process gave the rollout this epoch; who drives it under an older one lets go."""
        with self._lock:
            self._keep(self._epochs, id_, max(epoch, self._epochs.get(id_, 0)))
        self.woken.set()

    def _keep(self, known: dict[str, T], id_: str, value: T) -> None:
        """The newest last; the oldest goes, and its drive ends with its next commit instead of its next request."""
        known.pop(id_, None)
        known[id_] = value
        if len(known) > self.MOST:
            del known[next(iter(known))]

    def clear(self, held: Claim) -> None:
        """A drive under this claim begins: what was before it is no interruption of it."""
        with self._lock:
            self._ids.pop(held.rollout_id, None)
            if self._epochs.get(held.rollout_id, 0) <= held.epoch:
                self._epochs.pop(held.rollout_id, None)

    def __call__(self, id_: str, epoch: int) -> bool:
        """True if the driver of this rollout under this epoch has been interrupted."""
        return id_ in self._ids or self._epochs.get(id_, 0) > epoch


@dataclass(kw_only=True)
class App:
    """Everything wired together for one process."""

    settings: Settings
    owner: str
    clock: Clock
    database: Database
    store: Store
    numbers: PhoneNumbers
    agents: Agents
    calls: Calls | None
    retell: RetellClient | None  # None: others stand in for it
    meter: RequestMeter
    limits: SharedLimits
    calendars: Calendars
    timing: Timing
    interrupts: Interrupts
    versions: VersionLookup
    driver: Driver
    commands: Commands
    closers: Sequence[Callable[[], None]]

    def close(self) -> None:
        """End threads and close connections, the newest first."""
        for closer in reversed(self.closers):
            closer()

    def adjust(self) -> None:
        """Let the client take over how the account's limits stand now."""
        if self.retell is not None:
            self.retell.adjust(self.limits.standing())

    def ready(self) -> None:
        """Load what the first request needs: the trusted certificates. Raises SettingsError."""
        if self.retell is not None:
            self.retell.ready()

    def heard(self, signal: str) -> None:
        """Another process (or this one) has committed something that concerns us."""
        if signal == signals.LIMITS:
            self.adjust()
        elif (taken := signals.rollout_of(signal)) is not None:
            self.interrupts.taken(*taken)
        else:
            self.interrupts.woken.set()

    def drive(self, id_: str, until: Callable[[Rollout], bool] = lambda _rollout: False) -> Rollout | None:
        """Claim one rollout, due or not, and drive it now; None when somebody else holds it."""
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
    """Write a fresh break-glass kit before each step, when a folder for kits is set."""

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


class Substitutes(TypedDict, total=False):
    """Parts that take the place of those that the settings would name."""

    clock: Clock
    database: Database
    retell: RetellClient
    numbers: PhoneNumbers
    agents: Agents
    calls: Calls
    gates: GateJudge
    calendar: OpeningHours
    ids: Callable[[], str]
    write_ids: Callable[[], str]
    owner: str


def build(settings: Settings, **given: Unpack[Substitutes]) -> App:
    """Wire the product. Without substitutes it talks to Retell and to the database of the settings."""
    clock = given.get("clock") or SystemClock()
    database = given.get("database") or Database(settings.database_url, clock)
    store, limits = Store(database, settings.ballast_mb), SharedLimits(database, settings.retell_base_url)
    meter, timing, interrupts = RequestMeter(), _timing(settings), Interrupts()
    retell, numbers, agents = _workspace(settings, clock, limits, meter, given)
    calendars = _calendars(settings.calendars)
    externals = Externals(settings.metric_hosts, clock, fresh=settings.watch_seconds)
    server_limits = ServerLimits(
        _allowed_numbers(settings), externals.problems, partial(address_problems, hosts=settings.notify_hosts)
    )
    versions = VersionLookup(agents, clock, engines=retell, roots=retell)
    batch_tests = None if retell is None else retell.batch_tests
    workspace = Workspace(numbers, versions, server_limits, store.drivers, batch_tests)
    new_write_id = given.get("write_ids") or (lambda: secrets.token_hex(10))
    driver = Driver(
        store,
        WriteProtocol(store, numbers, clock, timing, new_write_id, interrupts),
        FactFinder(
            store,
            versions,
            given.get("gates") or GateCheck(StoredGateRecords(database), externals),
            given.get("calendar") or calendars,
            timing,
            batch_tests,
        ),
        Batches(timing.send_window, settings.concurrency),
        partial(_late_preflight, workspace),
        write_kits(settings, timing, clock),
    )
    return App(
        settings=settings,
        owner=given.get("owner") or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}",
        clock=clock,
        database=database,
        store=store,
        numbers=numbers,
        agents=agents,
        calls=given.get("calls", retell),
        retell=retell,
        meter=meter,
        limits=limits,
        calendars=calendars,
        timing=timing,
        interrupts=interrupts,
        versions=versions,
        driver=driver,
        commands=Commands(
            store, workspace, given.get("ids") or new_id, settings.retell_base_url, interrupts.changed, calendars.of
        ),
        closers=[database.close, *([] if retell is None else [retell.close]), externals.close, driver.batches.close],
    )


def _timing(settings: Settings) -> Timing:
    return Timing(
        send_window=settings.send_window,
        request_deadline=settings.request_deadline,
        lease=settings.lease,
        horizon=settings.horizon,
        staleness=settings.read_staleness,
        poll=settings.poll,
        watch=settings.watch_seconds,
    )


def _allowed_numbers(settings: Settings) -> frozenset[str] | None:
    return frozenset(settings.allowed_numbers) or None


def _workspace(
    settings: Settings, clock: Clock, limits: SharedLimits, meter: RequestMeter, given: Substitutes
) -> tuple[RetellClient | None, PhoneNumbers, Agents]:
    """The client, if one is needed, and who answers for numbers and for agents."""
    retell, numbers, agents = given.get("retell"), given.get("numbers"), given.get("agents")
    if numbers is not None and agents is not None:
        return retell, numbers, agents
    from rollout.adapters.retell import RetellClient

    def on_request(operation: str, method: str, status: int | None, seconds: float) -> None:
        meter(operation, method, status, seconds)
        tracing.request(operation, method, status, seconds, clock.now())

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
        allowed=_allowed_numbers(settings),
        environ=os.environ,
    )
    return retell, numbers or retell, agents or retell


def _late_preflight(workspace: Workspace, rollout: Rollout) -> Preflight:
    """The pre-flight of a rollout that begins now; PreflightRefused."""
    found = preflight(rollout.plan, workspace, seed=rollout.seed)
    found.refuse()
    return found
