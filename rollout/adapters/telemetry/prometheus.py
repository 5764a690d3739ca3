"""`/metrics` for Prometheus: read from the store at scrape time, so that a restart loses none.

Only ticks and requests are counted by the process itself. Labels are the rollout's name and id, never a phone
number, and notice addresses by their digest. Bounded: live rollouts and those that ended in the last day. A few
lines over 300: one line for each metric, and what it is made of, are read together.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.adapters.store import metrics_queries
from rollout.adapters.store.engine import Database
from rollout.adapters.store.observations import CallsUnreadable
from rollout.adapters.telemetry.request_stats import Latencies, RequestMeter
from rollout.domain.errors import RolloutError
from rollout.domain.gates import summary
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.splits import splits
from rollout.engine.ports import Clock
from rollout.version import __version__

ROLLOUT = ("rollout", "id")
VERDICTS = ("pass", "fail", "undecided", "unmeasurable")
ROLLBACK_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)  # seconds
AGAIN = timedelta(minutes=10)  # a read-back may become visible so long after the time it carries

disable_created_metrics()  # type: ignore[no-untyped-call]


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
    own = _text(Process(app, scheduler))
    with known.lock:
        try:
            found = metrics_queries.read(app.database, known.marks())
            rollbacks = known.rollbacks.read(found.now)
        except RolloutError:
            return own + _text(_Given([_one("rollout_store_up", _UP, {}, 0)]))
        lines = known.lines(found)
    return own + _text(_Given(_of_all(found, rollbacks))) + lines


_UP = "Whether the database could be read for this scrape."


class _Given(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _text(collector: Collector) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


class Process(Collector):
    """Metrics that this process alone knows: its ticks and its requests."""

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
                yield _one("rollout_last_good_tick_timestamp_seconds", "When the last good tick ended.", {}, at)
        counts, latencies = self.app.meter.read()
        requests = CounterMetricFamily(
            "rollout_retell_requests",
            "Requests to Retell; status none: no answer.",
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
        # The rollout itself only of live ones: of what has ended the text is all that is needed.
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
        moving = _by_family(_of_time(live, found.now, found.unreadable))
        text = []
        for family, head in _HEADS.items():
            text.append(head)
            text += [told[2].get(family, "") for told in self._told.values()]
            text.append(moving.get(family, ""))
        return "".join(text).encode()


def _if_live(rollout: Rollout) -> Rollout | None:
    return rollout if rollout.phase.is_live else None


def _told(changed: metrics_queries.Changed) -> dict[str, str]:
    return _by_family(_of_each(changed.rollout, changed.writes))


def _by_family(metrics: Iterable[Metric]) -> dict[str, str]:
    """The samples as lines of text, by their family."""
    found: dict[str, str] = {}
    for line in _text(_Given(metrics)).decode().splitlines(keepends=True):
        if not line.startswith("#"):
            family = line[: line.index("{")]
            found[family] = found.get(family, "") + line
    return found


def _of_all(found: metrics_queries.StoreFigures, rollbacks: Latencies) -> Iterator[Metric]:
    yield _one("rollout_store_up", _UP, {}, 1)
    histogram = HistogramMetricFamily(
        "rollout_rollback_seconds", "From the order of a rollback until every number was read back."
    )
    histogram.add_metric([], rollbacks.buckets(), rollbacks.total)
    yield histogram
    yield from _of_rollouts(found)
    yield _one("rollout_services_alive", "Service processes that reported lately.", {}, found.alive)
    yield from _of_notices(found)


def _of_rollouts(found: metrics_queries.StoreFigures) -> Iterator[Metric]:
    yield _one(
        "rollout_rollouts_not_shown",
        f"Rollouts that ended in the last day, beyond the {metrics_queries.MOST_ENDED} that are shown one by one.",
        {},
        found.left_out,
    )
    phases = _gauge("rollout_rollouts", "Rollouts by phase, all that are kept.", "phase")
    for phase in Phase:
        phases.add_metric([str(phase)], found.phases.get(str(phase), 0))
    yield phases


def _of_notices(found: metrics_queries.StoreFigures) -> Iterator[Metric]:
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


_PHASE = ("rollout_phase", "1 for the phase it is in.", *ROLLOUT, "phase")
_HELD = ("rollout_held", "1 while it is held and needs a person.", *ROLLOUT, "reason")
_WAVE = ("rollout_position_wave", "The wave it is in, from 1.", *ROLLOUT)
_STEP = ("rollout_position_step", "The step it is at, from 1.", *ROLLOUT)
_STEPS = ("rollout_steps", "The steps of its plan.", *ROLLOUT)
_ASKED = (
    "rollout_weight_asked",
    "The share of an arm that its position, or closing time, wants, 0..1.",
    *ROLLOUT,
    "arm",
)
_CONFIRMED = ("rollout_weight_confirmed", "The share confirmed by read-back.", *ROLLOUT, "arm")
_OBSERVED = ("rollout_weight_observed", "The mean share last seen on its numbers.", *ROLLOUT, "arm")
_TARGETS = ("rollout_targets", "Its numbers by what is known of them.", *ROLLOUT, "state")
_VERDICT = ("rollout_gate_verdict", "1 for what its gates say.", *ROLLOUT, "verdict")
_HARM = ("rollout_evidence_harm", "Evidence of harm (an e-value).", *ROLLOUT, "arm")
_LIMIT = ("rollout_evidence_harm_limit", "The evidence at which it is rolled back.", *ROLLOUT, "arm")
_CALLS = ("rollout_canary_calls", "Calls of the arm judged in this step.", *ROLLOUT, "arm")
_WRITES = ("rollout_writes", "Its writes by kind and outcome.", *ROLLOUT, "kind", "outcome")
_IN_STEP = ("rollout_step_seconds", "Since its step was confirmed.", *ROLLOUT)
_LATE = ("rollout_late_seconds", "How long it has been due and not been looked at.", *ROLLOUT)
_UNDONE = ("rollout_rollback_pending_seconds", "Since a rollback was ordered that is not read back.", *ROLLOUT)
_BLIND = (
    "rollout_calls_unreadable_seconds",
    "Since its calls cannot be read from Retell; no sample: they can.",
    *ROLLOUT,
    "why",
)
_WAITING = ("rollout_waiting", "1 for what it waits for; no sample: nothing.", *ROLLOUT, "waiting_for")
_EACH = (
    _PHASE,
    _HELD,
    _WAVE,
    _STEP,
    _STEPS,
    _ASKED,
    _CONFIRMED,
    _OBSERVED,
    _TARGETS,
    _VERDICT,
    _HARM,
    _LIMIT,
    _CALLS,
    _IN_STEP,
    _LATE,
    _WAITING,
    _UNDONE,
    _BLIND,
    _WRITES,
)


def _of_each(r: Rollout, writes: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    """The families of one rollout until something is recorded of it; fewer of one that has ended."""
    own = (r.name, r.id)
    yield _family(_PHASE, {(*own, str(each)): r.phase is each for each in Phase})
    for kind, shares in ((_ASKED, _asked(r)), (_CONFIRMED, _confirmed(r)), (_OBSERVED, _observed(r))):
        yield _family(kind, {(*own, arm): share for arm, share in shares.items()})
    states = Counter(t.state for t in r.targets)
    yield _family(_TARGETS, {(*own, str(s)): states[s] for s in TargetState if r.phase.is_live or states[s]})
    yield _family(_WRITES, {(*own, *of): count for of, count in sorted(writes.items())})
    if r.phase.is_live:
        yield from _of_position(r)
        yield from _of_gates(r)


def _of_position(r: Rollout) -> Iterator[Metric]:
    own = (r.name, r.id)
    if r.phase is Phase.HELD:
        reason = r.reason if r.reason in set(HeldReason) else "failure"
        yield _family(_HELD, {(*own, str(reason)): 1})
    yield _family(_WAVE, {own: r.position.wave})
    yield _family(_STEP, {own: r.position.step})
    yield _family(_STEPS, {own: r.plan.last_step})


def _of_gates(r: Rollout) -> Iterator[Metric]:
    own = (r.name, r.id)
    if r.verdict:
        outcome = r.verdict.get("outcome")
        yield _family(_VERDICT, {(*own, word): outcome == word for word in VERDICTS})
    judged = {(*own, str(arm["arm"])): arm for arm in summary.arms(r.verdict, intervals=False)}
    for kind, key in ((_HARM, "e_gate"), (_LIMIT, "roll_back_at"), (_CALLS, "canary_calls")):
        yield _family(kind, {of: arm[key] for of, arm in judged.items()})


def _of_time(live: Sequence[Rollout], now: datetime, unreadable: Mapping[str, CallsUnreadable]) -> Iterator[Metric]:
    """Metrics that move with the clock."""
    yield _family(_IN_STEP, {(r.name, r.id): _since(now, r.confirmed_at) for r in live if r.confirmed_at is not None})
    yield _family(_LATE, {(r.name, r.id): _since(now, r.due_at) for r in live})
    yield _family(_WAITING, {(r.name, r.id, str(r.waiting_for)): 1 for r in live if r.waiting_for is not None})
    undone = (r for r in live if r.phase is Phase.ROLLING_BACK and r.restored_at is None)
    blind = ((r, unreadable[r.id]) for r in live if r.id in unreadable)
    yield _family(_BLIND, {(r.name, r.id, found.why[:200]): _since(now, found.since) for r, found in blind})
    yield _family(_UNDONE, {(r.name, r.id): _since(now, r.rollback_at) for r in undone})


def _family(kind: Sequence[str], samples: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    name, text, *labels = kind
    family = _gauge(name, text, *labels)
    for values, value in samples.items():
        family.add_metric(list(values), value)
    return family


class _Rollbacks:
    """How long rollbacks took, from the journal; read once, and then only what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._took = Latencies(ROLLBACK_BUCKETS)
        self._counted: set[tuple[str, int]] = set()
        self._read_at: datetime | None = None

    def read(self, now: datetime) -> Latencies:
        since = None if self._read_at is None else self._read_at - AGAIN
        ordered: dict[str, datetime] = {}
        for id_, seq, kind, at in metrics_queries.rollbacks(self._database, since):
            if kind == "read_back":
                if id_ in ordered:
                    began = ordered.pop(id_)
                    if (id_, seq) not in self._counted:
                        self._counted.add((id_, seq))
                        self._took.add((at - began).total_seconds())
            else:
                ordered.setdefault(id_, at)  # ordered again while it was under way: the first order counts
        self._read_at = now
        return self._took


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
        entries for t in r.targets if t.wave <= r.position.wave and t.live for entries in t.live.values() if entries
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


_HEADS = {kind[0]: _text(_Given([_family(kind, {})])).decode() for kind in _EACH}
_lock = threading.Lock()
_known: WeakKeyDictionary[RequestMeter, _KeptText] = WeakKeyDictionary()
