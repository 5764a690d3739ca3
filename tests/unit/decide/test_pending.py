"""Before the first step: what is waited for, and what begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rollout.domain.decide.actions import Begin
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support.clock import START
from tests.support.values import plan, rollout, target
from tests.unit.decide.situations import CLOSED, PENDING, POLL, WATCH, record_of, wait_of


def test_pending_begins_at_once() -> None:
    action = record_of(decide(rollout(**PENDING), Facts(), START))
    assert (action.event, action.values["started_at"]) == (Event.BEGUN, START)


def test_pending_waits_for_its_start() -> None:
    at = START + timedelta(hours=1)
    r = rollout(**PENDING, start_at=at, targets=())
    found = wait_of(decide(r, Facts(), START))
    assert (found.until, found.next) == (at, "check the numbers and begin")
    assert isinstance(decide(r, Facts(), at), Begin)
    known = wait_of(decide(replace(r, targets=(target(),)), Facts(), START))
    assert known.next == "step 1.1: 10 % canary"


def test_pending_waits_for_the_plan_before_it() -> None:
    r = rollout(**PENDING, plan=plan(after="frontdesk-v6"), targets=())
    for known in (None, False):
        found = wait_of(decide(r, Facts(after_promoted=known), START))
        assert (found.until, found.why) == (START + WATCH, "waiting for frontdesk-v6 to be promoted")
    assert isinstance(decide(r, Facts(after_promoted=True), START), Begin)


def test_pending_waits_for_its_window_and_for_retell() -> None:
    assert wait_of(decide(rollout(**PENDING), Facts(opening=CLOSED), START)).until == CLOSED.until
    away = wait_of(decide(rollout(**PENDING, targets=()), Facts(trouble="down"), START))
    assert (away.until, away.why, away.waiting_for) == (START + POLL, "down", WaitingFor.RETELL)


def test_the_deadline_counts_from_the_beginning() -> None:
    action = record_of(decide(rollout(**PENDING, plan=plan(deadline="7d")), Facts(), START))
    assert action.values["deadline_at"] == START + timedelta(days=7)
