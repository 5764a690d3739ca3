"""What a rollout's state tells: approvals, slow rollbacks, blind gates, a refused key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.notices import conditions
from rollout.domain.notices.notice import Scope, wanted
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
from tests.support.clock import START
from tests.support.values import rollout, said

PATIENCE = timedelta(minutes=10)


def test_an_approval_is_asked_for_once_per_step() -> None:
    waiting = rollout(position=Position(1, 2), confirmed_at=START, waiting_for=WaitingFor.APPROVAL)
    (found,) = conditions.of_rollout(waiting, START, None, PATIENCE)
    assert found.kind is NoticeEvent.NEEDS_PERSON
    assert "To intervene: rollout promote r1 --expect 1.2" in found.body
    assert "step 1.3 follows: 100 % canary" in found.body
    (again,) = conditions.of_rollout(waiting, START + timedelta(hours=1), None, PATIENCE)
    assert again.event == found.event
    later = replace(waiting, position=Position(1, 3))
    assert conditions.of_rollout(later, START, None, PATIENCE)[0].event != found.event
    assert conditions.of_rollout(replace(waiting, waiting_for=WaitingFor.HOLD), START, None, PATIENCE) == []
    assert conditions.of_rollout(replace(waiting, phase=Phase.PAUSED), START, None, PATIENCE) == []
    assert "Next: it is promoted, as soon as" in conditions.of_rollout(later, START, None, PATIENCE)[0].body
    assert found.event == f"r1:approve:1.2:{int(START.timestamp() * 1000)}"


def test_a_rollback_that_takes_long_is_told_with_rising_noise() -> None:
    r = rollout(phase=Phase.ROLLING_BACK, rollback_at=START, why="Retell cannot be read: 503")
    at = [1, 59, 61, 200, 301, 1700, 1801, 7199, 7201, 14401]
    events = [[t.event for t in conditions.of_rollout(r, START + timedelta(seconds=s), None, PATIENCE)] for s in at]
    assert [len(e) for e in events] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    levels = [(60, 1), (299, 1), (300, 2), (1799, 2), (1800, 3), (7199, 3), (7200, 4), (14400, 5)]
    for seconds, level in levels:
        (found,) = conditions.of_rollout(r, START + timedelta(seconds=seconds), None, PATIENCE)
        assert found.event == f"r1:rollback-failing:{int(START.timestamp() * 1000)}:{level}"
    assert len({e[0] for e in events if e}) == 5
    (loud,) = conditions.of_rollout(r, START + timedelta(seconds=90), None, PATIENCE)
    assert loud.severity is Severity.CRITICAL
    assert "the rollback is not complete after 1m30s" in loud.title
    assert "Why: Retell cannot be read: 503" in loud.body
    assert conditions.of_rollout(replace(r, restored_at=START), START + timedelta(days=1), None, PATIENCE) == []


def test_gates_that_cannot_measure_are_told_after_some_patience() -> None:
    r = rollout(verdict=said("unmeasurable", "no calls have been fetched"))
    assert conditions.of_rollout(r, START + timedelta(minutes=9), START, PATIENCE) == []
    (found,) = conditions.of_rollout(r, START + timedelta(minutes=10), START, PATIENCE)
    assert "Why: no calls have been fetched" in found.body
    assert found.kind is NoticeEvent.TROUBLE
    assert found.event == f"r1:unmeasurable:{int(START.timestamp() * 1000)}"
    late = START + timedelta(minutes=10)
    assert (
        "Why: no gate has seen it"
        in conditions.of_rollout(replace(r, verdict=None, why="no gate has seen it"), late, START, PATIENCE)[0].body
    )
    told = {phase for phase in Phase if conditions.of_rollout(replace(r, phase=phase), late, START, PATIENCE)}
    assert told == {Phase.PROGRESSING, Phase.PAUSED, Phase.HELD}
    assert conditions.of_rollout(r, late, None, PATIENCE) == []


def test_a_refused_key_is_one_notice_for_the_service() -> None:
    many = [rollout(id=f"r{i}", why="Retell refuses the API key (401): nothing is sent") for i in range(3)]
    found = conditions.key_refused(many, START)
    assert [t.scope for t in found] == [Scope.PLAN] * 3 + [Scope.SETTINGS]
    assert [t.event for t in conditions.key_refused(many, START)] == [t.event for t in found]
    assert sum(wanted(t) for t in found) == 1
    assert sum(wanted(t, NoticeRule(url="json://example.com")) for t in found) == 3
    assert conditions.key_refused([], START) == []
    assert "so 3 rollouts cannot continue" in found[-1].body
    assert "so one rollout cannot continue" in conditions.key_refused(many[:1], START)[-1].body


def test_an_address_that_fails_is_told_to_the_others_without_a_line_of_its_own() -> None:
    found = conditions.service_failing("a\nb" + "x" * 300, "f" * 64, START, 3, "it answered\n500")
    assert (found.severity, found.scope, found.rollout_id) == (Severity.WARNING, Scope.SETTINGS, None)
    assert found.event == f"service:notify:{'f' * 12}:{int(START.timestamp() * 1000)}"
    first, why, *_ = found.body.splitlines()
    assert first == f"Notices cannot be delivered to a b{'x' * 116}…."
    assert why == "Why: it answered 500 (3 tries since 2026-11-02 17:00:00 UTC)"
    assert len(found.title) == 200
