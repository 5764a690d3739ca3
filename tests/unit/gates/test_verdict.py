"""A verdict is the same value after it was kept, and what version 0.x kept is read."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from rollout.domain.gates.judge import judge
from rollout.domain.gates.verdict import Alarm, GateOutcome, GateVerdict, Verdict
from tests.unit.gates.test_judge import GOOD, STANDARD, tally

AT = datetime(2026, 11, 2, 17, 0, tzinfo=UTC)


def whole():
    arm = judge(STANDARD, tally(GOOD, calls_per_day=42.5))
    return GateVerdict(arm.outcome, Alarm.AMBER, arm.reason, AT, (1, 2), {"canary": arm})


def again(verdict):
    return GateVerdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False)))


def test_a_verdict_comes_back_as_it_was():
    found = again(whole())
    assert found.to_json() == whole().to_json()
    assert replace(found, arms={}) == replace(whole(), arms={})
    assert (list(found.arms), len(found.arms), found.position, found.alarm) == (["canary"], 1, (1, 2), Alarm.AMBER)
    (arm,), (kept,) = whole().arms.values(), found.arms.values()
    assert (kept.evidence.figures, kept.evidence.tally, kept.memory) == (
        arm.evidence.figures,
        arm.evidence.tally,
        arm.memory,
    )
    assert kept.evidence.config == STANDARD


def test_a_forecast_stands_beside_the_reason_and_not_in_it():
    waiting = judge(STANDARD, tally(calls_per_day=50))
    assert waiting.forecast and waiting.forecast not in waiting.reason
    assert waiting.outlook == f"{waiting.reason.removesuffix('.')}: {waiting.forecast}."
    assert Verdict.from_json(json.loads(json.dumps(waiting.to_json()))).outlook == waiting.outlook
    together = GateVerdict(waiting.outcome, None, waiting.reason, None, None, {"b": waiting, "c": waiting})
    assert together.outlook == waiting.outlook, "what both say stands once"


def test_the_outlook_of_several_is_that_of_those_with_the_common_outcome():
    waiting, passed = judge(STANDARD, tally(calls_per_day=50)), judge(STANDARD, tally(GOOD))
    other = judge(replace(STANDARD, variant="d"), tally(calls_per_day=50))
    arms = {"b": waiting, "c": passed, "d": other}
    assert GateVerdict(GateOutcome.UNDECIDED, None, "-", arms=arms).outlook == f"{waiting.outlook} {other.outlook}"
    assert GateVerdict(GateOutcome.PASS, None, "as it was", arms={"c": passed}).outlook == "as it was"
    assert passed.outlook == passed.reason


def test_what_earlier_versions_kept_is_read():
    """No time, no alarm and no arms where the calls were being read; no labels, no strata before edition 2."""
    bare = GateVerdict.from_json({"outcome": "undecided", "reason": "being read"})
    assert bare == GateVerdict(GateOutcome.UNDECIDED, None, "being read")
    assert again(bare) == bare
    old = whole().to_json()
    del old["at"]
    evidence = old["arms"]["canary"]["evidence"]
    del evidence["numbers"]["e_labels"], evidence["numbers"]["by_strata"], evidence["config"]["edition"]
    found = GateVerdict.from_json(old)
    assert found.at is None
    assert (found.arms["canary"].evidence.figures.e_labels, found.arms["canary"].evidence.config.edition) == ({}, 1)
