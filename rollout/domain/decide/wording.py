"""Phrases of the reasons that people read."""

from __future__ import annotations

from rollout.domain.lifecycle.state import Rollout


def reached_count(r: Rollout) -> int:
    """The count of numbers in the waves reached."""
    return sum(1 for t in r.targets if t.wave <= r.position.wave)


def wanted_text(r: Rollout) -> str:
    """The weights that are written now, by name: the position's step, or a person's split."""
    if r.shipped is not None:
        return f"ship {r.shipped}"
    return f"step {r.position}" if r.hand is None else f"set by a person at {r.position}"


def percent(points: int) -> str:
    """Basis points as a percentage: 1250 as "12.5 %"."""
    return f"{points / 100:g} %"


def counted(n: int, word: str) -> str:
    """A number with its noun: "1 call", "2 calls"."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
