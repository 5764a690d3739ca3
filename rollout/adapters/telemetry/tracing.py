"""Spans for OpenTelemetry: one for each pass of the driver, one for each request to Retell. An extra.

Without the SDK (the extra `otel`), or without OTEL_EXPORTER_OTLP_ENDPOINT, everything here does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollout.adapters.telemetry.logs import Logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = Logger(__name__)

_lock = threading.Lock()
_provider: Any = None
_tracer: Any = None


def start(wanted: bool, exporter: SpanExporter | None = None) -> bool:
    """Begin to trace when it is wanted and can be; return whether it does. Safe to call again.

    `exporter` is for those who want the spans themselves; else they go where OpenTelemetry's own variables say.
    """
    global _provider, _tracer
    with _lock:
        if _tracer is not None or not (wanted or exporter is not None):
            return _tracer is not None
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

            if exporter is None:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                processor: Any = BatchSpanProcessor(OTLPSpanExporter())
            else:
                processor = SimpleSpanProcessor(exporter)
        except ImportError as error:
            log.warning("no traces", why=f"{error.name} is not installed; install retell-rollout[otel]")
            return False
        resource = Resource.create()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, read by the SDK
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "rollout"}))
        _provider = TracerProvider(resource=resource)
        _provider.add_span_processor(processor)
        _tracer = _provider.get_tracer("rollout")
        return True


def stop() -> None:
    """Send the remaining spans and end tracing."""
    global _provider, _tracer
    with _lock:
        provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[Callable[..., None]]:
    """A span around this block; gives a function that adds attributes to it. An error is recorded by its type alone."""
    tracer = _tracer
    if tracer is None:
        yield lambda **_: None
        return
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:

        def more(**found: str | int | float | bool) -> None:
            current.set_attributes(found)

        try:
            yield more
        except BaseException as error:
            # Its text may hold a number or what Retell answered.
            current.set_attribute("error.type", type(error).__name__)
            raise


def request(operation: str, method: str, status: int | None, seconds: float, ended: datetime) -> None:
    """A span for a request to Retell that has ended, inside of the span under way in this thread's context."""
    tracer = _tracer
    if tracer is None:
        return
    end = int(ended.timestamp() * 1e9)
    made = tracer.start_span(
        f"retell {operation}",
        start_time=end - int(seconds * 1e9),
        attributes={"http.request.method": method, "rollout.operation": operation},
    )
    made.set_attribute("http.response.status_code" if status is not None else "error.type", status or "no_answer")
    made.end(end)
