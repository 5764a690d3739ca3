"""The data of journal entries: to JSON and back, and as earlier versions recorded it."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.gates.verdict import GateOutcome, GateVerdict
from rollout.domain.lifecycle.entries import (
    CommandGiven,
    EntryData,
    IntendedBatch,
    ObservedNumbers,
    PreflightSummary,
    PromoteGiven,
    ServiceEvent,
    SettledBatch,
    SettledWrite,
    parse,
)
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Position
from rollout.domain.writes.protocol import Settled
from tests.support.values import ONE, TWO

AT = Position(1, 2)
SPLIT = HandSplit(1, 1, 2, {"canary": 2_000})
VERDICT = GateVerdict(GateOutcome.FAIL, None, "worse", None, AT)
OUTCOMES = {ONE: SettledWrite(Settled.APPLIED, 200, 1_000), TWO: SettledWrite(Settled.NOT_SENT)}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("intended", IntendedBatch(Kind.FORWARD, AT)),
        ("intended", IntendedBatch(Kind.BASELINE, AT, 500)),
        ("settled", SettledBatch(Kind.FORWARD, OUTCOMES)),
        ("observed", ObservedNumbers({ONE: "drift", TWO: "missing"})),
        ("confirmed", ServiceEvent(AT)),
        ("reached", ServiceEvent(AT, retreated=500)),
        ("confirmed", ServiceEvent(AT, by_hand=SPLIT)),
        ("intended", IntendedBatch(Kind.FORWARD, AT, by_hand=SPLIT)),
        ("set", CommandGiven("r1", Phase.PROGRESSING, None, AT, 3, by_hand=SPLIT)),
        ("held", ServiceEvent(None, "poison")),
        ("promote", PromoteGiven(Position(1, 1), AT, full=True)),
        ("pause", CommandGiven("r1", Phase.PROGRESSING, None, AT, 3, "error rate")),
        ("created", PreflightSummary(("no calls yet",), ({"before": "6", "after": "7"},))),
    ],
)
def test_what_is_recorded_is_read_again(kind: str, said: Any) -> None:
    assert parse(kind, said.to_json()) == said


def test_only_what_is_said_is_recorded() -> None:
    assert IntendedBatch(Kind.FORWARD, AT).to_json() == {"kind": "forward", "position": "1.2"}
    assert SettledWrite(Settled.NOT_SENT).to_json() == {"outcome": "not_sent", "status": None}
    assert ServiceEvent(None).to_json() == {}
    given = CommandGiven("r1", Phase.PAUSED, None, AT, 3).to_json()
    assert list(given) == ["id", "phase", "reason", "position", "epoch"]


def test_a_verdict_is_recorded_with_what_it_decided() -> None:
    said = parse("failed", ServiceEvent(AT, verdict=VERDICT).to_json())
    assert isinstance(said, ServiceEvent) and said.verdict is not None
    assert said.verdict.to_json() == VERDICT.to_json()


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("created", {"warnings": ["old"]}, PreflightSummary(("old",))),
        ("returned", {"position": "1.2", "retreated": None}, ServiceEvent(AT)),
        ("held", {"reason": "poison"}, ServiceEvent(None, "poison")),
        (
            "rollback",
            {
                "id": "r1",
                "phase": "paused",
                "reason": None,
                "position": {"wave": 1, "step": 2},
                "epoch": 4,
                "change": {},
            },
            CommandGiven("r1", Phase.PAUSED, None, AT, 4),
        ),
        (
            "intended",
            {"kind": "forward", "position": "1.2", "change": {"new_writes": [{}]}},
            IntendedBatch(Kind.FORWARD, AT, writes=1),
        ),
        ("token_created", {"token": "t1"}, None),
        ("promote", {}, None),
        ("promote", {"from": "1.1", "to": {"wave": 1, "step": 2}}, PromoteGiven(Position(1, 1), AT)),
        ("pause", {}, None),
        ("observed", {}, ObservedNumbers({})),
        ("created", {}, PreflightSummary()),
        (
            "settled",
            {"kind": "baseline", "outcomes": {ONE: {"outcome": "unknown"}}},
            SettledBatch(Kind.BASELINE, {ONE: SettledWrite(Settled.UNKNOWN)}),
        ),
        ("superseded", {}, None),
    ],
)
def test_what_earlier_versions_recorded_is_read(kind: str, data: dict[str, Any], said: EntryData) -> None:
    assert parse(kind, data) == said
