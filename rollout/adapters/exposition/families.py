"""Families of metrics, and their text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Given(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def text_of(collector: Collector) -> bytes:
    """In Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def lines_by_family(metrics: Iterable[Metric]) -> dict[str, str]:
    """The samples as lines of text, by the name of their family."""
    found: dict[str, str] = {}
    for line in text_of(Given(metrics)).decode().splitlines(keepends=True):
        if not line.startswith("#"):
            family = line[: line.index("{")]
            found[family] = found.get(family, "") + line
    return found


def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """A gauge without samples."""
    return GaugeMetricFamily(name, text, labels=labels)


def one(name: str, text: str, labels: dict[str, str], value: float) -> GaugeMetricFamily:
    """A gauge with one sample."""
    family = gauge(name, text, *labels)
    family.add_metric(list(labels.values()), value)
    return family


def since(now: datetime, at: datetime | None) -> float:
    """Seconds from then to now, not below 0; 0 for never."""
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
