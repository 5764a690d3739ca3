"""The end of an A/B test by its plan: when it is decided, what is waited for before, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.decide.actions import Read, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.gates.verdict import Alarm, GateVerdict
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.commands import By, resume
from rollout.domain.lifecycle.machine import Event, PausedBy, Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.drift import NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import AGENT, ONE, confirmed, plan, rollout, said
from tests.support.verdicts import ENOUGH, FEW, ab_verdict

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
WINNER = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)})
TIE = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.2)})
CLOSED = Opening(False, START + timedelta(hours=9), "closed until nine")


def ab_plan(**decides: Any) -> Plan:
    """Two variants in two steps, decided 14 days after the last one; its hold is a day."""
    return plan(
        canary=None,
        variants={name: {"agent_id": AGENT, "agent_version": v} for name, v in (("b", 7), ("c", 8))},
        steps=[{"weights": {"b": 0.1, "c": 0.1}, "hold": "1d"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}],
        gates={"profile": "standard"},
        decide={"after": "14d", **decides},
    )


def in_test(ago: timedelta = 14 * DAY, step: int = 2, of: Plan | None = None, **changes: Any) -> Rollout:
    """The test, its step confirmed this long ago."""
    p = of or ab_plan()
    values = {"position": Position(1, step), "confirmed_at": START - ago, "targets": (confirmed(step=step, of=p),)}
    return rollout(plan=p, **{**values, **changes})


def seen(verdict: GateVerdict | None, **more: Any) -> Facts:
    """Facts of a pass that has read the number just now."""
    return Facts(scan=NumberScan(START, {ONE: Finding.AS_EXPECTED}, Change()), verdict=verdict, **more)


def waits(r: Rollout, f: Facts) -> Wait:
    action = decide(r, f, START)
    assert isinstance(action, Wait), action
    return action


def recorded(r: Rollout, f: Facts) -> Record:
    action = decide(r, f, START)
    assert isinstance(action, Record), action
    return action


# ------------------------------------------------------------------ when


def test_until_then_it_waits_for_the_decision_and_says_what_will_come() -> None:
    found = waits(in_test(14 * DAY - SECOND), Facts())
    assert (found.waiting_for, found.until) == (WaitingFor.DECISION, START + SECOND)
    assert found.next == "ship the best variant, or pause"
    assert found.why == "the A/B test runs; the plan decides it after 14d"
    assert waits(in_test(), seen(WINNER, stepped=True)).until == START


def test_it_is_decided_in_the_last_step_alone() -> None:
    assert in_test(step=1).decides_at is None
    assert recorded(in_test(step=1), seen(said("pass"))).event is Event.ADVANCED


def test_after_weights_by_hand_and_a_resume_the_time_counts_anew() -> None:
    assert in_test(20 * DAY, back_at=START - DAY).decides_at == START + 13 * DAY
    assert in_test(confirmed_at=None).decides_at is None


def test_a_hold_that_is_longer_in_open_hours_is_stood_first() -> None:
    later = START + DAY
    assert waits(in_test(), seen(WINNER, hold_until=later)).waiting_for is WaitingFor.DECISION


@pytest.mark.parametrize("verdict", [None, said("undecided"), said("unmeasurable")])
def test_missing_data_decides_nothing(verdict: GateVerdict | None) -> None:
    found = waits(in_test(of=ab_plan(otherwise="rollback")), seen(verdict))
    assert (found.waiting_for, found.until) == (WaitingFor.EVIDENCE, START + timedelta(seconds=30))
    assert found.next == "ship the best variant, or roll back"
    assert found.why == ("no calls have been judged yet" if verdict is None else verdict.outlook)


def test_a_variant_that_cannot_be_measured_is_waited_for() -> None:
    blind = replace(WINNER, arms={**WINNER.arms, "b": replace(WINNER.arms["b"], outcome=said("unmeasurable").outcome)})
    assert waits(in_test(), seen(blind)).waiting_for is WaitingFor.EVIDENCE


def test_too_few_calls_of_one_variant_are_waited_for() -> None:
    few = ab_verdict({"b": (ENOUGH, 0.2), "c": (FEW, 0.1)})
    found = waits(in_test(of=ab_plan(min_calls=FEW + 1)), seen(few))
    assert (found.waiting_for, found.until) == (WaitingFor.CALLS, START + timedelta(seconds=30))
    assert found.why == (
        f"{FEW + 1} calls with a result are needed of every variant in this step: {ENOUGH} of b, {FEW} of c so far"
    )
    assert recorded(in_test(of=ab_plan(min_calls=FEW)), seen(few)).event is Event.DECISION_PAUSED


# ------------------------------------------------------------------ what


def test_the_best_variant_gets_every_call_as_if_a_person_had_shipped_it() -> None:
    found = recorded(in_test(), seen(WINNER))
    assert found.event is Event.SHIPPED
    assert found.why.startswith(
        "decided by the plan after 14d: c is shipped: c is proven not worse than the baseline, and better than b"
    )
    assert found.values["by_hand"] == [{"number": 1, "wave": 1, "step": 2, "weights": {"c": 10_000}, "ships": "c"}]
    assert (found.values["hand_split"], found.values["confirmed_at"]) == (1, None)


def test_it_is_shipped_after_a_look_at_every_number_and_in_open_hours() -> None:
    assert isinstance(decide(in_test(), Facts(verdict=WINNER), START), Read)
    found = waits(in_test(), seen(WINNER, opening=CLOSED))
    assert (found.waiting_for, found.why, found.next) == (WaitingFor.OPENING, "closed until nine", "ship c")


@pytest.mark.parametrize(
    ("otherwise", "event", "values"),
    [
        ("rollback", Event.FAILED, {"rollback_at": START}),
        ("pause", Event.DECISION_PAUSED, {"paused_by": PausedBy.DECISION}),
        ("keep", Event.DECISION_KEPT, {"back_at": START}),
    ],
)
def test_a_tie_ships_nothing_and_does_what_the_plan_says_also_while_it_is_closed(
    otherwise: str, event: Event, values: dict[str, Any]
) -> None:
    found = recorded(in_test(of=ab_plan(otherwise=otherwise)), Facts(verdict=TIE, opening=CLOSED))
    assert found.event is event
    assert {name: found.values[name] for name in values} == values
    assert found.why.startswith("decided by the plan after 14d: nothing is shipped: b is not proven better than c: ")


def test_a_plan_that_ships_none_asks_no_gate() -> None:
    found = recorded(in_test(of=ab_plan(ship="none", otherwise="rollback")), Facts())
    assert (found.event, found.why) == (
        Event.FAILED,
        "decided by the plan after 14d: nothing is shipped: the plan ships no version",
    )
    assert waits(in_test(DAY, of=ab_plan(ship="none")), Facts()).next == "pause"
    counted = waits(in_test(of=ab_plan(ship="none", min_calls=5)), Facts())
    assert counted.waiting_for is WaitingFor.EVIDENCE, "but the calls it wants are counted"


# ------------------------------------------------------------------ what goes before


def test_what_is_wrong_goes_before_the_decision() -> None:
    failed = replace(WINNER, outcome=said("fail").outcome, reason="b is worse")
    assert recorded(in_test(), seen(failed)).why == "b is worse"
    alarmed = replace(WINNER, alarm=Alarm.SPLIT, reason="the calls do not follow the weights")
    assert recorded(in_test(), seen(alarmed)).event is Event.HELD
    assert recorded(in_test(deadline_at=START), seen(WINNER)).event is Event.HELD


def test_a_person_who_ends_the_last_step_decides_instead() -> None:
    assert recorded(in_test(promote_asked=True), seen(TIE)).event is Event.COMPLETED


def test_a_person_goes_on_after_the_pause_and_the_time_counts_anew() -> None:
    paused = in_test(phase=Phase.PAUSED, reason="decided by the plan after 14d: ...", paused_by=PausedBy.DECISION)
    found = waits(paused, Facts(verdict=TIE))
    assert (found.next, found.why) == ("ship, resume, rollback or stop", paused.reason)
    change, _, _ = resume(paused, START, By("cli:test"), None)
    assert change.rollout["back_at"] == START
    assert change.applied_to(paused, START).decides_at == START + 14 * DAY
    by_person = in_test(phase=Phase.PAUSED, reason="decision", paused_by=PausedBy.PERSON)
    assert "back_at" not in resume(by_person, START, By("cli:test"), None)[0].rollout
