"""Composition root: settings in, everything wired out, each part made when it is first asked for.

What a part is made of is imported with it: `rollout list` needs the store, and neither the engine nor a client of
Retell. Fakes come in as arguments.
"""

from __future__ import annotations

import gc
import os
import secrets
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict, Unpack

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import signals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.limits import SharedLimits
from rollout.adapters.store.repository import Store
from rollout.adapters.telemetry import tracing
from rollout.adapters.telemetry.logs import Logger
from rollout.adapters.telemetry.request_stats import RequestMeter
from rollout.domain.errors import RolloutError
from rollout.engine.interrupts import Interrupts
from rollout.settings import KeySource, Settings

if TYPE_CHECKING:
    from rollout.adapters.metric_sources.poller import ExternalMetrics
    from rollout.adapters.retell import RetellClient
    from rollout.domain.lifecycle.state import Rollout
    from rollout.domain.plan.plan import Plan
    from rollout.engine.batches import Batches
    from rollout.engine.calendars import Calendars
    from rollout.engine.commands import Commands
    from rollout.engine.driver import Driver
    from rollout.engine.ports import Agents, BatchTests, Calls, Clock, GateJudge, OpeningHours, PhoneNumbers
    from rollout.engine.preflight import Preflight, Workspace
    from rollout.engine.version_lookup import VersionLookup
    from rollout.engine.write_protocol import Timing

log = Logger(__name__)

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no characters that people confuse on the phone


def new_id() -> str:
    """A rollout's id: 50 random bits, short enough to read aloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


class App:
    """Everything wired together for one process. Without substitutes it talks to Retell and to the settings' database."""

    def __init__(self, settings: Settings, substitutes: Substitutes) -> None:
        self.settings = settings
        self._substitutes = substitutes
        self.owner = substitutes.get("owner") or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
        self.clock: Clock = substitutes.get("clock") or SystemClock()
        self.database = substitutes.get("database") or Database(settings.database_url, self.clock)
        self.store = Store(self.database, settings.ballast_mb)
        self.limits = SharedLimits(self.database, settings.retell_base_url)
        self.meter = RequestMeter()
        self.interrupts = Interrupts()

    # -------------------------------------------------------------- the parts

    @cached_property
    def timing(self) -> Timing:
        """The times of the write protocol."""
        from rollout.engine.write_protocol import Timing

        settings = self.settings
        return Timing(
            send_window=settings.send_window,
            request_deadline=settings.request_deadline,
            lease=settings.lease,
            horizon=settings.horizon,
            staleness=settings.read_staleness,
            poll=settings.poll,
            watch=settings.watch_seconds,
        )

    @cached_property
    def retell(self) -> RetellClient | None:
        """The client of Retell; None if substitutes take its place."""
        substitutes = self._substitutes
        if substitutes.get("retell") is not None or ("numbers" in substitutes and "agents" in substitutes):
            return substitutes.get("retell")
        from rollout.adapters.retell import RetellClient

        settings = self.settings
        return RetellClient(
            settings.retell_base_url,
            KeySource(settings),
            self.clock,
            deadline=settings.request_deadline,
            concurrency=settings.concurrency,
            rate=settings.rate,
            account_concurrency=settings.account_concurrency,
            limits=self.limits,
            on_request=self._count_request,
            allowed=self._allowed_numbers,
            environ=os.environ,
        )

    def _count_request(self, operation: str, method: str, status: int | None, seconds: float) -> None:
        self.meter(operation, method, status, seconds)
        tracing.request(operation, method, status, seconds, self.clock.now())

    @property
    def _allowed_numbers(self) -> frozenset[str] | None:
        return frozenset(self.settings.allowed_numbers) or None

    def _client(self) -> RetellClient:
        assert self.retell is not None
        return self.retell

    @cached_property
    def numbers(self) -> PhoneNumbers:
        return self._substitutes.get("numbers") or self._client()

    @cached_property
    def agents(self) -> Agents:
        return self._substitutes.get("agents") or self._client()

    @cached_property
    def calls(self) -> Calls | None:
        return self._substitutes.get("calls", self.retell)

    @cached_property
    def calendars(self) -> Calendars:
        """The calendars of plans, with those of the file that the settings name."""
        from rollout.engine.calendars import Calendars

        if self.settings.calendars is None:
            return Calendars(None)
        from rollout.adapters.planfile.calendar_file import CalendarFile

        return Calendars(CalendarFile(self.settings.calendars))

    @cached_property
    def external_metrics(self) -> ExternalMetrics:
        """The reader of metrics that plans name."""
        from rollout.adapters.metric_sources.poller import ExternalMetrics

        return ExternalMetrics(self.settings.metric_hosts, self.clock, fresh=self.settings.watch_seconds)

    @cached_property
    def versions(self) -> VersionLookup:
        from rollout.engine.version_lookup import VersionLookup

        return VersionLookup(self.agents, self.clock, engines=self.retell, roots=self.retell)

    @property
    def _batch_tests(self) -> BatchTests | None:
        return None if self.retell is None else self.retell.batch_tests

    @cached_property
    def _workspace(self) -> Workspace:
        from rollout.engine.preflight import Workspace
        from rollout.engine.server_limits import ServerLimits

        limits = ServerLimits(
            self._allowed_numbers, lambda plan: self.external_metrics.problems(plan), self._problems_of_addresses
        )
        return Workspace(self.numbers, self.versions, limits, self.store.drivers, self._batch_tests)

    def _problems_of_addresses(self, plan: Plan) -> list[str]:
        from rollout.adapters.notify import address_problems

        return list(address_problems(plan, hosts=self.settings.notify_hosts))

    @cached_property
    def _batches(self) -> Batches:
        from rollout.engine.batches import Batches

        return Batches(self.timing.send_window, self.settings.concurrency)

    @cached_property
    def driver(self) -> Driver:
        """The driver of rollouts."""
        from rollout.engine.driver import Driver
        from rollout.engine.facts import FactFinder
        from rollout.engine.write_protocol import WriteProtocol

        new_write_id = self._substitutes.get("write_ids") or (lambda: secrets.token_hex(10))
        return Driver(
            self.store,
            WriteProtocol(self.store, self.numbers, self.clock, self.timing, new_write_id, self.interrupts),
            FactFinder(
                self.store,
                self.versions,
                self._substitutes.get("gates") or self._gates(),
                self._substitutes.get("calendar") or self.calendars,
                self.timing,
                self._batch_tests,
            ),
            self._batches,
            self._late_preflight,
            write_kits(self.settings, self.timing, self.clock),
        )

    def _gates(self) -> GateJudge:
        from rollout.adapters.store.gate_records import StoredGateRecords
        from rollout.engine.gate_check import GateCheck

        return GateCheck(StoredGateRecords(self.database), lambda plan: self.external_metrics(plan))

    def _late_preflight(self, rollout: Rollout) -> Preflight:
        """The pre-flight of a rollout that begins now; PreflightRefused."""
        from rollout.engine.preflight import preflight

        found = preflight(rollout.plan, self._workspace, seed=rollout.seed)
        found.refuse()
        return found

    @cached_property
    def commands(self) -> Commands:
        """The commands that people give."""
        from rollout.engine.commands import Commands

        ids = self._substitutes.get("ids") or new_id
        return Commands(
            self.store,
            self._workspace,
            ids,
            self.settings.retell_base_url,
            self.interrupts.changed,
            self.calendars.of,
            self.settings.baseline_kept,
        )

    # -------------------------------------------------------------- the whole

    def close(self) -> None:
        """End threads and close connections, the newest first, of the parts that there are."""
        for part in ("_batches", "external_metrics", "retell"):
            if (made := self.__dict__.get(part)) is not None:
                made.close()
        self.database.close()

    def adjust(self) -> None:
        """Give the client the current limits of the account."""
        if self.retell is not None:
            self.retell.adjust(self.limits.state())

    def ready(self) -> None:
        """Make every part, before threads share them, and load the trusted certificates. Raises SettingsError."""
        for part in ("driver", "commands", "calls", "external_metrics"):
            getattr(self, part)
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
        """Claim one rollout, due or not, and drive it now; None when another driver holds it."""
        claims = self.store.claim(self.owner, timedelta(seconds=self.timing.lease), only=id_)
        if not claims:
            return None
        self.interrupts.clear(claims[0])
        with tracing.span("rollout.pass", rollout=id_, epoch=claims[0].epoch):
            return self.driver.drive(claims[0], until)


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
        from rollout.kit.build import write_kit

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
            # A full disk must not stop a step, but must be reported.
            log.warning("no kit written", rollout=rollout.id, error=error.message)

    return write


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


def build(settings: Settings, **substitutes: Unpack[Substitutes]) -> App:
    """Wire the product."""
    return App(settings, substitutes)
