"""The literal table of transitions: every pair of phase and event, and what holds on every way through it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollout.domain.errors import IllegalTransition
from rollout.domain.lifecycle.machine import FINAL, TRANSITIONS, Event, Phase, after, allows
from tests import documents

PAIRS = [(phase, event) for phase in Phase for event in Event]
FORWARD = {Phase.PENDING, Phase.PROGRESSING, Phase.PROMOTED}

# What people may ask, by phase, written down apart from the table.
ASKED = {
    Phase.PENDING: {"pause", "stop", "rollback"},
    Phase.PROGRESSING: {"promote", "set", "ship", "pause", "stop", "rollback"},
    Phase.PAUSED: {"resume", "resume_pending", "ship", "stop", "rollback"},
    Phase.HELD: {"adopt", "adopt_paused", "restore", "restore_paused", "stop", "rollback"},
    Phase.PROMOTED: {"rollback"},
    Phase.ROLLING_BACK: {"rollback"},
    Phase.ROLLED_BACK: set(),
    Phase.STOPPED: {"rollback"},
}


@pytest.mark.parametrize(("phase", "event"), PAIRS, ids=[f"{p}-{e}" for p, e in PAIRS])
def test_every_pair_moves_by_the_table_or_is_refused_with_a_sentence(phase: Phase, event: Event) -> None:
    if (phase, event) in TRANSITIONS:
        assert allows(phase, event)
        assert after(phase, event) is TRANSITIONS[phase, event]
        return
    assert not allows(phase, event)
    with pytest.raises(IllegalTransition) as refused:
        after(phase, event)
    assert refused.value.exit_code == 3
    assert refused.value.message.startswith(f"a rollout that is {phase} cannot be ")
    assert refused.value.details == {"phase": str(phase), "event": str(event)}


@pytest.mark.parametrize("phase", list(Phase))
def test_what_people_may_ask(phase: Phase) -> None:
    asked = {str(e).removesuffix("_asked") for e in Event if str(e).endswith("_asked") and allows(phase, e)}
    assert asked == ASKED[phase]


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_way_to_an_end(phase: Phase) -> None:
    assert _reachable(phase) & FINAL


def test_nothing_leads_forward_after_a_rollback_was_ordered() -> None:
    assert _reachable(Phase.ROLLING_BACK) == {Phase.ROLLING_BACK, Phase.ROLLED_BACK}


def test_no_gate_stands_before_a_rollback() -> None:
    """Every phase in which something may have been written takes the order."""
    for phase in set(Phase) - {Phase.ROLLED_BACK}:
        assert after(phase, Event.ROLLBACK_ASKED) is Phase.ROLLING_BACK


def test_held_is_left_by_a_persons_answer_or_backwards_only() -> None:
    left = {e for (p, e), to in TRANSITIONS.items() if p is Phase.HELD and to is not Phase.HELD}
    forward = {e for e in left if TRANSITIONS[Phase.HELD, e] in FORWARD | {Phase.PAUSED}}
    assert all(str(e).endswith("_asked") for e in forward)
    assert Event.RESUME_ASKED not in left


def test_the_names_are_the_contracts() -> None:
    assert [str(p) for p in Phase] == [
        "pending",
        "progressing",
        "paused",
        "held",
        "promoted",
        "rolling_back",
        "rolled_back",
        "stopped",
    ]
    assert {p for p in Phase if p.is_final} == {Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED}
    assert all(p.is_live is not p.is_final for p in Phase)


def test_the_drawing_is_of_this_table() -> None:
    assert documents.PAGE.read_text(encoding="utf-8") == documents.state_machine(), (
        "docs/state-machine.md is stale: run `make docs`"
    )


def _reachable(start: Phase) -> set[Phase]:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for (phase, _), to in TRANSITIONS.items():
            if phase is here and to not in found:
                found.add(to)
                todo.append(to)
    return found


class Life(RuleBasedStateMachine):
    """Any events in any order: what is refused changes nothing, and no way leads where none may."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.PENDING
        self.ordered_back = False

    @rule(event=st.sampled_from(Event))
    def happens(self, event: Event) -> None:
        before = self.phase
        try:
            self.phase = after(before, event)
        except IllegalTransition:
            assert (before, event) not in TRANSITIONS
            assert self.phase is before
        else:
            assert TRANSITIONS[before, event] is self.phase
            self.ordered_back = self.ordered_back or self.phase is Phase.ROLLING_BACK

    @precondition(lambda self: self.phase is not Phase.ROLLED_BACK)
    @rule()
    def a_person_orders_it_back(self) -> None:
        self.phase = after(self.phase, Event.ROLLBACK_ASKED)
        self.ordered_back = True

    @invariant()
    def back_stays_back(self) -> None:
        if self.ordered_back:
            assert self.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)

    @invariant()
    def something_is_always_possible(self) -> None:
        assert any(allows(self.phase, event) for event in Event)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
