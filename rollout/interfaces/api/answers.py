"""The API's answers, as its description shows them. Times are ISO 8601 in UTC, weights 0..1."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.interfaces.api.gate_answers import ArmGatesModel, VariantComparisonModel
from rollout.interfaces.api.plan_answers import (
    CheckedNumberModel,
    PlanStepModel,
    ProposalModel,
    RequestGroupModel,
    VersionDifferenceModel,
)


class PositionModel(BaseModel):
    """The position of a rollout: its wave and step."""

    wave: int = Field(examples=[1])
    step: int = Field(examples=[2])


class CommandAnswer(BaseModel):
    """The state of a rollout after a command."""

    id: str = Field(examples=["k7m2x9p4qa"])
    phase: str = Field(examples=["paused"])
    reason: str | None = Field(examples=["calls drop"])
    position: PositionModel
    epoch: int = Field(description="Rises with every claim and every command.", examples=[12])


class AgentModel(BaseModel):
    """One version of an agent."""

    agent_id: str = Field(examples=["agent_abc"])
    agent_version: int = Field(examples=[7])


class Summary(BaseModel):
    """A rollout without its targets."""

    id: str = Field(examples=["k7m2x9p4qa"])
    name: str = Field(examples=["frontdesk-v7"])
    phase: str = Field(
        description="pending, progressing, paused, held, promoted, rolling_back, rolled_back or stopped.",
        examples=["progressing"],
    )
    reason: str | None = Field(description="Why it is held, paused, stopped or rolled back.")
    position: PositionModel
    steps: int = Field(description="Number of steps in the plan.", examples=[3])
    agents: list[AgentModel] = Field(description="The agent versions being tried.")
    weight: float = Field(description="The canary's share of new calls, 0..1.", examples=[0.1])
    retreated: float | None = Field(
        description="The retreat weight of closing time, 0..1; null: the weight of the position applies."
    )
    due_at: datetime | None = Field(description="When the next check is due.")
    next: str = Field(description="What happens next.", examples=["step 1.2"])
    why: str = Field(description="Why not yet.", examples=["12 of 50 calls"])
    waiting_for: WaitingFor | None = Field(
        description="The same for programs; null: nothing, or not known before the next pass.", examples=["calls"]
    )
    created_at: datetime
    updated_at: datetime


class TargetModel(BaseModel):
    """One number of a rollout; lists are Retell's, verbatim, by field (inbound_agents, ...)."""

    number: str = Field(examples=["+14157774444"])
    wave: int
    step: int
    channels: list[str]
    baseline: dict[str, Any] = Field(description="What a rollback restores.")
    confirmed: dict[str, Any] = Field(description="What was last written and read back.")
    live: dict[str, Any] | None = Field(description="What was last seen.")
    live_at: datetime | None
    state: str = Field(examples=["confirmed"])


class VerdictModel(BaseModel):
    """The verdict on all arms together."""

    outcome: str = Field(description="pass, fail, undecided or unmeasurable.", examples=["undecided"])
    alarm: str | None = Field(description="The alarm that was raised: split, labels, watch or amber; null: none.")
    reason: str = Field(examples=["12 of 50 calls"])


class TestedVersionModel(BaseModel):
    """The runs of one version that had ended when a batch last did; errors are Retell's own."""

    name: str = Field(description="canary, a variant, or baseline.", examples=["canary"])
    engine: dict[str, Any] = Field(description="The response engine and its version, as Retell names it.")
    passed: int
    failed: int
    errors: int


class CaseFailureModel(BaseModel):
    """A test case that failed."""

    arm: str = Field(examples=["canary"])
    case: str = Field(description="Its name.", examples=["Books a table"])
    failed: int = Field(description="The number of runs in which it failed.")
    explanation: str = Field(description="Retell's explanation of the first run that failed.")


class TestsModel(BaseModel):
    """The tests of the agent before the first step, as last recorded."""

    outcome: str | None = Field(description="passed, failed or unmeasurable; null: no result.", examples=["failed"])
    reason: str | None
    total: int = Field(description="Runs that are needed.")
    versions: list[TestedVersionModel]
    batches: list[str] = Field(description="Retell's ids.")
    failures: list[CaseFailureModel]


class CallsUnreadableModel(BaseModel):
    """Calls that cannot be read from Retell, from the first look that failed on."""

    since: datetime
    why: str


class RolloutModel(Summary):
    """One rollout whole."""

    weights: dict[str, float]
    by_hand: dict[str, float] | None = Field(
        description="The weights that a person set in place of the step's; null: the step's own are wanted."
    )
    shipped: str | None = Field(description="The version that gets every call at the end; null: none was chosen.")
    decides_at: datetime | None = Field(
        description="The earliest moment at which the plan ends its A/B test; null: it does not, or not in this step."
    )
    waves: int
    plan: dict[str, Any]
    channels: list[str]
    created_by: str
    epoch: int
    unsettled: int = Field(description="Writes whose outcome is not known yet.")
    verdict: VerdictModel | None = Field(description="The verdict of the gates; null: none yet.")
    gates: list[ArmGatesModel] = Field(description="Their evidence, by arm.")
    comparison: list[VariantComparisonModel] = Field(
        description="How far the variant with the best rate has come towards the proof that it is better than each other."
    )
    gates_text: list[str] = Field(description="The same in words.")
    tests: TestsModel | None = Field(description="null: the plan has none, or they have not run yet.")
    targets: list[TargetModel]
    timetable: str | None = Field(None, description="What is still to come, and when at the earliest.")
    calls_unreadable: CallsUnreadableModel | None = Field(
        None, description="Since when its calls cannot be read, and why; null while they can."
    )


class RollbackAnswer(RolloutModel):
    """The rollout, and whether every number has been read back at its baseline."""

    read_back: bool
    seconds: float | None = Field(description="From the order to the last read-back, in seconds.", examples=[0.4])
    trouble: str | None = Field(None, description="What delays the read-back, if anything.")


class Summaries(BaseModel):
    """A page of rollouts, newest first."""

    items: list[Summary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class JournalEntryModel(BaseModel):
    """One entry of the journal, which is only ever added to."""

    rollout_id: str
    seq: int = Field(examples=[4])
    at: datetime
    actor: str = Field(examples=["token:4be1c09a77:alice"])
    kind: str = Field(examples=["promote"])
    reason: str
    data: dict[str, Any]
    hash: str = Field(description="SHA-256 over the entry and the hash before it.")


class History(BaseModel):
    """A page of the journal, oldest first."""

    items: list[JournalEntryModel]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class Started(BaseModel):
    """The new rollout."""

    id: str = Field(examples=["k7m2x9p4qa"])
    warnings: list[str] = Field(description="The warnings of pre-flight.")
    differences: list[VersionDifferenceModel] = Field(
        [], description="What differs between the versions that the numbers serve and those that are tried."
    )


class Checked(BaseModel):
    """The findings of pre-flight; nothing was written."""

    name: str
    ok: bool
    problems: list[str]
    warnings: list[str]
    numbers: list[CheckedNumberModel]
    steps: list[PlanStepModel]
    differences: list[VersionDifferenceModel] = Field(
        [],
        description="What differs between the versions that the numbers serve and those that are tried; secrets are masked.",
    )
    tests: TestsModel | None = Field(None, description="What would be tested before the first step; null: nothing.")
    requests: list[RequestGroupModel] = Field(description="The exact PATCH bodies, by groups of numbers.")
    timetable: str | None = Field(None, description="When each step would happen at the earliest.")
    forecast: str | None = Field(None, description="One line of rehearsal at last week's traffic.")
    proposal: ProposalModel | None = Field(
        None, description="Where the plan cannot decide at that traffic: what could, as YAML, with the figures of both."
    )


class NumberRolloutModel(Summary):
    """A rollout that a number was in; lists are Retell's, verbatim, by field (inbound_agents, ...)."""

    number_wave: int = Field(description="The number's wave.")
    number_step: int = Field(description="The step that it was last confirmed at; 0: its baseline.")
    state: str = Field(examples=["confirmed"])
    written: bool = Field(description="The rollout has written it.")
    baseline: dict[str, Any]
    confirmed: dict[str, Any]
    live: dict[str, Any] | None
    live_at: datetime | None


class NumberAnswer(BaseModel):
    """One phone number across rollouts."""

    number: str = Field(examples=["+14157774444"])
    driven_by: CommandAnswer | None = Field(description="The live rollout that writes it.")
    serves: dict[str, Any] | None = Field(description="Its lists as last seen, or read now with ?fresh=true.")
    seen_at: datetime | None
    rollback: str | None = Field(description="The id of the rollout that a rollback of this number rolls back.")
    rollouts: list[NumberRolloutModel] = Field(description="The rollouts it was in, newest first, at most 100.")
    earlier: int = Field(description="How many more it was in before those.", examples=[0])


class TokenAnswer(BaseModel):
    """A token without the token."""

    id: str = Field(examples=["4be1c09a77"])
    name: str = Field(examples=["on-call phone"])
    role: str = Field(examples=["responder"])
    numbers: list[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Noted at most once a minute.")


class Tokens(BaseModel):
    """Every token, oldest first."""

    items: list[TokenAnswer]


class NewToken(BaseModel):
    """A new token, shown this once."""

    id: str = Field(examples=["4be1c09a77"])
    token: str = Field(examples=["rlt_..."])


class Revoked(BaseModel):
    """A revoked token."""

    id: str
    revoked: bool = Field(description="False: it was revoked before.")


class AlertReactionModel(BaseModel):
    """The reaction to one alert on one rollout that it concerns."""

    rollout: str = Field(description="Its id.")
    name: str = Field(description="Its name.")
    alert: str
    action: str = Field(examples=["rollback"])
    done: bool
    why: str = Field(description="The reason that was recorded, or why nothing was done.")


class AlertsTaken(BaseModel):
    """The reactions to the alerts of one delivery."""

    alerts: int
    done: list[AlertReactionModel] = Field(description="One entry for each alert and rollout it concerns.")


class Ready(BaseModel):
    """Readiness; `checks` only for those who may read."""

    status: str = Field(examples=["ready"])
    checks: dict[str, str] | None = None


class ProblemDocument(BaseModel):
    """An error (RFC 9457). Further members say more, for example where a rollout stands."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:rollout:problem:stale_expectation"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    code: str = Field(description="The error's name, for programs.", examples=["stale_expectation"])
    detail: str = Field(examples=["you expected it at 1.2, but it is at 1.3 (progressing); nothing was changed"])
    instance: str = Field(description="The request's id, as in the log.")


_WORDS = {
    400: "The request cannot be read.",
    401: "A token is missing, unknown, revoked or expired.",
    403: "The token's role, or its numbers, do not allow this.",
    404: "It does not exist, or this token may not see it.",
    408: "The body did not arrive within 10 s.",
    409: "The rollout's state does not allow this; the document has the state.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "The service does not answer under this Host.",
    422: "The input is wrong; `errors` or `problems` name the fields.",
    429: "Too many requests; retry after the seconds in Retry-After.",
    500: "Unexpected; the service's log has the request's id.",
    501: "This service was started without this part.",
    503: "Retell, the database or the service cannot be reached now.",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": words,
        "content": {
            "application/problem+json": {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}
        },
    }
    for code, words in _WORDS.items()
}
