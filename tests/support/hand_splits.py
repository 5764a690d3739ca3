"""Rollouts whose weights a person set, or that a person ships."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.writes.drift import NumberScan
from rollout.domain.writes.protocol import Finding, wanted_lists
from tests.support.clock import START
from tests.support.values import ONE, TWO, confirmed, rollout, target

NOW = START + timedelta(hours=1)


def by_hand(step: int = 2, **changes: Any) -> Rollout:
    """Set to 0.3 by a person at this step, the second of their splits; nothing of it written yet."""
    splits = [
        {"number": 1, "wave": 1, "step": 1, "weights": {"canary": 4000}},
        {"number": 2, "wave": 1, "step": step, "weights": {"canary": 3000}},
    ]
    values = {"position": Position(1, step), "targets": (confirmed(step=step),), "by_hand": splits, "hand_split": 2}
    return rollout(**{**values, **changes})


def there(step: int = 2, **changes: Any) -> Rollout:
    """The same, read back at NOW."""
    r = by_hand(step)
    split = wanted_lists(r, r.targets[0])
    return replace(r, **{"targets": (replace(confirmed(), step=5, split=split),), "confirmed_at": NOW, **changes})


def seen(at: datetime, *numbers: str) -> Facts:
    return Facts(scan=NumberScan(at, dict.fromkeys(numbers or (ONE,), Finding.AS_EXPECTED), Change()))


def first_split() -> Any:
    r = by_hand(hand_split=1)
    return wanted_lists(r, r.targets[0])


def shipping(**changes: Any) -> Rollout:
    """Shipped from 1.1, on two waves of which the second was not begun; nothing of it written yet."""
    splits = [{"number": 1, "wave": 2, "step": 3, "weights": {"canary": 10_000}, "ships": "canary"}]
    targets = (confirmed(), target(TWO, ord=1, wave=2))
    values = {"position": Position(2, 3), "targets": targets, "by_hand": splits, "hand_split": 1}
    return rollout(**{**values, **changes})


def shipped(**changes: Any) -> Rollout:
    r = shipping()
    written = [(confirmed(t.number, ord=t.ord, wave=t.wave), wanted_lists(r, t)) for t in r.targets]
    targets = tuple(replace(t, step=4, split=split) for t, split in written)
    return shipping(**{"targets": targets, "confirmed_at": NOW, **changes})
