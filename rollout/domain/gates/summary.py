"""A verdict as people see it, as one value: the command line, the API, the page and the report all show this.

Counts are of bad calls, as everywhere in the gates; the views turn them into good ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from rollout.domain.gates.forecast_wording import Forecast
from rollout.domain.gates.metrics import MetricRule, sample
from rollout.domain.gates.tally import Cell, Counts, totals
from rollout.domain.gates.verdict import Alarm, Comparison, GateEvidence, GateOutcome, Verdict
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout


@dataclass(frozen=True, slots=True)
class ArmCalls:
    """The judged calls of one arm."""

    bad: int
    calls: int

    @property
    def rate(self) -> float | None:
        """The share of bad calls; None without calls."""
        return self.bad / self.calls if self.calls else None

    @property
    def good(self) -> float | None:
        """The share of good calls; None without calls."""
        return (self.calls - self.bad) / self.calls if self.calls else None

    @property
    def good_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share of good calls; None without calls."""
        return wilson((self.calls - self.bad) / self.calls, self.calls) if self.calls else None


Z = 1.96  # of the normal distribution, for 95 %


def wilson(share: float, calls: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen in so many calls; for looking once, unlike the intervals of differences."""
    if not calls:
        return 0.0, 1.0
    middle = share + Z * Z / (2 * calls)
    half = Z * math.sqrt(share * (1 - share) / calls + Z * Z / (4 * calls * calls))
    scale = 1 + Z * Z / calls
    return max(0.0, min(share, (middle - half) / scale)), min(1.0, max(share, (middle + half) / scale))


@dataclass(frozen=True, slots=True)
class Meter:
    """Evidence on its way to the line at which it decides: an e-value, and 1/alpha, 1/beta or an alarm's."""

    e: float
    line: float

    @property
    def part(self) -> float:
        """Its progress, 0..1 on a logarithmic scale."""
        if self.line <= 1 or self.e <= 1:
            return 0.0
        return min(1.0, math.log(self.e) / math.log(self.line))


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One counted outcome of a metric (latency has two). interval: of the difference, canary minus baseline, as parts of 1;
    it holds at any time with an error of .05 on each side; None while there is nothing to compare. proof and margin: of
    a critical metric. sample: (judged calls, calls that could be), where only some are."""

    name: str
    outcome: str
    canary: ArmCalls
    baseline: ArmCalls
    interval: tuple[float, float] | None
    harm: Meter
    proof: Meter | None
    margin: float | None
    sample: tuple[int, int] | None = None

    @property
    def difference(self) -> float | None:
        """The canary's rate of bad calls minus the baseline's."""
        canary, baseline = self.canary.rate, self.baseline.rate
        return None if canary is None or baseline is None else canary - baseline


@dataclass(frozen=True, slots=True)
class ExternalSummary:
    """A value from elsewhere and its limits; value None: it could not be read."""

    name: str
    value: float | None
    maximum: float | None
    minimum: float | None


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """The gates of one canary or variant.

    canary_calls and floor: of the current step. open: calls that have no result yet. calls_per_day: over the last seven
    days. decides: True if its calls decide what comes next. forecast: of the evidence still needed then, if one is
    possible.
    """

    name: str
    outcome: GateOutcome
    alarm: Alarm | None
    reason: str
    profile: str
    rollback: Meter
    split: Meter
    labels: Meter
    canary_calls: int
    floor: int
    open: int
    calls_per_day: float | None
    unavailable: str | None
    metrics: tuple[MetricSummary, ...]
    external: tuple[ExternalSummary, ...]
    decides: bool
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class VariantProof:
    """The best variant's progress towards the proof that it is better than another one."""

    leader: str
    other: str
    metric: str
    proof: Meter


@dataclass(frozen=True, slots=True)
class GateSummary:
    """The verdict on all arms together, and each of them. against: of the variant with the best rate, by each other one.

    shipped: the variant that is being shipped; of the others `arms` has what was said of them last.
    """

    outcome: GateOutcome
    alarm: Alarm | None
    reason: str
    arms: tuple[ArmSummary, ...]
    against: tuple[VariantProof, ...] = ()
    shipped: str | None = None

    @property
    def judged(self) -> tuple[ArmSummary, ...]:
        """The arms whose gates still decide."""
        return tuple(a for a in self.arms if self.shipped in (None, a.name))


def summarise(r: Rollout) -> GateSummary | None:
    """The newest verdict on a rollout; None while there is none. Without forecasts unless the rollout continues and its
    calls decide what comes next."""
    verdict = r.verdict
    if verdict is None:
        return None
    decides = r.phase in (Phase.PROGRESSING, Phase.PAUSED)
    said = verdict.outlook if decides else verdict.reason
    arms = tuple(_arm(name, kept, decides=decides) for name, kept in verdict.arms.items())
    against = () if r.shipped is not None or verdict.comparison is None else tuple(_against(verdict.comparison))
    return GateSummary(verdict.outcome, verdict.alarm, said, arms, against, r.shipped)


def _against(found: Comparison) -> Iterator[VariantProof]:
    for name, said in found.over.items():
        for metric, e in said.evidence.figures.safe.items():
            yield VariantProof(found.leader, name, metric, Meter(e, 1 / said.evidence.config.beta))


def meters(verdict: Verdict) -> tuple[Meter, tuple[Meter, ...]]:
    """An arm's progress towards a rollback, and towards the proof of each critical metric."""
    config, figures = verdict.evidence.config, verdict.evidence.figures
    proofs = tuple(Meter(e, 1 / config.beta) for e in figures.safe.values())
    return Meter(figures.e_gate, 1 / config.alpha), proofs


def _arm(name: str, verdict: Verdict, *, decides: bool) -> ArmSummary:
    evidence = verdict.evidence
    config, figures, tally = evidence.config, evidence.figures, evidence.tally
    undecided = decides and verdict.outcome is GateOutcome.UNDECIDED
    return ArmSummary(
        name,
        verdict.outcome,
        verdict.alarm,
        verdict.outlook if decides else verdict.reason,
        config.profile,
        meters(verdict)[0],
        Meter(max(figures.e_split.values()), config.split_alarm),
        Meter(max(figures.e_labels.values(), default=1.0), config.labels_alarm),
        figures.canary_calls,
        figures.floor,
        tally.open,
        tally.calls_per_day,
        tally.unavailable,
        tuple(_metric(evidence, m, s) for m in config.compared for s in m.series),
        tuple(
            ExternalSummary(m.name, tally.external.get(m.name), m.maximum, m.minimum)
            for m in config.metrics
            if m.external
        ),
        undecided,
        _forecast(evidence) if undecided else None,
    )


def _metric(evidence: GateEvidence, metric: MetricRule, series: str) -> MetricSummary:
    config, figures = evidence.config, evidence.figures
    fc, sc, fb, sb = figures.counts[series]
    line = 1 / config.alpha / metric.share if metric.share else math.inf
    safe = figures.safe.get(metric.name)
    judged, ended = sample(metric, ((c.counts, c.lost) for c in evidence.tally.cells))
    return MetricSummary(
        metric.name,
        series,
        ArmCalls(fc, fc + sc),
        ArmCalls(fb, fb + sb),
        _interval(_by_weight(evidence.tally.cells, series)) if fc + sc + fb + sb else None,
        Meter(figures.harm[metric.name], line),
        None if safe is None else Meter(safe, 1 / config.beta),
        None if safe is None else figures.margins[metric.name],
        (judged, ended) if judged < ended else None,
    )


def _by_weight(cells: tuple[Cell, ...], series: str) -> tuple[tuple[float, Counts], ...]:
    compared = [c for c in cells if 0.0 < c.weight < 1.0]
    weights = dict.fromkeys(c.weight for c in compared)
    return tuple((w, totals([c for c in compared if c.weight == w], series)) for w in weights)


@lru_cache(maxsize=512)  # many open pages ask for the same ones
def _interval(by_weight: tuple[tuple[float, Counts], ...]) -> tuple[float, float]:
    from rollout.domain.gates import evidence as ev

    return ev.shown_interval([n for _, n in by_weight], [w for w, _ in by_weight])


def _forecast(evidence: GateEvidence) -> Forecast | None:
    from rollout.domain.gates.reasons import still_needed

    return still_needed(evidence.config, evidence.tally, evidence.figures)
