"""The gates in the API's answers: evidence by arm and by metric, and the comparison of variants.

rollout.interfaces.views.gates makes these documents; here they are described. Rates are those of bad calls, 0..1.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Described(BaseModel):
    """A part of an answer: it has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class ArmCallsModel(Described):
    """The judged calls of one version."""

    bad: int = Field(examples=[3])
    calls: int = Field(examples=[120])
    rate: float | None = Field(description="The share of bad calls; null without calls.", examples=[0.025])


class HarmModel(Described):
    """The evidence that the version does worse."""

    E: float = Field(description="The e-value.", examples=[1.4])
    at: float | None = Field(description="The e-value at which it is rolled back; null: this metric alone never does.")


class SafetyModel(Described):
    """The evidence that the version does not do worse by more than the margin."""

    E: float = Field(description="The e-value.", examples=[6.2])
    at: float = Field(description="The e-value at which it is proven.", examples=[20])
    margin: float | None = Field(description="The drop that is allowed, as part of 1.", examples=[0.08])


class SampleModel(Described):
    """The calls that were judged where not all are."""

    judged: int
    of: int


class CountedMetricModel(Described):
    """One counted outcome of a metric, of this version and of the baseline."""

    name: str = Field(examples=["success"])
    outcome: str = Field(description="The outcome that is counted; latency has two.", examples=["success"])
    critical: bool = Field(description="It must be proven before a step.")
    external: bool = Field(examples=[False])
    canary: ArmCallsModel
    baseline: ArmCallsModel
    difference: float | None = Field(description="Bad calls, this version minus the baseline, as part of 1.")
    interval: list[float] | None = Field(description="Of the difference; it holds however often one looks.")
    harm: HarmModel
    sample: SampleModel | None = Field(None, description="Only where not all calls are judged.")
    safe: SafetyModel | None = Field(None, description="Only of a critical metric.")


class ExternalMetricModel(Described):
    """A value from a metric source, and its limits."""

    name: str = Field(examples=["handoffs"])
    critical: bool = Field(examples=[False])
    external: bool = Field(examples=[True])
    value: float | None = Field(description="null: it could not be read.")
    max: float | None
    min: float | None


class ArmGatesModel(Described):
    """The gates of the canary or of one variant."""

    arm: str = Field(examples=["canary"])
    outcome: str = Field(description="pass, fail, undecided or unmeasurable.", examples=["undecided"])
    alarm: str | None = Field(description="The alarm that was raised: split, labels, watch or amber; null: none.")
    reason: str = Field(examples=["12 of 50 calls"])
    profile: str = Field(examples=["balanced"])
    e_gate: float = Field(description="The e-value of harm, all metrics together.")
    roll_back_at: float
    e_split: float = Field(description="The e-value against calls that follow the weights.")
    split_alarm_at: float
    e_labels: float = Field(description="The e-value against results that go missing on both sides alike.")
    labels_alarm_at: float
    canary_calls: int = Field(description="Judged calls of this version in this step.")
    floor: int = Field(description="Judged calls that the step needs at least.")
    open: int = Field(description="Calls that have no result yet.")
    calls_per_day: float | None = Field(description="Over the last seven days.")
    unavailable: str | None = Field(description="Why the gates cannot see the calls, if they cannot.")
    metrics: list[CountedMetricModel | ExternalMetricModel]


class VariantComparisonModel(Described):
    """The evidence that the variant with the best rate is better than another one."""

    leader: str
    other: str
    metric: str
    E: float = Field(description="The e-value.")
    at: float = Field(description="The e-value at which it is proven.")
