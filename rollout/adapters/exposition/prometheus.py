"""`/metrics` for Prometheus: read from the store at scrape time, so that a restart loses none.

Only ticks and requests are counted by the process itself. Labels are the rollout's name and id, never a phone
number, and notice addresses by their digest. Bounded: live rollouts and those that ended in the last day.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol
from weakref import WeakKeyDictionary

from prometheus_client import disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.adapters.exposition.families import Given, gauge, lines_by_family, one, since, text_of
from rollout.adapters.exposition.rollout_metrics import EACH, family, of_each, of_time
from rollout.adapters.store import metrics_queries
from rollout.adapters.store.engine import Database
from rollout.adapters.telemetry.request_stats import Latencies, RequestMeter
from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.version import __version__
from rollout.engine.ports import Clock

ROLLBACK_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)  # seconds
AGAIN = timedelta(minutes=10)  # a read-back may become visible so long after the time it carries

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types


class HasStore(Protocol):
    """The parts of the App that metrics read."""

    @property
    def clock(self) -> Clock: ...
    @property
    def database(self) -> Database: ...
    @property
    def meter(self) -> RequestMeter: ...


class HasTicks(Protocol):
    """The parts of the scheduler that metrics read; `last_good` is by the boot clock."""

    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def last_good(self) -> float | None: ...


def metrics_text(app: HasStore, scheduler: HasTicks | None = None) -> bytes:
    """All metrics of this process in Prometheus' text format; without the store's while it is not reachable."""
    with _lock:
        known = _known.get(app.meter)
        if known is None:
            known = _known[app.meter] = _KeptText(app.database)
    own = text_of(Process(app, scheduler))
    with known.lock:
        try:
            found = metrics_queries.read(app.database, known.marks())
            rollbacks = known.rollbacks.read(found.now)
        except RolloutError:
            return own + text_of(Given([one("rollout_store_up", _UP, {}, 0)]))
        lines = known.lines(found)
    return own + text_of(Given(_of_all(found, rollbacks))) + lines


_UP = "Whether the database could be read for this scrape."


class Process(Collector):
    """Metrics that this process alone knows: its ticks and its requests."""

    def __init__(self, app: HasStore, scheduler: HasTicks | None) -> None:
        self.app = app
        self.scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield one("rollout_build_info", "The version of this process.", {"version": __version__}, 1)
        if self.scheduler is not None:
            name, text = "rollout_tick_problems", "Ticks that failed, were missed or overlapped, by kind."
            problems = CounterMetricFamily(name, text, labels=["kind"])
            for kind in sorted({"errors", "missed", "overlaps", *self.scheduler.counts}):
                problems.add_metric([kind], self.scheduler.counts.get(kind, 0))
            yield problems
            if self.scheduler.last_good is not None:
                age = self.app.clock.boot() - self.scheduler.last_good
                at = self.app.clock.now().timestamp() - age
                yield one("rollout_last_good_tick_timestamp_seconds", "When the last good tick ended.", {}, at)
        counts, latencies = self.app.meter.read()
        requests = CounterMetricFamily(
            "rollout_retell_requests",
            "Requests to Retell; status none means no answer.",
            labels=["operation", "method", "status"],
        )
        for labels, count in sorted(counts.items()):
            requests.add_metric(list(labels), count)
        yield requests
        seconds = HistogramMetricFamily(
            "rollout_retell_request_seconds", "How long requests to Retell took.", labels=["operation"]
        )
        for operation, found in sorted(latencies.items()):
            seconds.add_metric([operation], found.buckets(), found.total)
        yield seconds


class _KeptText:
    """The lines of each rollout, kept as text for as long as nothing is recorded of it."""

    def __init__(self, database: Database) -> None:
        self.lock = threading.Lock()
        self.rollbacks = _Rollbacks(database)
        # The rollout itself, without its targets, only of live ones: of what has ended the text is all that is needed.
        self._told: dict[str, tuple[metrics_queries.Mark, Rollout | None, dict[str, str]]] = {}

    def marks(self) -> dict[str, metrics_queries.Mark]:
        return {id_: told[0] for id_, told in self._told.items()}

    def lines(self, found: metrics_queries.StoreFigures) -> bytes:
        """The families with a sample for each rollout that is shown."""
        fresh = {
            light.id: (light.mark, _if_live(changed.rollout), _told(changed))
            for light in found.shown
            if (changed := found.changed.get(light.id)) is not None
        }
        self._told = {light.id: fresh.get(light.id) or self._told[light.id] for light in found.shown}
        of = {light.id: light for light in found.shown}
        kept = [told[1] for told in self._told.values() if told[1] is not None]
        live = [replace(r, due_at=of[r.id].due_at, waiting_for=of[r.id].waiting_for) for r in kept]
        moving = lines_by_family(of_time(live, found.now, found.unreadable))
        text = []
        for name, head in _HEADS.items():
            text.append(head)
            text += [told[2].get(name, "") for told in self._told.values()]
            text.append(moving.get(name, ""))
        return "".join(text).encode()


def _if_live(rollout: Rollout) -> Rollout | None:
    return replace(rollout, targets=()) if rollout.phase.is_live else None


def _told(changed: metrics_queries.Changed) -> dict[str, str]:
    return lines_by_family(of_each(changed.rollout, changed.writes))


def _of_all(found: metrics_queries.StoreFigures, rollbacks: Latencies) -> Iterator[Metric]:
    yield one("rollout_store_up", _UP, {}, 1)
    histogram = HistogramMetricFamily(
        "rollout_rollback_seconds", "Time from the order of a rollback until every number was read back."
    )
    histogram.add_metric([], rollbacks.buckets(), rollbacks.total)
    yield histogram
    yield from _of_rollouts(found)
    yield one("rollout_services_alive", "Service processes that reported recently.", {}, found.alive)
    yield from _of_notices(found)


def _of_rollouts(found: metrics_queries.StoreFigures) -> Iterator[Metric]:
    yield one(
        "rollout_rollouts_not_shown",
        f"Rollouts that ended in the last day, beyond the {metrics_queries.MOST_ENDED} that are shown one by one.",
        {},
        found.left_out,
    )
    phases = gauge("rollout_rollouts", "Rollouts by phase, all that are kept.", "phase")
    for phase in Phase:
        phases.add_metric([str(phase)], found.phases.get(str(phase), 0))
    yield phases


def _of_notices(found: metrics_queries.StoreFigures) -> Iterator[Metric]:
    waiting = gauge("rollout_outbox_waiting", "Notices not delivered yet, by address.", "address")
    oldest = gauge("rollout_outbox_oldest_seconds", "Age of the oldest notice that is not delivered yet.", "address")
    given_up = gauge("rollout_outbox_given_up", "Notices given up.", "address")
    for queue in found.queues:
        address = [queue.channel[:12]]
        waiting.add_metric(address, queue.waiting)
        oldest.add_metric(address, since(found.now, queue.oldest))
        given_up.add_metric(address, queue.given_up)
    failing = gauge("rollout_notices_failing_seconds", "Time since when an address has accepted no notice.", "address")
    for each in found.failing:
        failing.add_metric([each.channel[:12]], since(found.now, each.since))
    yield from (waiting, oldest, given_up, failing)


class _Rollbacks:
    """The durations of rollbacks, from the journal; read once, and then only what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._took = Latencies(ROLLBACK_BUCKETS)
        self._counted: set[tuple[str, int]] = set()  # those that the next read may find again
        self._read_at: datetime | None = None

    def read(self, now: datetime) -> Latencies:
        begin = None if self._read_at is None else self._read_at - AGAIN
        ordered: dict[str, datetime] = {}
        recent = set()
        for id_, seq, kind, at in metrics_queries.rollbacks(self._database, begin):
            if kind == "read_back":
                began = ordered.pop(id_, None)
                if at >= now - AGAIN:
                    recent.add((id_, seq))
                new = (begin is None or at >= begin) and (id_, seq) not in self._counted
                if began is not None and new:
                    self._took.add((at - began).total_seconds())
            else:
                ordered.setdefault(id_, at)  # ordered again while it was under way: the first order counts
        self._counted, self._read_at = recent, now
        return self._took


_HEADS = {kind[0]: text_of(Given([family(kind, {})])).decode() for kind in EACH}
_lock = threading.Lock()
_known: WeakKeyDictionary[RequestMeter, _KeptText] = WeakKeyDictionary()
