"""What the service does with calls that webhooks tell of."""

from __future__ import annotations

import signal
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from jobs.service import _observed, _quietly, _wait_for
from rollout.app import App
from rollout.domain.calls import CallRecord
from rollout.domain.lifecycle.machine import Phase
from tests.support.clock import START
from tests.support.hand import Hand
from tests.support.values import AGENT, ONE, TWO, confirmed


def call(number: str = ONE) -> CallRecord:
    return CallRecord(f"call {number}", AGENT, 7, number, "inbound", START, START, "ended")


@pytest.mark.parametrize("number", [ONE, TWO])
def test_a_call_that_a_webhook_tells_of_wakes_the_rollout_on_its_number_once(app: App, hand: Hand, number: str) -> None:
    hand.create("r1", confirmed(ONE), due=None, phase=Phase.PROGRESSING, started_at=hand.store.now())
    woken: list[tuple[list[str], bool]] = []
    app.store.wake = lambda ids, *, read_numbers=True: woken.append((list(ids), read_numbers))
    for _ in range(2):
        _observed(app, [call(number)])
    assert woken == ([(["r1"], False)] if number == ONE else [])
    assert len(app.store.calls.since([number], ["inbound"], START)) == 1


def test_the_first_signal_is_named() -> None:
    signals: SimpleQueue[int] = SimpleQueue()
    signals.put(signal.SIGTERM)
    signals.put(signal.SIGINT)
    assert _wait_for(signals) == "SIGTERM"


def test_work_that_nobody_waits_for_fails_without_a_word() -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("tried")
        raise ValueError("a mistake of ours")

    work: Callable[[], object] = fail
    _quietly(work)
    assert done == ["tried"]
