"""The judge sees an edit whatever came after it, and takes for seen what a reading can have shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from .chronicle import _Walk
from .remote import Number, State

CLAIM, INTENT = 100.0, 110.0


def state(at: float, author: str = "foreign", edit: str = "lists") -> State:
    return State(at, {}, "Front", int(at), author, edit)


START, OURS, KIT = state(0, "start", ""), state(50, "service", ""), state(105, "kit", "")


@pytest.mark.parametrize(
    ("since", "answered", "edits"),
    [
        ([], -1.0, []),
        ([state(90)], -1.0, [90]),
        ([state(90), state(95, edit="other"), state(97, edit="touch")], -1.0, [90]),
        ([state(90), state(105)], -1.0, [90, 105]),
        ([state(80), state(90), state(105)], -1.0, [90, 105]),
        ([state(90), KIT], -1.0, []),
        ([state(105)], -1.0, []),
        ([state(90), state(120)], -1.0, [90]),
        ([state(90)], 95.0, []),
        ([state(90), state(105)], 95.0, []),
    ],
    ids=[
        "no edit",
        "before the claim",
        "before the claim, and others after it",
        "a second one before the intent",
        "one that no reading shows any more",
        "put back meanwhile",
        "after the claim: the pre-read may have been before it",
        "after the intent",
        "answered by a person",
        "answered, and another after the claim",
    ],
)
def test_edits_that_every_reading_shows(since: list[State], answered: float, edits: list[float]) -> None:
    number = Number("+1", [START, OURS, *since])
    sim: Any = SimpleNamespace(remote=SimpleNamespace(numbers={"+1": number}))
    rollout: Any = None
    walk = _Walk(sim, rollout)
    walk.answered_at = answered
    assert [s.at for s in walk._foreign("+1", CLAIM, INTENT)] == edits
