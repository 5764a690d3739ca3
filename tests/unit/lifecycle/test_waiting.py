"""What a rollout waits for as soon as it is in a phase."""

from __future__ import annotations

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.waiting import WaitingFor, at_rest


def test_only_what_is_paused_or_held_waits_for_a_person_at_once() -> None:
    waiting = {phase: at_rest(phase) for phase in Phase}
    assert {phase for phase, cause in waiting.items() if cause is WaitingFor.PERSON} == {Phase.PAUSED, Phase.HELD}
    assert set(waiting.values()) == {WaitingFor.PERSON, None}
