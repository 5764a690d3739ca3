"""The order of a split in which a server that adds doubles from left to right gets exactly 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

_EXACT_STATES = 30_000  # enough to search every order of 12 different weights
_QUICK_STATES = 60


@lru_cache(maxsize=512)
def order_adding_up(doubles: tuple[float, ...]) -> tuple[int, ...]:
    """Positions of `doubles` in an order that adds up to 1.0; their own order if it does or none is found.

    Depth first over the different weights, so that many equal entries cost nothing; a state is
    (weights left, sum so far), and one that failed is not tried again. Complete up to about a dozen
    different weights; beyond, orders are so many that short searches from several starts find one.
    """
    if add(doubles) == 1.0:
        return tuple(range(len(doubles)))
    kinds = list(dict.fromkeys(doubles))
    turns = [kinds[turn:] + kinds[:turn] for turn in range(len(kinds))]
    tries = [(turn, _QUICK_STATES) for turn in turns] + [(sorted(kinds), _QUICK_STATES), (kinds, _EXACT_STATES)]
    for turned, budget in tries:
        found, complete = _search(turned, doubles, budget)
        if found is not None:
            places = {kind: [i for i, double in enumerate(doubles) if double == kind] for kind in kinds}
            return tuple(places[kind].pop(0) for kind in found)
        if complete:
            break
    return tuple(range(len(doubles)))


def add(doubles: Sequence[float]) -> float:
    """Plain addition from left to right. Not sum(): since Python 3.12 that compensates."""
    total = 0.0
    for double in doubles:
        total += double
    return total


def _search(kinds: list[float], doubles: Sequence[float], budget: int) -> tuple[list[float] | None, bool]:
    """An order that adds up to 1.0, and whether the question is settled (found, or every order tried)."""
    left = [doubles.count(kind) for kind in kinds]
    failed: set[tuple[tuple[int, ...], float]] = set()
    path: list[float] = []

    def descend(total: float) -> bool | None:
        """True: found; False: no way on from here; None: the budget is spent."""
        if len(path) == len(doubles):
            return total == 1.0
        state = (tuple(left), total)
        if state in failed:
            return False
        if len(failed) >= budget:
            return None
        for k, kind in enumerate(kinds):
            if not left[k]:
                continue
            left[k] -= 1
            path.append(kind)
            outcome = descend(total + kind)
            if outcome is not False:
                return outcome
            path.pop()
            left[k] += 1
        failed.add(state)
        return False

    outcome = descend(0.0)
    return (path if outcome else None), outcome is not None
