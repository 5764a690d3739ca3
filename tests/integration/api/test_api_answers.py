"""The parts of answers as they are described: each document has exactly the fields of its description."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.domain.gates.summary import (
    ArmCalls,
    ArmSummary,
    ExternalSummary,
    GateSummary,
    Meter,
    MetricSummary,
    VariantProof,
)
from rollout.domain.gates.verdict import Alarm, GateOutcome
from rollout.domain.versions.difference import FieldDifference, VersionDifference
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import proposal, rehearse
from rollout.interfaces.api.answers import AlertsTaken, Checked, NumberAnswer, RolloutModel, Started
from rollout.interfaces.api.gate_answers import ArmGatesModel, VariantComparisonModel
from rollout.interfaces.api.plan_answers import ProposalModel, RehearsalAnswer, VersionDifferenceModel
from rollout.interfaces.views import gates
from tests.integration.api.live import Live
from tests.support.clock import START
from tests.support.values import plan
from tests.unit.rehearsal.test_ab_test import ab_plan

LADDER = [{"weight": 0.1, "hold": "30m", "min_calls": 20, "approve": True}, {"weight": 1.0, "hold": "1h"}]
METER, NONE = Meter(1.5, 20.0), ArmCalls(0, 0)


def as_sent(document: Any) -> Any:
    return json.loads(json.dumps(document))


def arm(*metrics: MetricSummary, external: tuple[ExternalSummary, ...] = ()) -> ArmSummary:
    return ArmSummary(
        name="canary",
        outcome=GateOutcome.UNDECIDED,
        alarm=Alarm.AMBER,
        reason="12 of 50 calls",
        profile="standard",
        rollback=METER,
        split=METER,
        labels=METER,
        canary_calls=12,
        floor=50,
        open=1,
        calls_per_day=None,
        unavailable=None,
        metrics=metrics,
        external=external,
        decides=True,
        forecast=None,
    )


def test_the_rows_of_every_kind_of_metric_are_described() -> None:
    counted = MetricSummary(
        "success", "success", ArmCalls(1, 9), ArmCalls(2, 8), (-0.1, 0.2), METER, METER, 0.08, (9, 30)
    )
    watched = MetricSummary("slow", "slow:p90", NONE, NONE, None, Meter(1.0, math.inf), None, None)
    known = ExternalSummary("handoffs", 3.0, 5.0, None)
    unknown = ExternalSummary("handoffs", None, None, 1.0)
    found = GateSummary(GateOutcome.UNDECIDED, None, "", (arm(counted, watched, external=(known, unknown)),))
    rows = [ArmGatesModel.model_validate(row) for row in as_sent(gates.arms(found))]
    assert [type(m).__name__ for m in rows[0].metrics] == ["CountedMetricModel"] * 2 + ["ExternalMetricModel"] * 2


def test_the_comparison_of_variants_is_described() -> None:
    found = GateSummary(GateOutcome.PASS, None, "", (), (VariantProof("b", "c", "success", METER),))
    [row] = as_sent(gates.comparison(found))
    assert VariantComparisonModel.model_validate(row).at == 20.0


def test_a_field_that_is_not_described_is_seen() -> None:
    [row] = as_sent(
        gates.comparison(GateSummary(GateOutcome.PASS, None, "", (), (VariantProof("b", "c", "x", METER),)))
    )
    for wrong in ({**row, "more": 1}, {k: v for k, v in row.items() if k != "at"}):
        with pytest.raises(ValidationError):
            VariantComparisonModel.model_validate(wrong)


def test_rehearsals_are_described_with_and_without_a_proposal() -> None:
    few = rehearse(plan(steps=LADDER, gates={"profile": "standard"}), 50, calendars=Calendars(), now=START, runs=2)
    none = rehearse(plan(steps=LADDER), 50, calendars=Calendars(), now=START, runs=2)
    assert RehearsalAnswer.model_validate(as_sent(few)).proposal is not None
    assert RehearsalAnswer.model_validate(as_sent(none)).proposal is None


def test_the_rehearsal_of_a_plan_that_decides_is_described() -> None:
    found = rehearse(ab_plan(min_calls=400), 400.0, calendars=Calendars(), now=START, runs=2)
    decision = RehearsalAnswer.model_validate(as_sent(found)).decision
    assert decision is not None and set(decision.ends[0].shipped) == {"b", "c"}


def test_fields_of_versions_that_differ_are_described() -> None:
    fields = (FieldDifference("model", '"a"', None), FieldDifference("prompt", '"a"', '"b"', ("-a", "+b")))
    found = VersionDifference("agent_abc version 6", "agent_abc version 7", fields, 2, ("tools",))
    assert VersionDifferenceModel.model_validate(as_sent(found.to_json())).fields[1].diff == ["-a", "+b"]


def test_a_proposal_of_check_is_described() -> None:
    found = proposal(plan(steps=LADDER, gates={"profile": "standard"}), 50)
    assert ProposalModel.model_validate(as_sent(found)).now.calls is not None


def test_a_check_a_start_a_rollout_and_its_number_are_described(service: Live) -> None:
    number = service.number()
    checked = service.ask("POST", "/api/v1/plans/check", {"plan": service.plan(number)})
    assert checked.status == 200
    found = Checked.model_validate(checked.json)
    assert [n.number for n in found.numbers] == [number] and len(found.requests[0].steps) == len(found.steps)
    assert found.differences[0].after == "agent_frontdesk version 7"
    started = service.ask("POST", "/api/v1/rollouts", {"plan": service.plan(number)})
    id_ = Started.model_validate(started.json).id
    RolloutModel.model_validate(service.ask("GET", f"/api/v1/rollouts/{id_}").json)
    shown = NumberAnswer.model_validate(service.ask("GET", f"/api/v1/numbers/{number}", token="viewer").json)
    assert [r.id for r in shown.rollouts] == [id_]


def test_what_was_done_on_an_alert_is_described(service: Live) -> None:
    service.start(alerts=[{"match": {"alertname": "Described"}, "action": "pause"}])
    alert = {"status": "firing", "labels": {"alertname": "Described"}, "summary": "calls drop"}
    taken = service.ask("POST", "/hooks/alerts/generic", alert, token="trigger")
    assert [(d.action, d.done) for d in AlertsTaken.model_validate(taken.json).done] == [("pause", True)]
