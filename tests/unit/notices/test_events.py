"""The words of notices: each says what, why, what next and one command, and smuggles nothing in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.lifecycle.commands import where
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Position
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.notices import conditions as states
from rollout.domain.notices.events import TOLD_KINDS, of_entry
from rollout.domain.notices.notice import Notice, Scope, clean, wanted
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
from tests.support.clock import START
from tests.support.values import plan, rollout, said

HASH = "ab" * 32
PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class Written:
    """A journal entry."""

    kind: str
    reason: str = "because of the calls"
    data: dict[str, Any] = field(default_factory=lambda: {"position": "1.2"})
    seq: int = 7
    at: datetime = START
    actor: str = "service"
    hash: str = HASH


def told(kind: str, reason: str = "because of the calls", data: dict[str, Any] | None = None, **changes: Any) -> Notice:
    found = of_entry(rollout(**changes), Written(kind, reason, {"position": "1.2"} if data is None else data))
    assert found is not None
    return found


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
        rollout(), Written("rollback", "too many complaints", where(rollout(phase=Phase.HELD)), actor="cli:ana")
    )
    assert found is not None
    assert "Why: too many complaints (ordered by cli:ana)" in found.body


def test_a_rollback_ordered_again_is_not_told_again() -> None:
    assert of_entry(rollout(), Written("rollback", data=where(rollout(phase=Phase.ROLLING_BACK)))) is None


def test_a_pause_is_told_when_an_alert_did_it() -> None:
    assert of_entry(rollout(), Written("pause", "alert HighErrors made me look")) is None
    assert (
        told("pause", "alert HighErrors (grafana): 5xx", {**where(rollout()), "alert": "HighErrors"}).kind
        is NoticeEvent.NEEDS_PERSON
    )


def test_a_version_that_the_plan_ships_is_told_and_one_that_a_person_ships_is_not() -> None:
    split = {"number": 1, "wave": 1, "step": 3, "weights": {"c": 10_000}, "ships": "c"}
    found = told("shipped", "c is better", {"position": "1.3", "by_hand": split})
    assert (found.kind, found.severity) == (NoticeEvent.PROMOTED, Severity.INFO)
    assert "the A/B test is decided: c is shipped" in found.title
    assert "Next: c gets every call; it bakes for 1d, watched by its gates, and is promoted" in found.body
    assert of_entry(rollout(), Written("shipped", data={**where(rollout()), "by_hand": split})) is None


def test_a_foreign_edit_is_told_only_after_the_end() -> None:
    data = {"findings": {"+14157774444": "drift", "+14157774445": "as_expected"}}
    assert of_entry(rollout(), Written("observed", data=data)) is None
    found = told("observed", data=data, phase=Phase.PROMOTED)
    assert found.kind is NoticeEvent.TROUBLE
    assert "+14157774444 shows a split that this rollout did not write" in found.body
    assert of_entry(rollout(phase=Phase.PROMOTED), Written("observed", data={"findings": {}})) is None


@pytest.mark.parametrize("kind", ["intended", "settled", "baselines", "advanced", "resume", "adopt", "superseded"])
def test_the_rest_of_the_journal_is_told_to_nobody(kind: str) -> None:
    assert kind not in TOLD_KINDS
    assert of_entry(rollout(), Written(kind)) is None


# ------------------------------------------------------------------ states


def test_an_approval_is_asked_for_once_per_step() -> None:
    waiting = rollout(position=Position(1, 2), confirmed_at=START, waiting_for=WaitingFor.APPROVAL)
    (found,) = states.of_state(waiting, START, None, PATIENCE)
    assert found.kind is NoticeEvent.NEEDS_PERSON
    assert "To intervene: rollout promote r1 --expect 1.2" in found.body
    assert "step 1.3 follows: 100 % canary" in found.body
    (again,) = states.of_state(waiting, START + timedelta(hours=1), None, PATIENCE)
    assert again.event == found.event
    later = replace(waiting, position=Position(1, 3))
    assert states.of_state(later, START, None, PATIENCE)[0].event != found.event
    assert states.of_state(replace(waiting, waiting_for=WaitingFor.HOLD), START, None, PATIENCE) == []


def test_a_rollback_that_takes_long_is_told_with_rising_noise() -> None:
    r = rollout(phase=Phase.ROLLING_BACK, rollback_at=START, why="Retell cannot be read: 503")
    at = [1, 59, 61, 200, 301, 1700, 1801, 7199, 7201, 14401]
    events = [[t.event for t in states.of_state(r, START + timedelta(seconds=s), None, PATIENCE)] for s in at]
    assert [len(e) for e in events] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert len({e[0] for e in events if e}) == 5
    (loud,) = states.of_state(r, START + timedelta(seconds=90), None, PATIENCE)
    assert loud.severity is Severity.CRITICAL
    assert "the rollback is not complete after 1m30s" in loud.title
    assert "Why: Retell cannot be read: 503" in loud.body
    assert states.of_state(replace(r, restored_at=START), START + timedelta(days=1), None, PATIENCE) == []


def test_gates_that_cannot_measure_are_told_after_some_patience() -> None:
    r = rollout(verdict=said("unmeasurable", "no calls have been fetched"))
    assert states.of_state(r, START + timedelta(minutes=9), START, PATIENCE) == []
    (found,) = states.of_state(r, START + timedelta(minutes=10), START, PATIENCE)
    assert "Why: no calls have been fetched" in found.body
    assert found.kind is NoticeEvent.TROUBLE


def test_a_refused_key_is_one_notice_for_the_service() -> None:
    many = [rollout(id=f"r{i}", why="Retell refuses the API key (401): nothing is sent") for i in range(3)]
    found = states.key_refused(many, START)
    assert [t.scope for t in found] == [Scope.PLAN] * 3 + [Scope.SETTINGS]
    assert [t.event for t in states.key_refused(many, START)] == [t.event for t in found]
    assert sum(wanted(t) for t in found) == 1
    assert sum(wanted(t, NoticeRule(url="json://example.com")) for t in found) == 3
    assert states.key_refused([], START) == []


def test_events_fit_into_their_column() -> None:
    r = rollout(id="x" * 40, phase=Phase.ROLLING_BACK, rollback_at=START, verdict=said("unmeasurable"))
    late = START + timedelta(days=300)
    found = [
        *states.of_state(r, late, None, PATIENCE),
        *states.of_state(replace(r, phase=Phase.HELD), late, START, PATIENCE),
        *states.key_refused([r], late),
        states.service_failing("address 1", "f" * 64, START, 3, "it answered 500"),
        of_entry(r, Written("failed", seq=10**9)),
    ]
    assert len(found) == 6
    assert all(t is not None and len(t.event) <= 80 for t in found)


# ------------------------------------------------------------------ who wants what


def test_the_settings_are_told_all_but_steps() -> None:
    assert not wanted(told("confirmed"))
    assert all(wanted(told(kind)) for kind in ("begun", "held", "failed", "read_back", "completed", "stop"))


def test_a_plan_says_what_it_wants_to_be_told() -> None:
    loud = NoticeRule(url="json://example.com", min_severity=Severity.CRITICAL)
    steps = NoticeRule(url="json://example.com", events=(NoticeEvent.STEP,))
    plain = NoticeRule(url="json://example.com")
    assert [wanted(told(kind), loud) for kind in ("begun", "rollback", "failed")] == [False, False, True]
    assert [wanted(told(kind), steps) for kind in ("begun", "confirmed")] == [False, True]
    assert [wanted(told(kind), plain) for kind in ("begun", "confirmed")] == [True, False]


# ------------------------------------------------------------------ nothing is smuggled in


@given(st.text(max_size=2000))
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    line = clean(text)
    assert line.isprintable()
    assert len(line) <= 600
    assert clean(line) == line
    message = EmailMessage()
    message["Subject"] = line  # raises when a header could be injected
    assert "@everyone" not in line


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


@pytest.mark.parametrize("ping", ["@everyone wake", "@here", "<!channel> x", "<@U123> hi", "@channel"])
def test_nobody_is_pinged(ping: str) -> None:
    assert ping.split()[0] not in clean(ping)
