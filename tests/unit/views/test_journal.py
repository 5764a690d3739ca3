"""Journal entries in words."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position
from rollout.interfaces.views.journal import wording

SHIPPED = CommandGiven(
    "r1", Phase.PROGRESSING, None, Position(1, 2), 3, by_hand=HandSplit(1, 1, 2, {"b": 10_000}, "b"), missing="Too few."
).to_json()
WRITES = {"change": {"new_writes": [{}, {}]}}


@pytest.mark.parametrize(
    ("kind", "reason", "data", "words"),
    [
        ("intended", "", {"kind": "forward", "position": "1.2"}, "to write step 1.2"),
        ("intended", "", {"kind": "forward", "position": "1.2", **WRITES}, "to write step 1.2 to 2 numbers"),
        (
            "intended",
            "",
            {"kind": "baseline", "position": "1.2", "change": {"new_writes": [{}]}},
            "to write the baseline to 1 number",
        ),
        (
            "intended",
            "",
            {"kind": "forward", "position": "1.2", "retreated": 500, **WRITES},
            "to write the retreat weight, 5 % to 2 numbers",
        ),
        (
            "settled",
            "",
            {
                "kind": "forward",
                "outcomes": {"+1": {"outcome": "applied"}, "+2": {"outcome": "not_sent"}, "+3": {"outcome": "applied"}},
            },
            "2 applied, 1 not sent",
        ),
        ("observed", "", {"findings": {"+1": "foreign_write"}}, "+1: foreign write"),
        (
            "observed",
            "",
            {"findings": {f"+{n}": "drift" for n in range(1, 9)}},
            "+1: drift, +2: drift, +3: drift, +4: drift, +5: drift and 3 more",
        ),
        ("observed", "somebody wrote it", {"findings": {"+1": "foreign_write"}}, "somebody wrote it"),
        ("promote", "good", {"from": "1.1", "to": "1.2"}, "from 1.1 to 1.2: good"),
        ("promote", "", {"from": "1.1", "to": "1.2"}, "from 1.1 to 1.2"),
        ("promote", "good", {}, "good"),
        ("pause", "calls drop", {}, "calls drop"),
        ("shipped", "b books more", SHIPPED, "b, although Too few: b books more"),
    ],
)
def test_an_entry_says_what_happened(kind: str, reason: str, data: dict[str, Any], words: str) -> None:
    assert wording(kind, reason, data) == words
