"""The gates' look, on records that no database holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.gates.history import BaselineHistory
from rollout.domain.lifecycle.records import CallRecord, FetchMark
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.gate_check import GateCheck
from rollout.engine.ports import StoredCalls
from tests.support.clock import START
from tests.support.values import ONE, confirmed, plan, rollout

MINUTE = timedelta(minutes=1)


@dataclass
class Records:
    """Implements rollout.engine.ports.GateRecords in memory, without a call."""

    trouble_since: datetime | None = None
    history: Mapping[str, Any] | None = None
    kept: list[Mapping[str, Any]] = field(default_factory=list)

    def seen(self, rollout: Rollout) -> StoredCalls:
        mark = FetchMark(ONE, "inbound", START, START, "no answer" if self.trouble_since else "", self.trouble_since)
        return StoredCalls((), (), {(ONE, "inbound"): mark})

    def before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
        return ()

    def fix_history(self, rollout_id: str, history: Mapping[str, Any]) -> Mapping[str, Any]:
        self.history = self.history or history
        return self.history

    def keep_look(self, rollout: Rollout, record: Mapping[str, Any], at: datetime) -> None:
        self.kept.append(record)


def _judged(**changes: Any) -> Rollout:
    of = plan(gates=None)
    values = {"plan": of, "started_at": START, "confirmed_at": START, "targets": (confirmed(of=of),)}
    return rollout(**{**values, **changes})


def test_a_look_that_says_what_the_last_one_said_is_not_kept_again() -> None:
    records = Records()
    gates = GateCheck(records)
    first = gates.look(_judged(), START + MINUTE)
    assert first.verdict is not None and first.verdict.outcome == "undecided"
    assert len(records.kept) == 1
    again = gates.look(_judged(verdict=records.kept[0]), START + 2 * MINUTE)
    assert again.verdict == first.verdict
    assert len(records.kept) == 1


def test_calls_that_cannot_be_fetched_are_late_for_ninety_seconds_and_then_unmeasurable() -> None:
    records = Records(trouble_since=START + MINUTE)
    gates = GateCheck(records)
    judged = _judged(history=BaselineHistory().to_json())
    late = gates.look(judged, START + MINUTE + timedelta(seconds=90))
    blind = gates.look(judged, START + MINUTE + timedelta(seconds=91))
    assert late.verdict is not None and late.verdict.outcome == "undecided"
    assert blind.verdict is not None and blind.verdict.outcome == "unmeasurable"
    assert blind.verdict.reason == "The gate cannot see the calls: no answer."
