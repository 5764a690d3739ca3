"""The report on a rollout for those who answer for it: what was tried, what the calls said, and what to do or what was done.

One value; `report_pages` shows it as text and as HTML, and the page includes that HTML. Rates are those of good calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollout.domain.gates.summary import ArmCalls, ArmSummary, GateSummary, MetricSummary, summarise
from rollout.domain.gates.verdict import GateOutcome, StoredLook, Verdict
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.splits import splits
from rollout.interfaces.views import gates
from rollout.interfaces.views import rollout as views
from rollout.interfaces.views.report_advice import Recommendation, recommend
from rollout.interfaces.views.report_history import Ending, ReportedEvent, ending, events

if TYPE_CHECKING:
    from rollout.adapters.store.journal import RecordedEntry

BASELINE = "baseline"
MOST_LOOKS = 150  # as many as a curve can show
MOST_BASELINES = 3


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """One counted outcome of one version.

    `difference` and `interval` are of good calls, variant minus baseline, as parts of 1; the 95 % interval holds at
    every check. Both are None for the baseline, and while nothing can be compared. `margin`, of a critical metric, is
    the part of 1 by which a version must be proven not to be worse.
    """

    name: str
    margin: float | None
    rate: ArmCalls
    difference: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ReportedVersion:
    """The baseline or a version being tried.

    `calls` counts those that started, `weight` is its confirmed share now (0..1). `outcome` is that of its gates; None
    for the baseline, and before there is a verdict.
    """

    name: str
    serves: str
    weight: float
    calls: int
    outcome: GateOutcome | None
    metrics: tuple[ReportedMetric, ...]


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A version's calls in the first metric, up to one check of the gates."""

    at: datetime
    rate: ArmCalls


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """The evidence on a version at one check of the gates, after so many calls of both sides.

    `harm` is the e-value towards a rollback, `proof` the smallest of those towards a promotion; None where no metric
    has to be proven.
    """

    at: datetime
    calls: int
    harm: float
    proof: float | None


@dataclass(frozen=True, slots=True)
class EvidenceCurve:
    """The evidence on one version over its calls, and the e-values at which it decides."""

    version: str
    points: tuple[EvidencePoint, ...]
    rolls_back_at: float
    proven_at: float


@dataclass(frozen=True, slots=True)
class WeightChange:
    """From `at` on the versions being tried had this share of new calls, 0..1."""

    at: datetime
    weight: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the report shows.

    `metric` is the first one of the gates, whose rates are drawn; "" without gates. `recommendation` is None once the
    rollout is over or goes back; then `ending` says what was done and what followed.
    """

    rollout: Mapping[str, Any]
    at: datetime
    since: datetime | None
    until: datetime | None
    numbers: tuple[str, ...]
    channels: tuple[str, ...]
    calls: int
    metric: str
    versions: tuple[ReportedVersion, ...]
    gates: GateSummary | None
    rates: Mapping[str, tuple[RatePoint, ...]]
    evidence: tuple[EvidenceCurve, ...]
    weights: tuple[WeightChange, ...]
    recommendation: Recommendation | None
    ending: Ending | None
    events: tuple[ReportedEvent, ...]

    def to_json(self) -> dict[str, Any]:
        """For programs; `arms` as in `rollout show --json`."""
        end, told = self.ending, self.recommendation
        return {
            "rollout": self.rollout,
            "at": views.when(self.at),
            "since": views.when(self.since),
            "until": views.when(self.until),
            "numbers": list(self.numbers),
            "channels": list(self.channels),
            "calls": self.calls,
            "metric": self.metric,
            "versions": [_version_json(v) for v in self.versions],
            "arms": gates.arms(self.gates),
            "recommendation": None if told is None else asdict(told),
            "ending": None if end is None else {**asdict(end), "at": views.when(end.at)},
            "events": [{**asdict(e), "at": views.when(e.at)} for e in self.events],
            "weights": [{"at": views.when(w.at), "weight": w.weight} for w in self.weights],
            "rates": {name: [_rate_json(p.rate, p.at) for p in curve] for name, curve in self.rates.items()},
            "evidence": {
                c.version: {
                    "rolls_back_at": c.rolls_back_at,
                    "proven_at": c.proven_at,
                    "points": [{**asdict(p), "at": views.when(p.at)} for p in c.points],
                }
                for c in self.evidence
            },
        }


def report(r: Rollout, looks: Sequence[StoredLook], journal: Sequence[RecordedEntry], now: datetime) -> Report:
    """The report on a rollout at `now`.

    `looks` are all checks of its gates, or enough of them for a curve; `journal` is the whole one.
    """
    found = summarise(r)
    happened = events(r, journal)
    versions = _versions(r, found)
    end = ending(r, happened, found, now)
    return Report(
        views.summary(r),
        now,
        r.started_at,
        None if end is None else end.at,
        tuple(t.number for t in r.targets),
        tuple(str(c) for c in r.plan.channels),
        sum(v.calls for v in versions),
        found.arms[0].metrics[0].outcome if found is not None and found.arms and found.arms[0].metrics else "",
        versions,
        found,
        _rates(looks),
        _evidence(looks),
        tuple(WeightChange(e.at, e.weight) for e in happened if e.weight is not None),
        recommend(r, found),
        end,
        happened,
    )


def _versions(r: Rollout, found: GateSummary | None) -> tuple[ReportedVersion, ...]:
    arms = {} if found is None else {a.name: a for a in found.arms}
    verdicts: Mapping[str, Verdict] = {} if r.verdict is None else r.verdict.arms
    cells = {name: verdict.evidence.tally.cells for name, verdict in verdicts.items()}
    started = max((sum(c.started[1] for c in own) for own in cells.values()), default=0)
    weights = {name: points / splits.TOTAL for name, points in r.weights.items()}
    baseline = ReportedVersion(
        BASELINE, _baselines(r), round(1 - sum(weights.values()), 6), started, None, _of_baseline(list(arms.values()))
    )
    tried = [
        ReportedVersion(
            name,
            f"{ref.agent_id} v{ref.agent_version}",
            weights.get(name, 0.0),
            sum(c.started[0] for c in cells.get(name, ())),
            arms[name].outcome if name in arms else None,
            tuple(map(_compared, arms[name].metrics)) if name in arms else (),
        )
        for name, ref in r.plan.arms.items()
    ]
    return (baseline, *tried)


def _baselines(r: Rollout) -> str:
    """The splits that the numbers served before, each once."""
    found = list(
        dict.fromkeys(splits.describe(entries) for t in r.targets for entries in t.baseline.values() if entries)
    )
    shown = [text.removeprefix("100 % ") for text in found[:MOST_BASELINES]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _of_baseline(arms: Sequence[ArmSummary]) -> tuple[ReportedMetric, ...]:
    """By metric, of the arm that was compared with most of the baseline's calls."""
    if not arms:
        return ()
    same = [max(group, key=lambda m: m.baseline.calls) for group in zip(*(a.metrics for a in arms), strict=True)]
    return tuple(ReportedMetric(m.outcome, m.margin, m.baseline) for m in same)


def _compared(m: MetricSummary) -> ReportedMetric:
    """In shares of good calls, where more is better; `0.0 -` makes no negative zero."""
    difference = None if m.difference is None else 0.0 - m.difference
    interval = None if m.interval is None or difference is None else (0.0 - m.interval[1], 0.0 - m.interval[0])
    return ReportedMetric(m.outcome, m.margin, m.canary, difference, interval)


def _rates(looks: Sequence[StoredLook]) -> dict[str, tuple[RatePoint, ...]]:
    curves: dict[str, list[RatePoint]] = {}
    last: dict[str, ArmCalls] = {}
    for look in looks:
        found: dict[str, ArmCalls] = {}
        for arm, verdict in look.verdict.arms.items():
            config, figures = verdict.evidence.config, verdict.evidence.figures
            first = next((s for m in config.compared for s in m.series), None)
            if first is None:
                continue
            fc, sc, fb, sb = figures.counts.get(first, (0, 0, 0, 0))
            baseline = ArmCalls(fb, fb + sb)
            found[BASELINE] = max(found.get(BASELINE, baseline), baseline, key=lambda calls: calls.calls)
            found[arm] = ArmCalls(fc, fc + sc)
        if found != last:  # at full weight nothing is compared, and the curves have ended
            for name, rate in found.items():
                if rate.calls:
                    curves.setdefault(name, []).append(RatePoint(look.at, rate))
        last = found
    return {name: tuple(curves[name]) for name in sorted(curves, key=lambda name: name != BASELINE)}


def _evidence(looks: Sequence[StoredLook]) -> tuple[EvidenceCurve, ...]:
    points: dict[str, list[EvidencePoint]] = {}
    lines: dict[str, tuple[float, float]] = {}
    for look in looks:
        for arm, verdict in look.verdict.arms.items():
            config, figures = verdict.evidence.config, verdict.evidence.figures
            calls = sum(sum(c.started) for c in verdict.evidence.tally.compared)
            proof = min(figures.safe.values(), default=None)
            points.setdefault(arm, []).append(EvidencePoint(look.at, calls, figures.e_gate, proof))
            lines[arm] = (1 / config.alpha, 1 / config.beta)
    return tuple(EvidenceCurve(arm, tuple(found), *lines[arm]) for arm, found in points.items())


def _version_json(v: ReportedVersion) -> dict[str, Any]:
    return {
        "name": v.name,
        "serves": v.serves,
        "weight": v.weight,
        "calls": v.calls,
        "outcome": None if v.outcome is None else str(v.outcome),
        "metrics": [
            {
                "name": m.name,
                "margin": m.margin,
                **_rate_json(m.rate),
                "difference": m.difference,
                "difference_interval": None if m.interval is None else list(m.interval),
            }
            for m in v.metrics
        ],
    }


def _rate_json(rate: ArmCalls, at: datetime | None = None) -> dict[str, Any]:
    interval = rate.good_interval
    found = {
        "good": rate.calls - rate.bad,
        "calls": rate.calls,
        "rate": rate.good,
        "interval": None if interval is None else list(interval),
    }
    return found if at is None else {"at": views.when(at), **found}
