"""One scrape of /metrics, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from rollout.adapters.exposition.prometheus import metrics_text
from tests.support.scene import Scene


@dataclass
class Ticks:
    """What a scheduler shows of its ticks."""

    counts: Counter[str] = field(default_factory=Counter)
    last_good: float | None = None


class Scrape:
    """One scrape, as Prometheus reads it."""

    def __init__(self, scene: Scene, ticks: Ticks | None = None) -> None:
        self.text = metrics_text(scene.app, ticks).decode()
        self.samples = [s for f in text_string_to_metric_families(self.text) for s in f.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The value of the one sample of this name that has these labels."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) == 1, f"{name}{labels}: {found}"
        return found[0]

    def has(self, name: str, **labels: str) -> bool:
        return any(s.name == name and labels.items() <= s.labels.items() for s in self.samples)

    def of_the_store(self) -> set[str]:
        """The lines that do not belong to one process, without those that follow the clock."""
        own = ("rollout_retell_", "rollout_tick_", "rollout_last_good_", "#")
        return {line for line in self.text.splitlines() if not line.startswith(own)}
