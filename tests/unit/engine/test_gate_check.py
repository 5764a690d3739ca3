"""The gates' look, on records that no database holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.gates.counting import USUAL_WAIT
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.profiles import EDITION
from rollout.domain.gates.verdict import Alarm, GateOutcome, GateVerdict
from rollout.domain.gates.weight_events import WeightEvent
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.gate_check import BLIND_AFTER, KEEP_EVERY, GateCheck, MetricReadings, config_of
from rollout.engine.ports import GateReport, StoredCalls
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, confirmed, plan, rollout

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
CONFIRMED = WeightEvent.from_journal("confirmed", START, '{"position": "1.1"}')
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

    def stored_calls(self, rollout: Rollout) -> StoredCalls:
        trouble = "no answer" if self.trouble_since else ""
        marks = {(n, "inbound"): FetchMark(n, "inbound", START, START, trouble, self.trouble_since) for n in self.read}
        return StoredCalls(self.calls, (CONFIRMED,), marks)

    def calls_before(self, rollout: Rollout, span: timedelta) -> Sequence[CallRecord]:
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
    gates = GateCheck(records, lambda _plan: MetricReadings({"errors": 0.5}))
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
    gates = GateCheck(records, lambda _plan: MetricReadings({"errors": 0.01}))
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


# ------------------------------------------------------------------ what is looked at


LEAST = [{"weight": 0.1, "hold": "1h"}, {"weight": 0.5, "hold": "1h", "min_calls": 5}, {"weight": 1.0, "hold": "1d"}]


def test_a_plan_without_gates_counts_canary_calls_where_any_step_asks_for_some() -> None:
    records = Records(calls=[call(1, 7), call(2, 7), call(3, 6), call(-1, 7)])
    gates = GateCheck(records)
    counted = _judged(plan=plan(steps=LEAST))
    assert gates.look(counted, START + 9 * MINUTE) == GateReport(canary_calls=2)
    assert gates.look(_judged(plan=plan()), START + 9 * MINUTE) == GateReport()
    assert gates.look(replace(counted, started_at=None), START + 9 * MINUTE) == GateReport()
    assert records.kept == []


def test_the_report_of_a_gate_has_the_canary_calls_of_the_step() -> None:
    records = Records(calls=[call(1, 7), call(2, 6)])
    found = GateCheck(records).look(_judged(), START + 9 * MINUTE)
    assert (found.canary_calls, found.verdict is None) == (1, False)
    records.read = ()
    waits = GateCheck(records).look(_judged(), START + MINUTE)
    assert (waits.canary_calls, waits.verdict is None) == (1, False)
    assert waits.verdict is not None
    assert (waits.verdict.outcome, waits.verdict.at, waits.verdict.position) == ("undecided", START + MINUTE, (1, 1))


def test_outside_values_are_read_only_where_the_plan_has_some() -> None:
    read: list[Plan] = []

    def values(of: Plan) -> MetricReadings:
        read.append(of)
        return MetricReadings({"errors": 0.01})

    gates = GateCheck(Records(), values)
    gates.look(_judged(), START + MINUTE)
    assert read == []
    of = plan(gates=EXTERNAL_ONLY)
    gates.look(_judged(plan=of), START + MINUTE)
    both = plan(gates={"metrics": [{"name": "success"}, ERRORS]})
    gates.look(_judged(plan=both, targets=(confirmed(of=both),)), START + MINUTE)
    assert read == [of, both]


def test_a_value_that_comes_again_is_no_second_reading() -> None:
    """`for: 3` means three readings, however often they are looked at."""
    readings = [MetricReadings({"errors": 0.5})] * 2
    readings += [MetricReadings({"errors": 0.5}, frozenset({"errors"}))] * 3
    readings += [MetricReadings({"errors": 0.5})]
    gates = GateCheck(Records(), lambda _plan: readings.pop(0))
    verdict, said = None, []
    for minute in range(6):
        verdict = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict), START + minute * MINUTE).verdict
        assert verdict is not None
        said.append(str(verdict.outcome))
    assert said == ["undecided"] * 5 + ["fail"]


@pytest.mark.parametrize(("waived", "outcome"), [(False, "fail"), (True, "pass")])
def test_a_failure_stays_one_until_a_person_resumes(waived: bool, outcome: str) -> None:
    values = [0.5, 0.5, 0.5, 0.01]
    gates = GateCheck(Records(), lambda _plan: MetricReadings({"errors": values.pop(0)}))
    verdict = None
    for minute in range(3):
        verdict = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict), START + minute * MINUTE).verdict
    found = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict, waived=waived), START + 3 * MINUTE).verdict
    assert found is not None
    assert found.outcome == outcome


def test_readings_from_before_a_person_resumed_still_count() -> None:
    gates = GateCheck(Records(), lambda _plan: MetricReadings({"errors": 0.5}))
    verdict = None
    for minute in range(2):
        verdict = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict), START + minute * MINUTE).verdict
    found = gates.look(_judged(EXTERNAL_ONLY, verdict=verdict, waived=True), START + 2 * MINUTE).verdict
    assert found is not None
    assert found.outcome == "fail"
    fresh = gates.look(_judged(EXTERNAL_ONLY, waived=True), START).verdict
    assert fresh is not None
    assert fresh.outcome == "undecided"


# ------------------------------------------------------------------ what has been fetched


@pytest.mark.parametrize(("seconds", "outcome"), [(0, "undecided"), (1, "unmeasurable")])
def test_a_rollout_whose_calls_nobody_fetches_is_blind_after_ninety_seconds(seconds: int, outcome: str) -> None:
    found = GateCheck(Records(read=())).look(_judged(history=BaselineHistory()), START + BLIND_AFTER + seconds * SECOND)
    assert found.verdict is not None
    assert found.verdict.outcome == outcome
    if seconds:
        assert "no calls have been fetched yet, which `rollout serve` does" in found.verdict.reason


@dataclass
class Marked(Records):
    """Marks as the test wrote them down."""

    marks: dict[tuple[str, str], FetchMark] = field(default_factory=dict)

    def stored_calls(self, rollout: Rollout) -> StoredCalls:
        return StoredCalls(self.calls, (CONFIRMED,), self.marks)


def fetched(number: str = ONE, channel: str = "inbound", at: datetime = START, trouble: str = "") -> FetchMark:
    return FetchMark(number, channel, START, at, trouble, START if trouble else None)


@pytest.mark.parametrize(
    ("marks", "fixed"),
    [
        ([fetched()], True),
        ([fetched(at=START - SECOND)], False),
        ([fetched(trouble="no answer")], False),
        ([fetched(TWO)], False),
        ([fetched(channel="outbound")], False),
    ],
    ids=["since the start", "before it", "with trouble", "of the second wave", "of another channel"],
)
def test_the_baseline_is_known_once_the_first_wave_was_fetched(marks: list[FetchMark], fixed: bool) -> None:
    records = Marked(earlier=EARLIER, marks={(m.number, m.channel): m for m in marks})
    of = plan([ONE, TWO], gates=None, waves=[1, "100%"])
    targets = (confirmed(ONE, of=of), confirmed(TWO, step=1, of=of, ord=1, wave=2))
    GateCheck(records).look(_judged(plan=of, targets=targets), START + MINUTE)
    assert (records.history is not None) is fixed


def test_every_channel_of_the_plan_has_to_be_fetched() -> None:
    of = plan(gates=None, channels=["inbound", "outbound"])
    records = Marked(earlier=EARLIER, marks={(ONE, "inbound"): fetched()})
    judged = _judged(plan=of, targets=(confirmed(of=of),))
    GateCheck(records).look(judged, START + MINUTE)
    assert records.history is None
    records.marks[ONE, "outbound"] = fetched(channel="outbound")
    GateCheck(records).look(judged, START + MINUTE)
    assert records.history is not None


# ------------------------------------------------------------------ what is new


def test_another_position_another_alarm_and_another_answer_are_new() -> None:
    records = Records(calls=[call(1)])
    gates = GateCheck(records)
    gates.look(_judged(), START + 3 * MINUTE)
    (first,) = records.kept
    for number, changed in enumerate(
        [replace(first, position=(1, 2)), replace(first, alarm=Alarm.SPLIT), replace(first, outcome=GateOutcome.PASS)]
    ):
        gates.look(_judged(verdict=changed), START + 4 * MINUTE)
        assert len(records.kept) == 2 + number
    promoted = replace(first, position=(1, 2))
    gates.look(_judged(verdict=promoted, phase=Phase.PROMOTED), START + 4 * MINUTE)
    assert len(records.kept) == 4


# ------------------------------------------------------------------ variants

TWO_ARMS: dict[str, Any] = {
    "canary": None,
    "variants": {n: {"agent_id": AGENT, "agent_version": v} for n, v in (("b", 7), ("c", 8))},
    "steps": [{"weights": {"b": 0.3, "c": 0.3}, "hold": "1h"}],
    "gates": None,
}
AB = plan(**TWO_ARMS)


def both(bad: int, **changes: Any) -> tuple[Records, Rollout]:
    """Calls of both variants and of the baseline; of c so many of ten are bad."""
    calls = [
        call(i * 0.5, 6 + i % 3, call_id=f"c{i}", successful=not (i % 3 == 2 and (i // 3) % 10 < bad))
        for i in range(300)
    ]
    judged = _judged(plan=AB, targets=(confirmed(of=AB),), history=BaselineHistory(), **changes)
    return Records(calls=calls), judged


def test_each_variant_is_judged_and_the_leader_is_held_against_the_others() -> None:
    records, judged = both(9)
    found = GateCheck(records).look(judged, START + 3 * HOUR).verdict
    assert found is not None
    assert set(found.arms) == {"b", "c"}
    assert found.arms["c"].outcome == "fail"
    assert found.outcome == "fail"
    assert found.reason == found.arms["c"].reason
    assert found.comparison is not None
    assert (found.comparison.leader, set(found.comparison.over)) == ("b", {"c"})
    counts = found.comparison.over["c"].evidence.figures.counts["success"]
    assert counts == (0, 100, 90, 10), "of b, and of c in the baseline's place"
    assert found.comparison.over["c"].evidence.tally.weight == 0.5


def test_an_alarm_of_one_variant_is_one_of_the_rollout() -> None:
    """Nobody is sent to b, and c and the baseline have their share."""
    calls = [call(i * 0.5, 6 if i % 7 < 4 else 8, call_id=f"c{i}") for i in range(350)]
    judged = _judged(plan=AB, targets=(confirmed(of=AB),), history=BaselineHistory())
    found = GateCheck(Records(calls=calls)).look(judged, START + 4 * HOUR).verdict
    assert found is not None
    assert {name: arm.alarm for name, arm in found.arms.items()} == {"b": Alarm.SPLIT, "c": None}
    assert (found.alarm, found.at, found.position) == (Alarm.SPLIT, START + 4 * HOUR, (1, 1))
    assert found.outcome == "undecided"


@pytest.mark.parametrize(("empty", "silent"), [(7, 8), (8, 7)], ids=["b before c", "c before b"])
def test_of_two_alarms_that_of_the_split_is_the_rollouts(empty: int, silent: int) -> None:
    """Nobody is sent to one variant, and no result comes from the other."""
    names = {7: "b", 8: "c"}
    calls = [
        call(i * 0.5, call_id=f"c{i}") if i % 7 < 4 else call(i * 0.5, silent, call_id=f"c{i}", successful=None)
        for i in range(350)
    ]
    judged = _judged(plan=AB, targets=(confirmed(of=AB),), history=BaselineHistory())
    found = GateCheck(Records(calls=calls)).look(judged, START + 8 * HOUR).verdict
    assert found is not None
    alarms = {name: arm.alarm for name, arm in found.arms.items()}
    assert alarms == {names[empty]: Alarm.SPLIT, names[silent]: Alarm.LABELS}
    assert found.alarm is Alarm.SPLIT


def test_a_version_that_is_shipped_is_judged_alone_and_what_was_said_of_the_others_stays() -> None:
    records, judged = both(9)
    gates = GateCheck(records)
    before = gates.look(judged, START + 3 * HOUR).verdict
    assert before is not None
    ships = HandSplit(1, 1, 1, {"b": 10_000}, ships="b")
    shipped = replace(judged, by_hand=(ships.to_json(),), hand_split=1, verdict=before)
    assert shipped.shipped == "b"
    later = gates.look(shipped, START + 4 * HOUR).verdict
    assert later is not None
    assert later.arms["c"] is before.arms["c"]
    assert later.arms["b"] is not before.arms["b"]
    assert later.comparison is before.comparison
    assert later.outcome == later.arms["b"].outcome
    alone = gates.look(replace(shipped, verdict=None), START + 4 * HOUR).verdict
    assert alone is not None
    assert (set(alone.arms), alone.comparison) == ({"b"}, None)


def test_a_canary_is_compared_with_no_other() -> None:
    found = GateCheck(Records(calls=[call(1, 7)])).look(_judged(history=BaselineHistory()), START + HOUR).verdict
    assert found is not None
    assert found.comparison is None


# ------------------------------------------------------------------ editions


def test_a_gate_is_read_by_the_rules_that_the_rollout_began_under() -> None:
    earlier, later = config_of(plan(gates=None), 1), config_of(plan(gates=None))
    assert earlier is not None
    assert later is not None
    assert (earlier.edition, later.edition) == (1, EDITION)
    assert config_of(plan()) is None
    assert config_of(plan(gates=EXTERNAL_ONLY)) is not None


@pytest.mark.parametrize(
    ("history", "slow"),
    [
        (BaselineHistory(edition=1), 1),
        (BaselineHistory(edition=2), 0),
        (BaselineHistory(edition=2, limits={"slow:p90": 150.0}), 1),
    ],
    ids=["read from before", "not known", "kept"],
)
def test_what_is_slow_is_known_from_before_or_kept_with_the_rollout(history: BaselineHistory, slow: int) -> None:
    """Edition 1 did not keep its limits: they are read from the baseline's calls of the week before."""
    before = [call(-i - 1, call_id=f"old_{i}", e2e_p50_ms=100.0 + i) for i in range(200)]
    records = Records(earlier=before, calls=[call(1, 7, e2e_p50_ms=5_000.0), call(2, 6, e2e_p50_ms=120.0)])
    of = plan(gates={"metrics": [{"name": "success"}, {"name": "slow"}]})
    judged = _judged(plan=of, targets=(confirmed(of=of),), history=history)
    found = GateCheck(records).look(judged, START + 3 * HOUR).verdict
    assert found is not None
    evidence = found.arms["canary"].evidence
    assert evidence.config.edition == history.edition
    assert evidence.figures.counts["slow:p90"][0] == slow
