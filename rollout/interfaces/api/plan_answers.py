"""Plans in the API's answers: what pre-flight found, the bodies that would be sent, and rehearsals."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from rollout.interfaces.api.gate_answers import Described


class FieldDifferenceModel(Described):
    """One field of two agent versions that differs; values are JSON texts, secrets are masked."""

    field: str = Field(examples=["prompt.general_prompt"])
    before: str | None = Field(description="null: the field is not there.")
    after: str | None
    diff: list[str] = Field(description="Of a long text, as lines of a unified diff.")


class VersionDifferenceModel(Described):
    """What differs between a version that the numbers serve and one that is tried."""

    before: str = Field(examples=["agent_abc version 6"])
    after: str = Field(examples=["agent_abc version 7"])
    fields: list[FieldDifferenceModel]
    more: int = Field(description="Fields that are not listed.")
    unread: list[str] = Field(description="Parts that could not be read.")


class CheckedNumberModel(Described):
    """A number of the plan, and what it serves now."""

    number: str = Field(examples=["+14157774444"])
    wave: int = Field(examples=[1])
    nickname: str | None
    serves: dict[str, str] = Field(
        description="By list, in words.", examples=[{"inbound_agents": "100 % agent_abc v6"}]
    )


class PlanStepModel(Described):
    """A step of the plan."""

    step: int = Field(examples=[1])
    weights: dict[str, float] = Field(description="The share of new calls of each version, 0..1.")
    hold: str = Field(examples=["30min"])
    min_calls: int | None
    approve: bool = Field(description="A person must promote it.")


class RequestGroupModel(Described):
    """The requests for some numbers: the same body for each of them."""

    numbers: list[str]
    method: str = Field(examples=["PATCH"])
    path: str = Field(examples=["/update-phone-number/{number}"])
    steps: list[str] = Field(description="The body of each step.")
    rollback: str = Field(description="The body of the rollback.")
    retreat: str | None = Field(description="The body at closing time; null: the plan has no retreat.")


class ProposedFiguresModel(Described):
    """A plan's figures at this traffic, by the formulas (`check`) or as played (`rehearse`)."""

    calls: int | None = Field(None, description="Calls that half of the rollouts of an equally good canary need.")
    days: float | None = Field(None, description="Days until then; null: none was promoted.")
    equal_promoted: float | None = Field(None, description="The share of equally good canaries that was promoted.")
    worse_rolled_back: float | None = Field(None, description="The share of worse ones that was rolled back.")
    worse_promoted: float | None = Field(None, description="The share of worse ones that was promoted.")


class ProposalModel(Described):
    """For a plan that cannot decide at its traffic: a change of it that could."""

    why: str
    change: str = Field(description="In words.")
    yaml: str = Field(description="The entries of the plan that change.")
    now: ProposedFiguresModel
    then: ProposedFiguresModel


class ScenarioModel(Described):
    """One kind of canary, and what became of its rollouts: shares of all, medians of those that ended so."""

    name: str = Field(examples=["equal"])
    promoted: float
    rolled_back: float
    undecided: float
    calls_to_promote: float | None
    days_to_promote: float | None
    calls_to_roll_back: float | None
    days_to_roll_back: float | None
    canary_to_roll_back: float | None = Field(description="Calls of the canary until the rollback.")


class TestEndsModel(Described):
    """The ends of one kind of A/B test, as parts of all runs."""

    name: str = Field(examples=["equal"])
    shipped: dict[str, float] = Field(description="By variant.")
    nothing: float = Field(description="Nothing was proven.")
    failed: float = Field(description="The gates of a variant failed before.")


class DecisionModel(Described):
    """The decision on an A/B test, played against modelled callers."""

    calls: int = Field(description="Of all versions until the decision.")
    days: float = Field(description="Days that these calls take.")
    runs: int
    ends: list[TestEndsModel]


class RehearsalAnswer(Described):
    """A plan, played against modelled callers."""

    plan: str = Field(description="Its name.")
    line: str = Field(description="All of it in one line.")
    notes: list[str]
    runs: int
    calls_per_day: float
    rates: dict[str, float] = Field(description="The share of bad calls that was played, by metric.")
    begins: datetime = Field(description="Days count from then.")
    scenarios: list[ScenarioModel]
    decision: DecisionModel | None = Field(None, description="Only for a plan that decides an A/B test.")
    proposal: ProposalModel | None = Field(None, description="Only for a plan that cannot decide at that traffic.")
