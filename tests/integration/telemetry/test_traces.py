"""Spans of passes and requests, with OpenTelemetry's in-memory exporter; and nothing at all without it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jobs.advance import Advance
from rollout.adapters.retell.thread_pool import ThreadPool
from rollout.adapters.telemetry import logs, tracing
from rollout.adapters.telemetry.request_stats import BUCKETS, Latencies, RequestMeter
from rollout.domain.errors import Refused
from rollout.settings import traces_wanted
from tests.support.logs import captured
from tests.support.scene import Scene
from tests.support.values import ONE, TWO


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    assert tracing.start(False, exporter)
    yield exporter
    tracing.stop()


def test_a_pass_is_a_span_and_its_requests_are_inside(scene: Scene, spans: InMemorySpanExporter) -> None:
    id_ = scene.given(numbers=[ONE, TWO])
    spans.clear()
    advance = Advance(scene.app)
    held = scene.app.store.claim(scene.app.owner, timedelta(seconds=45))
    advance._drive(held[0])
    advance.stop()
    found = spans.get_finished_spans()
    # Spans are the process's: another test's last threads may still end theirs.
    (whole,) = [s for s in found if s.name == "rollout.pass" and (s.attributes or {})["rollout"] == id_]
    assert whole.attributes is not None
    assert whole.attributes["phase"] == "progressing"
    assert whole.context is not None
    own = whole.context.trace_id
    requests = [s for s in found if s.name.startswith("retell ") and s.context and s.context.trace_id == own]
    assert {s.name for s in requests} >= {"retell get-phone-number", "retell update-phone-number"}
    for request in requests:
        assert request.parent is not None, request.name
        assert request.parent.span_id == whole.context.span_id
        assert request.attributes is not None
        assert request.attributes["http.response.status_code"] == 200
    assert not any("1415777" in str(s.to_json()) for s in found)


def test_a_request_without_an_answer(scene: Scene, spans: InMemorySpanExporter) -> None:
    tracing.request("get-agent", "GET", None, 1.5, scene.clock.now())
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "no_answer"
    assert _seconds(span) == pytest.approx(1.5)


def test_an_error_is_recorded_by_its_type_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(Refused), tracing.span("rollout.pass", rollout="r1"):
        raise Refused("+14157774444 hunter2")
    (span,) = spans.get_finished_spans()
    assert span.attributes == {"rollout": "r1", "error.type": "Refused"}
    assert list(span.events) == []
    assert span.resource.attributes["service.name"] == "rollout"


def test_nothing_happens_when_nobody_asked() -> None:
    assert not tracing.start(False)
    with tracing.span("rollout.pass", rollout="r1") as more:
        more(phase="held")
    tracing.stop()


def test_without_the_sdk_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setattr(tracing, "log", logs.Logger(tracing.__name__))  # whatever the first line of a run has set up
    with captured() as lines:
        assert not tracing.start(True)
    assert "install retell-rollout[otel]" in lines[0]["why"]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_asked_for_by_opentelemetrys_own_variables(environ: dict[str, str], wanted: bool) -> None:
    assert traces_wanted(environ) is wanted


def _seconds(span: ReadableSpan) -> float:
    assert span.end_time is not None
    assert span.start_time is not None
    return (span.end_time - span.start_time) / 1e9


# ------------------------------------------------------------------ across threads


def test_every_line_of_a_pass_carries_its_rollout() -> None:
    pool, seen = ThreadPool(4), []
    together = threading.Barrier(2, timeout=30)

    def work() -> None:
        together.wait()
        seen.append((threading.current_thread().name, structlog.contextvars.get_contextvars().get("rollout")))

    with structlog.contextvars.bound_contextvars(rollout="r1"):
        pool.run(work, 2, urgent=False)
    pool.close()
    assert len({name for name, _ in seen}) == 2
    assert [rollout for _, rollout in seen] == ["r1", "r1"]


# ------------------------------------------------------------------ the meter of requests


def test_latencies_are_cumulative() -> None:
    found = Latencies()
    for seconds in (0.01, 0.05, 0.3, 100.0):
        found.add(seconds)
    buckets = dict(found.buckets())
    assert (buckets["0.05"], buckets["0.25"], buckets["0.5"], buckets["60.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert list(buckets) == [*map(str, BUCKETS), "+Inf"]
    assert found.total == pytest.approx(100.36)


def test_the_meter_loses_no_request_between_threads() -> None:
    meter = RequestMeter()
    threads = [
        threading.Thread(target=lambda: [meter("get-agent", "GET", 200, 0.1) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter("get-agent", "GET", None, 15)
    counts, latencies = meter.read()
    assert counts == {("get-agent", "GET", "200"): 4000, ("get-agent", "GET", "none"): 1}
    assert sum(latencies["get-agent"].counts) == 4001
