"""A rollout is followed through a service that is away for a while, and not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from rollout.domain.errors import NotReachable
from rollout.interfaces.backend import following
from rollout.interfaces.backend.following import FAILED_READS, documents
from rollout.interfaces.backend.local import Backend


class Answers:
    """A backend that shows these phases in turn; None: it cannot be reached."""

    def __init__(self, phases: Sequence[str | None]) -> None:
        self._phases = iter(phases)

    def show(self, _id: str) -> dict[str, Any]:
        phase = next(self._phases)
        if phase is None:
            raise NotReachable("away")
        return {"phase": phase}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(following.time, "sleep", made.append)
    return made


def followed(phases: Sequence[str | None]) -> list[str]:
    return [document["phase"] for document in documents(cast(Backend, Answers(phases)), "id", pause=0.3)]


def test_it_ends_with_the_first_final_phase(pauses: list[float]) -> None:
    assert followed(["pending", "progressing", "promoted", "rolled_back"]) == ["pending", "progressing", "promoted"]
    assert pauses == [0.3, 0.3]


def test_a_service_that_comes_back_is_followed_on(pauses: list[float]) -> None:
    away = [None] * FAILED_READS
    assert followed(["progressing", *away, "progressing", *away, "stopped"]) == [
        "progressing",
        "progressing",
        "stopped",
    ]
    assert pauses.count(1) == 2 * FAILED_READS


def test_a_service_that_stays_away_ends_it(pauses: list[float]) -> None:
    with pytest.raises(NotReachable):
        followed([None] * (FAILED_READS + 1))
    assert len(pauses) == FAILED_READS
