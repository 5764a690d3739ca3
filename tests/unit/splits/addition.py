"""How a server adds up weights."""

from __future__ import annotations

from collections.abc import Sequence


def add(weights: Sequence[float]) -> float:
    """What a server does that adds from left to right; written out, as sum() compensates since 3.12."""
    total = 0.0
    for weight in weights:
        total += weight
    return total
