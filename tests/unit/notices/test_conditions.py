"""What a rollout's state tells: approvals, slow rollbacks, blind gates, a refused key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.notices import conditions as states
from rollout.domain.notices.notice import Scope, wanted
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
from tests.support.clock import START
from tests.support.values import rollout, said

PATIENCE = timedelta(minutes=10)


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
