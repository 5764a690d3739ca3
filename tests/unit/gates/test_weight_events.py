"""The journal entries at which a weight became live or stopped being live."""

from __future__ import annotations

import pytest

from rollout.domain.gates.weight_events import KINDS, WeightEvent
from rollout.domain.lifecycle.entries import ServiceEvent
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import CommandKind
from rollout.domain.lifecycle.state import Position
from tests.support.clock import START


@pytest.mark.parametrize(
    ("kind", "data", "read"),
    [
        ("confirmed", '{"position": "2.1", "change": {}}', ServiceEvent(Position(2, 1))),
        ("reached", '{"position": "2.1", "retreated": 2000}', ServiceEvent(Position(2, 1), retreated=2000)),
        (
            "confirmed",
            '{"position": "1.2", "by_hand": {"number": 1, "wave": 1, "step": 2, "weights": {"canary": 3000}}}',
            ServiceEvent(Position(1, 2), by_hand=HandSplit(1, 1, 2, {"canary": 3000})),
        ),
        ("held", '{"reason": "drift"}', ServiceEvent(None, "drift")),
        ("held", "{}", ServiceEvent(None)),
    ],
)
def test_stored_entries_load(kind: str, data: str, read: ServiceEvent) -> None:
    assert WeightEvent.from_journal(kind, START, data) == WeightEvent(kind, START, read)


def test_the_data_of_the_other_kinds_is_not_parsed() -> None:
    for kind in KINDS - {"confirmed", "reached", "held"}:
        assert WeightEvent.from_journal(kind, START, "never parsed").data is None


def test_the_kinds_of_commands_are_those_of_the_journal() -> None:
    assert [str(kind) for kind in CommandKind] == [
        *("promote", "set", "shipped", "pause", "resume", "stop", "adopt", "restore", "rollback")
    ]
