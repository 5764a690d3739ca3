"""`/metrics` for Prometheus: read from the store at scrape time, so that a restart loses none.

Only ticks and requests are counted by the process itself. Labels are the rollout's name and id, never a phone
number, and notice addresses by their digest. Bounded: live rollouts and those that ended in the last day. A few
lines over 300: one block per family of metrics.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout import __version__, gateviews
from rollout.domain import splits
from rollout.domain.errors import RolloutError
from rollout.domain.machine import HeldReason, Phase
from rollout.domain.state import Rollout, TargetState
from rollout.meter import Latencies, RequestMeter
from rollout.ports import Clock
from rollout.store import figures
from rollout.store.engine import Database

ROLLOUT = ("rollout", "id")
VERDICTS = ("pass", "fail", "undecided", "unmeasurable")
ROLLBACK_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)  # seconds
AGAIN = timedelta(minutes=10)  # a read-back may become visible so long after the time it carries

disable_created_metrics()  # type: ignore[no-untyped-call]


class HasStore(Protocol):
    """What of the App is needed here."""

    @property
    def clock(self) -> Clock: ...
    @property
    def database(self) -> Database: ...
    @property
    def meter(self) -> RequestMeter: ...


class HasTicks(Protocol):
    """What of the scheduler is needed here; `last_good` is by the boot clock."""

    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def last_good(self) -> float | None: ...


def metrics_text(app: HasStore, scheduler: HasTicks | None = None) -> bytes:
    """All metrics of this process in Prometheus' text format; without the store's while it is not reachable."""
    with _lock:
        collector = _collectors.get(app.meter)
        if collector is None:
            collector = _collectors[app.meter] = Figures(app)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    registry.register(Process(app, scheduler))
    return generate_latest(registry)


class Process(Collector):
    """What this process alone knows: its ticks and its requests."""

    def __init__(self, app: HasStore, scheduler: HasTicks | None) -> None:
        self.app = app
        self.scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield _one("rollout_build_info", "The version of this process.", {"version": __version__}, 1)
        if self.scheduler is not None:
            name, text = "rollout_tick_problems", "Ticks that failed, were missed or overlapped, by kind."
            problems = CounterMetricFamily(name, text, labels=["kind"])
            for kind in sorted({"errors", "missed", "overlaps", *self.scheduler.counts}):
                problems.add_metric([kind], self.scheduler.counts.get(kind, 0))
            yield problems
            if self.scheduler.last_good is not None:
                age = self.app.clock.boot() - self.scheduler.last_good
                at = self.app.clock.now().timestamp() - age
                yield _one(
                    "rollout_last_good_tick_timestamp_seconds", "When the last good tick ended.", {}, at
                )
        counts, latencies = self.app.meter.read()
        requests = CounterMetricFamily(
            "rollout_retell_requests", "Requests to Retell; status none: no answer.",
            labels=["operation", "method", "status"],
        )  # fmt: skip
        for labels, count in sorted(counts.items()):
            requests.add_metric(list(labels), count)
        yield requests
        seconds = HistogramMetricFamily(
            "rollout_retell_request_seconds", "How long requests to Retell took.", labels=["operation"]
        )
        for operation, found in sorted(latencies.items()):
            seconds.add_metric([operation], found.buckets(), found.total)
        yield seconds


class Figures(Collector):
    """What the store knows, the same on every replica."""

    def __init__(self, app: HasStore) -> None:
        self.database = app.database
        self._targets = figures.Targets()
        self._rollbacks = _Rollbacks(app.database)
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        up = GaugeMetricFamily("rollout_store_up", "Whether the database could be read for this scrape.")
        try:
            with self._lock:
                found = figures.read(self.database, self._targets)
                rollbacks = self._rollbacks.read(found.now)
        except RolloutError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _of_all(found)
        yield from _of_each(found)
        histogram = HistogramMetricFamily(
            "rollout_rollback_seconds", "From the order of a rollback until every number was read back."
        )
        histogram.add_metric([], rollbacks.buckets(), rollbacks.total)
        yield histogram


def _of_all(found: figures.Figures) -> Iterator[Metric]:
    phases = _gauge("rollout_rollouts", "Rollouts by phase, all that are kept.", "phase")
    for phase in Phase:
        phases.add_metric([str(phase)], found.phases.get(str(phase), 0))
    yield phases
    yield _one("rollout_services_alive", "Service processes that reported lately.", {}, found.alive)
    waiting = _gauge("rollout_outbox_waiting", "Notices that wait, by address.", "address")
    oldest = _gauge("rollout_outbox_oldest_seconds", "Age of the oldest notice that waits.", "address")
    given_up = _gauge("rollout_outbox_given_up", "Notices that were never taken.", "address")
    for queue in found.queues:
        address = [queue.channel[:12]]
        waiting.add_metric(address, queue.waiting)
        oldest.add_metric(address, _since(found.now, queue.oldest))
        given_up.add_metric(address, queue.given_up)
    failing = _gauge("rollout_notices_failing_seconds", "Since when an address takes nothing.", "address")
    for each in found.failing:
        failing.add_metric([each.channel[:12]], _since(found.now, each.since))
    yield from (waiting, oldest, given_up, failing)


def _of_each(found: figures.Figures) -> Iterator[Metric]:
    phase = _gauge("rollout_phase", "1 for the phase it is in.", *ROLLOUT, "phase")
    held = _gauge("rollout_held", "1 while it is held and needs a person.", *ROLLOUT, "reason")
    wave = _gauge("rollout_position_wave", "The wave it is in, from 1.", *ROLLOUT)
    step = _gauge("rollout_position_step", "The step it is at, from 1.", *ROLLOUT)
    steps = _gauge("rollout_steps", "The steps of its plan.", *ROLLOUT)
    asked = _gauge(
        "rollout_weight_asked",
        "The share of an arm that its position, or closing time, wants, 0..1.",
        *ROLLOUT,
        "arm",
    )
    confirmed = _gauge("rollout_weight_confirmed", "The share confirmed by read-back.", *ROLLOUT, "arm")
    observed = _gauge("rollout_weight_observed", "The mean share last seen on its numbers.", *ROLLOUT, "arm")
    states = _gauge("rollout_targets", "Its numbers by what is known of them.", *ROLLOUT, "state")
    verdict = _gauge("rollout_gate_verdict", "1 for what its gates say.", *ROLLOUT, "verdict")
    harm = _gauge("rollout_evidence_harm", "Evidence of harm (an e-value).", *ROLLOUT, "arm")
    limit = _gauge("rollout_evidence_harm_limit", "The evidence at which it is rolled back.", *ROLLOUT, "arm")
    calls = _gauge("rollout_canary_calls", "Calls of the arm judged in this step.", *ROLLOUT, "arm")
    in_step = _gauge("rollout_step_seconds", "Since its step was confirmed.", *ROLLOUT)
    late = _gauge("rollout_late_seconds", "How long it has been due and not been looked at.", *ROLLOUT)
    undone = _gauge(
        "rollout_rollback_pending_seconds", "Since a rollback was ordered that is not read back.", *ROLLOUT
    )
    for r in found.rollouts:
        own = [r.name, r.id]
        for each in Phase:
            phase.add_metric([*own, str(each)], r.phase is each)
        if r.phase is Phase.HELD:
            reason = r.reason if r.reason in set(HeldReason) else "failure"
            held.add_metric([*own, str(reason)], 1)
        wave.add_metric(own, r.position.wave)
        step.add_metric(own, r.position.step)
        steps.add_metric(own, r.plan.last_step)
        for family, shares in ((asked, _asked(r)), (confirmed, _confirmed(r)), (observed, _observed(r))):
            for arm, share in shares.items():
                family.add_metric([*own, arm], share)
        states_of = Counter(t.state for t in r.targets)
        for state in TargetState:
            states.add_metric([*own, str(state)], states_of[state])
        if r.verdict:
            for word in VERDICTS:
                verdict.add_metric([*own, word], r.verdict.get("outcome") == word)
        for judged in gateviews.arms(r.verdict, intervals=False):
            of_arm = [*own, str(judged["arm"])]
            harm.add_metric(of_arm, judged["e_gate"])
            limit.add_metric(of_arm, judged["roll_back_at"])
            calls.add_metric(of_arm, judged["canary_calls"])
        if r.phase.is_live:
            if r.confirmed_at is not None:
                in_step.add_metric(own, _since(found.now, r.confirmed_at))
            late.add_metric(own, _since(found.now, r.due_at))
        if r.phase is Phase.ROLLING_BACK and r.restored_at is None:
            undone.add_metric(own, _since(found.now, r.rollback_at))
    yield from (phase, held, wave, step, steps, asked, confirmed, observed)
    yield from (states, verdict, harm, limit, calls)
    yield from (in_step, late, undone)
    names = {r.id: r.name for r in found.rollouts}
    writes = _gauge("rollout_writes", "Its writes by kind and outcome.", *ROLLOUT, "kind", "outcome")
    for id_, kind, outcome, count in found.writes:
        writes.add_metric([names[id_], id_, kind, outcome], count)
    yield writes


class _Rollbacks:
    """How long rollbacks took, from the journal; read once, and then only what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._took: dict[tuple[str, int], float] = {}
        self._read_at: datetime | None = None

    def read(self, now: datetime) -> Latencies:
        since = None if self._read_at is None else self._read_at - AGAIN
        ordered: dict[str, datetime] = {}
        for id_, seq, kind, at in figures.rollbacks(self._database, since):
            if kind == "read_back":
                if id_ in ordered:
                    self._took[id_, seq] = (at - ordered.pop(id_)).total_seconds()
            else:
                ordered.setdefault(id_, at)  # ordered again while it was under way: the first order counts
        self._read_at = now
        histogram = Latencies(ROLLBACK_BUCKETS)
        for seconds in self._took.values():
            histogram.add(seconds)
        return histogram


def _arms(r: Rollout, step: int) -> dict[str, float]:
    weights = r.plan.weights(step) if step > 0 else {}
    return {arm: weights.get(arm, 0) / splits.TOTAL for arm in r.plan.arms}


def _asked(r: Rollout) -> dict[str, float]:
    idle = r.phase in (Phase.PENDING, Phase.ROLLING_BACK, Phase.ROLLED_BACK) or r.started_at is None
    asked = _arms(r, 0 if idle else r.position.step)
    low = 1.0 if r.retreated is None else r.retreated / splits.TOTAL
    return {arm: min(share, low) for arm, share in asked.items()}


def _confirmed(r: Rollout) -> dict[str, float]:
    weights = {} if r.phase is Phase.ROLLED_BACK else r.weights
    return {arm: weights.get(arm, 0) / splits.TOTAL for arm in r.plan.arms}


def _observed(r: Rollout) -> dict[str, float]:
    """Mean share per arm over the numbers of the waves reached; empty while none was seen."""
    lists = [
        entries
        for t in r.targets
        if t.wave <= r.position.wave and t.live
        for entries in t.live.values()
        if entries
    ]
    if not lists:
        return {}
    return {arm: sum(_share(e, ref.pair) for e in lists) / len(lists) for arm, ref in r.plan.arms.items()}


def _share(entries: list[dict[str, Any]], pair: tuple[str, int]) -> float:
    ours = (e for e in entries if (e.get("agent_id"), splits.normal_version(e.get("agent_version"))) == pair)
    return sum(float(e.get("weight") or 0) for e in ours)


def _since(now: datetime, at: datetime | None) -> float:
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _one(name: str, text: str, labels: dict[str, str], value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


_lock = threading.Lock()
_collectors: WeakKeyDictionary[RequestMeter, Figures] = WeakKeyDictionary()
