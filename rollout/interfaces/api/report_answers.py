"""The report in the API's answers; `rollout report --json` writes the same. Rates are those of good calls, 0..1."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from rollout.interfaces.api.answers import Summary
from rollout.interfaces.api.gate_answers import ArmGatesModel, Described


class ReportedMetricModel(Described):
    """One counted outcome of one version. The difference is to the baseline, more is better."""

    name: str = Field(examples=["success"])
    margin: float | None = Field(description="Of a critical metric: the drop that is allowed, as part of 1.")
    good: int
    calls: int
    rate: float | None
    interval: list[float] | None = Field(description="Of the rate, 95 %, for looking once.")
    difference: float | None
    difference_interval: list[float] | None = Field(description="It holds however often one looks.")


class ReportedVersionModel(Described):
    """The baseline or a version that is tried."""

    name: str = Field(examples=["baseline", "canary"])
    serves: str = Field(examples=["agent_abc v7"])
    weight: float = Field(description="Its confirmed share of new calls now, 0..1.")
    calls: int = Field(description="Calls that it took.")
    outcome: str | None = Field(description="Of its gates; null for the baseline, and before there is a verdict.")
    metrics: list[ReportedMetricModel]


class RecommendationModel(Described):
    """What to do, in sentences."""

    advice: str = Field(examples=["wait"])
    what: str
    why: list[str]
    would_change: str = Field(description="What would change it.")


class EndingModel(Described):
    """How it ended, in sentences."""

    at: datetime
    what: str
    results: str = Field(description="What the calls had shown by then.")
    followed: list[str]


class ReportedEventModel(Described):
    """An entry of the journal that the report tells."""

    at: datetime
    actor: str
    kind: str = Field(examples=["confirmed"])
    what: str
    weight: float | None = Field(
        description="The share of new calls of the versions tried that it made live, if it did."
    )


class WeightModel(Described):
    """The share of new calls of the versions tried, 0..1, from this moment on."""

    at: datetime
    weight: float


class RatePointModel(Described):
    """A version's calls until one look."""

    at: datetime
    good: int
    calls: int
    rate: float | None
    interval: list[float] | None


class EvidencePointModel(Described):
    """The evidence at one look, as e-values."""

    at: datetime
    calls: int = Field(description="Of both sides.")
    harm: float
    proof: float | None = Field(description="null: no metric has to be proven.")


class EvidenceModel(Described):
    """The evidence on one version over its calls, and the e-values at which it decides."""

    rolls_back_at: float
    proven_at: float
    points: list[EvidencePointModel]


class ReportAnswer(Described):
    """The report on a rollout, with 95 % intervals."""

    rollout: Summary
    at: datetime
    since: datetime | None = Field(description="When it started.")
    until: datetime | None = Field(description="When it ended.")
    numbers: list[str]
    channels: list[str]
    calls: int
    metric: str = Field(description="The first one of the gates; empty without gates.", examples=["success"])
    versions: list[ReportedVersionModel] = Field(description="The baseline and every version tried.")
    arms: list[ArmGatesModel] = Field(description="The gates, as in the answer about the rollout.")
    recommendation: RecommendationModel | None = Field(description="null once it is over, or goes back.")
    ending: EndingModel | None = Field(description="null until it is over, or goes back.")
    events: list[ReportedEventModel]
    weights: list[WeightModel]
    rates: dict[str, list[RatePointModel]] = Field(description="By version: its rate in the first metric at each look.")
    evidence: dict[str, EvidenceModel] = Field(description="By variant.")
