"""External metrics of plans, for the gates: read in threads of their own.

A read serves every gate check for as long as `fresh` says. A check waits for its reads 5 s at most, for all of them
together, and 1 s where each has a value younger than 60 s: that value serves while the answer is late. A read
that ended without a value makes it unmeasurable at once.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from queue import SimpleQueue

from rollout.adapters.clock import SystemClock
from rollout.adapters.metric_sources.allowed_hosts import Late, Lookup, MetricHosts, ValueUnreadable
from rollout.adapters.metric_sources.fetch import SECONDS, read_value
from rollout.adapters.telemetry.logs import Logger
from rollout.domain.plan.metrics import Http, Prometheus
from rollout.domain.plan.plan import Plan
from rollout.engine.gate_check import MetricReadings
from rollout.engine.ports import Clock

log = Logger(__name__)

USABLE = 60.0  # seconds from the begin of its read: the age up to which a value stands for one that is late
SHORT = 1.0  # seconds
THREADS = 8
MOST_KEPT = 1000  # values in memory; those not asked for the longest time go first


@dataclass
class _Kept:
    """The last readings of one metric of one plan. Times are seconds of Clock.boot, when the read began."""

    metric: str
    asked_at: float
    read_at: float | None = None
    trouble: str | None = None
    late: bool = False
    value: float | None = None
    value_at: float = 0.0
    given: bool = False
    running: Future[None] | None = None


class ExternalMetrics:
    """A reader of plans' external metrics; the `ReadMetrics` of the gate check. Safe for threads.

    `hosts` are the entries of ROLLOUT_METRIC_HOSTS, `fresh` the seconds for which a read serves, `within` the
    seconds that one read may take. `tls` and `lookup` may bring other certificates and another resolver.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        clock: Clock,
        *,
        fresh: float,
        within: float = SECONDS,
        short: float = SHORT,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._hosts, self._clock, self._fresh = MetricHosts(hosts), clock, fresh
        self._within, self._short, self._tls, self._lookup = within, short, tls, lookup
        self._wall = SystemClock()  # what sockets wait by, whatever clock the looks go by
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lock = threading.Lock()
        self._readers = _Readers(THREADS)

    def problems(self, plan: Plan) -> list[str]:
        """Objections to the addresses of a plan's metrics, a sentence each; reads nothing."""
        return self._hosts.problems(plan)

    def close(self) -> None:
        """Begin no more reads; those under way end by themselves."""
        self._readers.close()

    def __call__(self, plan: Plan) -> MetricReadings:
        """The value of each external metric of the plan by name; None: it cannot be read."""
        sources = {m.name: m.external for m in plan.gates.metrics or () if m.external is not None}
        digest, now = plan.digest(), self._clock.boot()
        mine: dict[str, _Kept] = {}
        with self._lock:
            for name, source in sources.items():
                mine[name] = kept = self._kept.setdefault((digest, name), _Kept(name, now))
                kept.asked_at = now
                old = kept.read_at is None or now - kept.read_at >= self._fresh
                if kept.running is None and old:
                    kept.running = self._begin(kept, source, plan.name)
            self._forget()
            running = [k.running for k in mine.values() if k.running is not None]
            known = all(self._is_usable(k, now) for k in mine.values() if k.running is not None)
        wait(running, self._short if known else self._within)
        with self._lock:
            now = self._clock.boot()
            values = {name: self._value(kept, now) for name, kept in mine.items()}
            given = [name for name, value in values.items() if value is not None]
            repeated = frozenset(name for name in given if mine[name].given)
            for name in given:
                mine[name].given = True
            return MetricReadings(values, repeated)

    def _value(self, kept: _Kept, now: float) -> float | None:
        if kept.running is None and kept.trouble is None:
            return kept.value
        late = kept.running is not None or kept.late
        return kept.value if late and self._is_usable(kept, now) else None

    def _is_usable(self, kept: _Kept, now: float) -> bool:
        return kept.value is not None and now - kept.value_at < USABLE

    def _begin(self, kept: _Kept, source: Prometheus | Http, plan: str) -> Future[None]:
        done: Future[None] = Future()

        def work() -> None:
            begun, value, trouble, late = self._clock.boot(), None, None, False
            try:
                value = read_value(
                    source, self._hosts, self._wall, within=self._within, tls=self._tls, lookup=self._lookup
                )
            except ValueUnreadable as error:
                trouble, late = str(error), isinstance(error, Late)
            except Exception as error:
                log.exception("a metric was not read", metric=kept.metric, error=type(error).__name__)
                trouble = f"an unexpected error, {type(error).__name__}"
            with self._lock:
                if trouble is not None and trouble != kept.trouble:
                    log.warning("metric not readable", metric=kept.metric, plan=plan, why=trouble)
                elif trouble is None and kept.trouble is not None:
                    log.info("metric readable again", metric=kept.metric, plan=plan)
                kept.read_at, kept.trouble, kept.late, kept.running = begun, trouble, late, None
                if value is not None:
                    kept.value, kept.value_at, kept.given = value, begun, False
            done.set_result(None)

        self._readers.submit(work)
        return done

    def _forget(self) -> None:
        if len(self._kept) <= MOST_KEPT:
            return
        idle = sorted((k.asked_at, key) for key, k in self._kept.items() if k.running is None)
        for _, key in idle[: len(self._kept) - MOST_KEPT]:
            del self._kept[key]


class _Readers:
    """A few threads that do not keep the process from ending, as those of the standard pool do."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Queue work; a thread more is started up to the limit. Called under the lock of the owner."""
        self._work.put(work)
        if len(self._threads) < self._most and not self._closed:
            thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._work.put(lambda: None)

    def _run(self) -> None:
        while not self._closed:
            self._work.get()()
