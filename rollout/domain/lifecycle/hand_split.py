"""Splits that people set between the steps of the plan, or ship at its end: stored with the rollout, in their order.

They do not change its position. Each has a number, from 1. In targets and writes it counts as a step after the plan's
last one, so that code for steps works with it, too: number 2 of a plan with three steps is step 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

MOST_SPLITS = 200  # of one rollout: each is a split of ours that a late write may bring back


@dataclass(frozen=True, slots=True)
class HandSplit:
    """One split: the basis points of each arm, and the position (wave, step of the plan) whose weights it replaces.

    It is written to every number of that wave. `ships`: the variant that it ships, which ends the rollout; it is then
    written to every number of the rollout.
    """

    number: int
    wave: int
    step: int
    weights: Mapping[str, int]
    ships: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it: for the rollout's row and the journal."""
        ships = {} if self.ships is None else {"ships": self.ships}
        return {"number": self.number, "wave": self.wave, "step": self.step, "weights": dict(self.weights), **ships}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)
