"""The words of notices: each says what, why, what next and one command, and smuggles nothing in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.anchors import Anchor
from rollout.domain.lifecycle.commands import state_of
from rollout.domain.lifecycle.entries import ServiceEvent
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Position
from rollout.domain.notices import conditions
from rollout.domain.notices.events import TOLD_KINDS, of_entry
from rollout.domain.plan.notices import NoticeEvent, Severity
from tests.support.clock import START
from tests.support.values import plan, rollout, said
from tests.unit.notices.written import HASH, Written, told

PATIENCE = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("kind", "event", "severity", "what"),
    [
        ("begun", NoticeEvent.STARTED, Severity.INFO, "started"),
        ("confirmed", NoticeEvent.STEP, Severity.INFO, "step 1.2 is live"),
        ("completed", NoticeEvent.PROMOTED, Severity.INFO, "promoted"),
        ("failed", NoticeEvent.ROLLED_BACK, Severity.CRITICAL, "rolling back"),
        ("rollback", NoticeEvent.ROLLED_BACK, Severity.WARNING, "rolling back"),
        ("read_back", NoticeEvent.ROLLED_BACK, Severity.WARNING, "rolled back: the baseline serves"),
        ("restored_outside", NoticeEvent.ROLLED_BACK, Severity.WARNING, "rolled back outside the service"),
        ("reopened", NoticeEvent.TROUBLE, Severity.WARNING, "a late write undid part"),
        ("contested", NoticeEvent.TROUBLE, Severity.CRITICAL, "another program or person overwrites the rollback"),
        ("decision_kept", NoticeEvent.STEP, Severity.INFO, "the A/B test continues: nothing is shipped"),
        ("decision_paused", NoticeEvent.NEEDS_PERSON, Severity.WARNING, "it needs your decision"),
        ("failure_paused", NoticeEvent.NEEDS_PERSON, Severity.CRITICAL, "step 1.2 failed and is paused"),
        ("refused", NoticeEvent.STOPPED, Severity.WARNING, "not started"),
        ("stop", NoticeEvent.STOPPED, Severity.INFO, "stopped"),
    ],
)
def test_each_kind_has_its_words(kind: str, event: NoticeEvent, severity: Severity, what: str) -> None:
    found = told(kind)
    assert (found.kind, found.severity, found.event) == (event, severity, "r1:7")
    assert what in found.title
    assert found.title.startswith("frontdesk-v7 (r1): ")
    lines = found.body.splitlines()
    assert [line.partition(":")[0] for line in lines[1:4]] == ["Why", "Next", "To intervene"]
    assert lines[3].startswith("To intervene: rollout ")
    assert lines[3].endswith(" r1")
    assert "because of the calls" in lines[1]
    assert lines[4] == f"Journal of r1: entry 7, 2026-11-02 17:00:00 UTC, hash {HASH}"


@pytest.mark.parametrize("kind", sorted(TOLD_KINDS))
def test_the_notice_of_an_end_carries_the_anchors_to_keep(kind: str) -> None:
    alert = {**state_of(rollout()), "alert": "HighErrors"}
    by_hand = HandSplit(1, 1, 2, {"b": 10_000}, "b").to_json()
    data = {
        "pause": alert,
        "shipped": {"position": "1.2", "by_hand": by_hand},
        "observed": {"findings": {"+14157774444": "drift"}},
    }
    shared = (Anchor("system", 3, "cd" * 32), Anchor("token.t1", 1, "ef" * 32))
    ended = rollout(phase=Phase.PROMOTED)
    found = of_entry(ended, Written(kind, data=data.get(kind, {"position": "1.2"})), shared)
    assert found is not None
    *_, last = found.body.splitlines()
    keep = f"Keep for `rollout verify --anchor FILE`: anchor:r1:7:{HASH} {shared[0]} {shared[1]}"
    if kind in ("completed", "read_back", "restored_outside", "refused", "stop"):
        assert last == keep
    else:
        assert last.startswith("Journal of r1: entry 7")


def test_a_confirmed_step_says_its_hold() -> None:
    assert "\nNext: it holds for 2h\n" in told("confirmed").body
    assert "\nNext: it holds\n" in told("confirmed", data={}).body


def test_who_asked_and_why_stands_behind_why() -> None:
    begun = told("begun", created_by="cli:" + "x" * 100)
    assert f"\nWhy: requested by cli:{'x' * 75}…; because of the calls\n" in begun.body
    by = {"actor": "cli:" + "x" * 100}
    for kind, words in (("rollback", "ordered by"), ("stop", "by")):
        for reason, said_ in (("bad calls", "bad calls"), ("", "no reason was given")):
            found = of_entry(rollout(), Written(kind, reason, **by))
            assert found is not None
            assert f"\nWhy: {said_} ({words} cli:{'x' * 75}…)\n" in found.body
    assert "\nWhy: bad calls\n" in told("failed", "bad calls").body
    assert "\nWhy: no reason was given\n" in told("failed", "").body


def test_the_steps_of_a_long_plan_are_cut() -> None:
    many = plan(steps=[{"weight": i / 1000, "hold": "30m"} for i in range(1, 41)])
    steps = ", ".join(f"{i / 10:g} % canary for 30m" for i in range(1, 41))
    assert f"\nNext: {steps[:299]}…\n" in told("begun", plan=many).body


def test_a_promotion_names_what_was_shipped() -> None:
    shipped = [{"number": 1, "wave": 1, "step": 3, "weights": {"b": 10_000}, "ships": "b"}]
    assert told("completed").title == "frontdesk-v7 (r1): promoted"
    found = told("completed", by_hand=shipped, hand_split=1)
    assert found.title == "frontdesk-v7 (r1): promoted: b is shipped"


def test_a_test_that_continues_says_when_the_plan_decides_again() -> None:
    arms = {name: {"agent_id": "agent_frontdesk", "agent_version": v} for name, v in (("b", 7), ("c", 8))}
    steps = [{"weights": {"b": 0.1, "c": 0.1}, "hold": "1d"}]
    ab = plan(canary=None, variants=arms, steps=steps, gates={"profile": "standard"}, decide={"after": "3d"})
    assert (
        "\nNext: the split stays as it is, and the plan decides again after another 3d\n"
        in told("decision_kept", plan=ab).body
    )
    assert "and the plan decides again\n" in told("decision_kept").body


def test_a_reason_to_hold_that_is_not_known_is_left_out() -> None:
    for data in ({}, {"reason": "of an earlier version"}):
        found = told("held", data=data)
        assert found.title == "frontdesk-v7 (r1): held: it needs your decision"
        assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("ships", "what"), [(None, "the weights that a person set at 1.2 are live"), ("b", "b gets every call")]
)
def test_a_split_that_a_person_set_is_told_as_that(ships: str | None, what: str) -> None:
    by_hand = HandSplit(1, 1, 2, {"b": 10_000}, ships)
    assert what in told("confirmed", data=ServiceEvent(Position(1, 2), by_hand=by_hand).to_json()).title


def test_a_started_rollout_says_its_steps() -> None:
    assert "Next: 10 % canary for 30m, 50 % canary for 2h, 100 % canary for 1d" in told("begun").body


@pytest.mark.parametrize("reason", list(HeldReason))
def test_held_asks_for_an_answer(reason: HeldReason) -> None:
    found = told("held", data={"reason": str(reason), "position": "1.1"})
    assert found.kind is NoticeEvent.NEEDS_PERSON
    assert f"held ({reason}): it needs your decision" in found.title
    alarming = reason in {HeldReason.POISON, HeldReason.ROLLBACK_IMPOSSIBLE, HeldReason.IDENTITY, HeldReason.REJECTED}
    assert (found.severity is Severity.CRITICAL) is alarming
    command = "stop" if reason is HeldReason.ROLLBACK_IMPOSSIBLE else "rollback"
    assert f"To intervene: rollout {command} r1" in found.body


def test_who_ordered_a_rollback_is_named() -> None:
    found = of_entry(
        rollout(), Written("rollback", "too many complaints", state_of(rollout(phase=Phase.HELD)), actor="cli:ana")
    )
    assert found is not None
    assert "Why: too many complaints (ordered by cli:ana)" in found.body


def test_a_rollback_ordered_again_is_not_told_again() -> None:
    assert of_entry(rollout(), Written("rollback", data=state_of(rollout(phase=Phase.ROLLING_BACK)))) is None


def test_a_pause_is_told_when_an_alert_did_it() -> None:
    assert of_entry(rollout(), Written("pause", "alert HighErrors made me look")) is None
    assert (
        told("pause", "alert HighErrors (grafana): 5xx", {**state_of(rollout()), "alert": "HighErrors"}).kind
        is NoticeEvent.NEEDS_PERSON
    )


def test_a_version_that_the_plan_ships_is_told_and_one_that_a_person_ships_is_not() -> None:
    split = {"number": 1, "wave": 1, "step": 3, "weights": {"c": 10_000}, "ships": "c"}
    found = told("shipped", "c is better", {"position": "1.3", "by_hand": split})
    assert (found.kind, found.severity) == (NoticeEvent.PROMOTED, Severity.INFO)
    assert "the A/B test is decided: c is shipped" in found.title
    assert "Next: c gets every call; it bakes for 1d, watched by its gates, and is promoted" in found.body
    assert of_entry(rollout(), Written("shipped", data={**state_of(rollout()), "by_hand": split})) is None


def test_a_foreign_edit_is_told_only_after_the_end() -> None:
    data = {"findings": {"+14157774444": "drift", "+14157774445": "as_expected"}}
    assert of_entry(rollout(), Written("observed", data=data)) is None
    found = told("observed", data=data, phase=Phase.PROMOTED)
    assert found.kind is NoticeEvent.TROUBLE
    assert "+14157774444 shows a split that this rollout did not write" in found.body
    assert of_entry(rollout(phase=Phase.PROMOTED), Written("observed", data={"findings": {}})) is None
    for many, names in ((3, "n0, n1, n2"), (4, "n0, n1, n2 and 1 more"), (5, "n0, n1, n2 and 2 more")):
        data = {"findings": {f"n{i}": "drift" for i in range(many)}}
        assert f"Why: {names} shows a split" in told("observed", data=data, phase=Phase.PROMOTED).body


@pytest.mark.parametrize("kind", ["intended", "settled", "baselines", "advanced", "resume", "adopt", "superseded"])
def test_the_rest_of_the_journal_is_told_to_nobody(kind: str) -> None:
    assert kind not in TOLD_KINDS
    assert of_entry(rollout(), Written(kind)) is None


def test_events_fit_into_their_column() -> None:
    r = rollout(id="x" * 40, phase=Phase.ROLLING_BACK, rollback_at=START, verdict=said("unmeasurable"))
    late = START + timedelta(days=300)
    found = [
        *conditions.of_rollout(r, late, None, PATIENCE),
        *conditions.of_rollout(replace(r, phase=Phase.HELD), late, START, PATIENCE),
        *conditions.key_refused([r], late),
        conditions.service_failing("address 1", "f" * 64, START, 3, "it answered 500"),
        of_entry(r, Written("failed", seq=10**9)),
    ]
    assert len(found) == 6
    assert all(t is not None and len(t.event) <= 80 for t in found)


@pytest.mark.parametrize(
    "evil",
    ["a\r\nBcc: x@example.com", "a\x1b[31mred\x1b]52;c;aGk=\x07", "a\u202egnp.exe", "a\u2028b\u2029c\x85d", "\x00"],
)
def test_what_comes_from_outside_adds_no_line(evil: str) -> None:
    honest = told("rollback", "x", data={}, name="ok", created_by="cli:me")
    found = of_entry(rollout(name=evil, created_by=evil), Written("rollback", evil, {}, actor=evil))
    assert found is not None
    assert len(found.body.split("\n")) == len(honest.body.split("\n"))
    assert (found.title + found.body.replace("\n", "")).isprintable()
    plan_told = of_entry(rollout(name=evil, created_by=evil, plan=plan()), Written("begun", evil))
    assert plan_told is not None
    assert plan_told.body.replace("\n", "").isprintable()
