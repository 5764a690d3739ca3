"""The gates' look, on records that no database holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.gates.counting import USUAL_WAIT
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import CallRecord, FetchMark
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.gate_check import BLIND_AFTER, KEEP_EVERY, GateCheck
from rollout.engine.ports import StoredCalls
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, plan, rollout

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
CONFIRMED = ("confirmed", START, '{"position": "1.1"}')
ERRORS = {"name": "errors", "http": {"url": "https://m.example.com/v", "field": "v", "max": 0.05, "for": 3}}
EXTERNAL_ONLY = {"profile": "none", "metrics": [ERRORS]}


def call(minute: float, version: int = 6, **changes: Any) -> CallRecord:
    """A finished, analysed call that went well."""
    at = START + minute * MINUTE
    values: dict[str, Any] = {
        "call_id": f"call_{minute}",
        "agent_id": AGENT,
        "agent_version": version,
        "number": ONE,
        "channel": "inbound",
        "started_at": at,
        "ended_at": at + MINUTE,
        "status": "ended",
        "successful": True,
        "sentiment": "Neutral",
        "analyzed": True,
    }
    return CallRecord(**{**values, **changes})


@dataclass
class Records:
    """Implements rollout.engine.ports.GateRecords in memory."""

    trouble_since: datetime | None = None
    history: BaselineHistory | None = None
    calls: Sequence[CallRecord] = ()
    earlier: Sequence[CallRecord] = ()
    read: Sequence[str] = (ONE,)
    kept: list[GateVerdict] = field(default_factory=list)

    def seen(self, rollout: Rollout) -> StoredCalls:
        trouble = "no answer" if self.trouble_since else ""
        marks = {(n, "inbound"): FetchMark(n, "inbound", START, START, trouble, self.trouble_since) for n in self.read}
        return StoredCalls(self.calls, (CONFIRMED,), marks)

    def before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
        return self.earlier

    def fix_history(self, rollout_id: str, history: BaselineHistory) -> BaselineHistory:
        self.history = self.history or history
        return self.history

    def keep_look(self, rollout: Rollout, verdict: GateVerdict, at: datetime) -> None:
        self.kept.append(verdict)


def _judged(gates: Any = None, **changes: Any) -> Rollout:
    of = plan(gates=gates)
    values = {"plan": of, "started_at": START, "confirmed_at": START, "targets": (confirmed(of=of),)}
    return rollout(**{**values, **changes})


# ------------------------------------------------------------------ what is kept


def test_a_look_that_says_what_the_last_one_said_is_not_kept_again() -> None:
    records = Records(calls=[call(1)])
    gates = GateCheck(records)
    first = gates.look(_judged(), START + 3 * MINUTE)
    assert first.verdict is not None and first.verdict.outcome == "undecided"
    assert len(records.kept) == 1
    again = gates.look(_judged(verdict=records.kept[0]), START + 30 * MINUTE)
    assert again.verdict is not None
    assert again.verdict.outlook != first.verdict.outlook, "fewer calls a day, so it takes longer"
    assert len(records.kept) == 1
    records.calls = [call(1), call(31)]
    gates.look(_judged(verdict=records.kept[0]), START + 33 * MINUTE)
    assert len(records.kept) == 2


def test_a_live_rollout_keeps_one_look_an_hour_and_a_promoted_one_none() -> None:
    records = Records()
    gates = GateCheck(records)
    gates.look(_judged(), START)
    (first,) = records.kept
    late = START + KEEP_EVERY
    gates.look(_judged(verdict=first), late - SECOND)
    gates.look(_judged(verdict=first, phase=Phase.PROMOTED), late)
    assert len(records.kept) == 1
    gates.look(_judged(verdict=first), late)
    assert len(records.kept) == 2
    earlier = replace(first, at=None)  # as version 0.x kept it
    gates.look(_judged(verdict=earlier), START)
    assert len(records.kept) == 3


def test_what_a_look_hands_on_is_kept_after_the_promotion_too() -> None:
    """Three looks in a row beyond the limit are three, though each of them says `undecided`."""
    records = Records()
    gates = GateCheck(records, lambda _plan: {"errors": 0.5})
    verdict = None
    for minute, outcome in enumerate(["undecided", "undecided", "fail"]):
        found = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict, phase=Phase.PROMOTED), START + minute * MINUTE)
        assert found.verdict is not None and found.verdict.outcome == outcome
        verdict = records.kept[-1]
    assert len(records.kept) == 3


# ------------------------------------------------------------------ what is known of the baseline


def test_calls_that_cannot_be_fetched_are_late_for_ninety_seconds_and_then_unmeasurable() -> None:
    records = Records(trouble_since=START + MINUTE)
    gates = GateCheck(records)
    judged = _judged(history=BaselineHistory())
    late = gates.look(judged, START + MINUTE + BLIND_AFTER)
    blind = gates.look(judged, START + MINUTE + BLIND_AFTER + SECOND)
    assert late.verdict is not None and late.verdict.outcome == "undecided"
    assert blind.verdict is not None and blind.verdict.outcome == "unmeasurable"
    assert blind.verdict.reason == "The gate cannot read the calls: no answer."


EARLIER = [call(-i - 1, call_id=f"old_{i}", successful=i % 4 != 0) for i in range(200)]


@pytest.mark.parametrize("numbers", [(ONE,), (ONE, TWO)], ids=["the only number", "one of two"])
def test_nothing_is_fixed_of_the_baseline_before_its_calls_were_read(numbers: tuple[str, ...]) -> None:
    records = Records(read=numbers[:-1], earlier=EARLIER)
    gates = GateCheck(records)
    of = plan(numbers, gates=None)
    judged = _judged(plan=of, targets=tuple(confirmed(n, of=of) for n in numbers))
    assert str(gates.look(judged, START + MINUTE).verdict).count("are being read") == 1
    late = gates.look(judged, START + timedelta(hours=2))
    assert late.verdict is not None and late.verdict.outcome != "pass"
    assert records.history is None
    records.read = numbers
    gates.look(judged, START + timedelta(hours=3))
    assert records.history is not None and records.history.rates["success"] == 0.25


def test_a_dead_canary_fails_while_the_calls_cannot_be_listed() -> None:
    """Webhooks told of the calls, and the list was never read."""
    dead = {"status": "error", "disconnection_reason": "error_llm_websocket_open", "successful": False}
    calls = [call(i, 7, **dead) if i % 5 == 0 else call(i) for i in range(100)]
    records = Records(trouble_since=START, calls=calls)
    found = GateCheck(records).look(_judged(), START + timedelta(hours=2))
    assert found.verdict is not None and found.verdict.outcome == "fail"
    assert records.history is None


def test_a_gate_that_compares_no_calls_does_not_wait_for_those_of_the_baseline() -> None:
    records = Records(read=())
    gates = GateCheck(records, lambda _plan: {"errors": 0.01})
    found = gates.look(_judged(EXTERNAL_ONLY), START + SECOND)
    assert found.verdict is not None and found.verdict.outcome == "pass"
    assert records.history is not None


def test_only_later_editions_learn_how_long_to_wait_for_an_analysis() -> None:
    """Analyses that come within ten minutes; the one of the last call is late."""
    known = [call(i, analyzed_at=START + (i + 2) * MINUTE) for i in range(60)]
    late = call(60, successful=None, sentiment=None, analyzed=False)
    now = START + 75 * MINUTE
    assert now - START < USUAL_WAIT
    still_open = {}
    for edition in (1, 2):
        records = Records(calls=[*known, late])
        history = BaselineHistory(edition=edition)
        found = GateCheck(records).look(_judged(history=history), now).verdict
        assert found is not None
        still_open[edition] = found.arms["canary"].evidence.tally.open
    assert still_open == {1: 1, 2: 0}
