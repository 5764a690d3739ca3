"""The PATCH bodies that a page promises, each with the numbers it goes to. Pure.

They come from the very functions that the driver writes with, so that a promise cannot differ from what is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.writes.protocol import body_of, wanted_lists
from rollout.interfaces.views.value_text import number_count


@dataclass(frozen=True, slots=True)
class PatchPreview:
    """One PATCH body and every number it goes to."""

    numbers: tuple[str, ...]
    body: str


def grouped(bodies: Iterable[tuple[str, str]]) -> tuple[PatchPreview, ...]:
    """(number, body) pairs with equal bodies put together, in the order in which they come first."""
    found: dict[str, list[str]] = {}
    for number, body in bodies:
        found.setdefault(body, []).append(number)
    return tuple(PatchPreview(tuple(numbers), body) for body, numbers in found.items())


def summary(orders: Iterable[PatchPreview]) -> str:
    """`the same PATCH for 12 numbers`, `one PATCH`, or `no PATCH`."""
    listed = list(orders)
    if not listed:
        return "no PATCH"
    count = sum(len(o.numbers) for o in listed)
    if count == 1:
        return "one PATCH"
    total = number_count(count)
    return f"the same PATCH for {total}" if len(listed) == 1 else f"{len(listed)} PATCH bodies for {total}"


def forward_bodies(r: Rollout, targets: Iterable[Target]) -> Iterable[tuple[str, str]]:
    """(number, body) of each of these targets, for the position that the rollout is at."""
    for t in targets:
        yield t.number, body_of(wanted_lists(r, t))
