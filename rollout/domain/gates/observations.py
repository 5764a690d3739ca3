"""The observations under a gate's verdict: stored calls, and the journal entries at which weights changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain.gates.counting import WeightSpan
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.records import CallRecord
from rollout.domain.lifecycle.state import Position, Rollout, Target
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Observations:
    """The observations that a gate check is made from. fetched: calls were read since the rollout began."""

    calls: Sequence[CallRecord]
    weight_changes: Sequence[tuple[str, datetime, str]]
    limits: Mapping[str, float]
    unavailable: str | None
    fetched: bool = True

    def spans(self, plan: Plan, arm: str, wave: int, against: str | None = None) -> list[WeightSpan]:
        """The times in which one confirmed weight was live on the numbers of one wave; of `share`."""
        spans: list[WeightSpan] = []
        begun: tuple[datetime, Position, int | None, HandSplit | None] | None = None
        weight_changes: list[tuple[str, datetime | None, str]] = [*self.weight_changes, ("end", None, "")]
        for kind, at, text in weight_changes:
            if kind in ("adopt", "completed") or (kind == "held" and json.loads(text).get("reason") not in _BREAKS):
                continue
            if begun is not None:
                since, position, retreated, hand = begun
                if weights := _weights(plan, position, hand, wave):
                    part, place = share(weights, arm, against), position_index(plan, position, hand)
                    if retreated is not None:
                        # Its calls are evidence at the retreat's weight, and none of the position's own calls.
                        part, place = min(part, retreated / splits.TOTAL), -place
                    spans.append(WeightSpan(since, at, part, place))
                begun = None
            if kind in ("confirmed", "reached") and at is not None:
                document = json.loads(text)
                wave_, _, step_ = document["position"].partition(".")
                set_ = document.get("by_hand")
                hand = None if set_ is None else HandSplit.from_json(set_)
                begun = (at, Position(int(wave_), int(step_)), document.get("retreated"), hand)
        return spans

    def calls_in_step(self, rollout: Rollout) -> int:
        """Canary calls (of any arm) that started since the position was confirmed, at its weights."""
        if rollout.confirmed_at is None:
            return 0
        arms = {ref.pair for ref in rollout.plan.arms.values()}
        away = self._retreat_spans()
        return sum(
            1
            for c in self.calls
            if c.started_at is not None
            and c.started_at >= rollout.confirmed_at
            and (c.agent_id, c.agent_version) in arms
            and not any(since <= c.started_at and (end is None or c.started_at < end) for since, end in away)
        )

    def _retreat_spans(self) -> list[tuple[datetime, datetime | None]]:
        """The times from each retreat's order until the position's weights were read back again."""
        away: list[tuple[datetime, datetime | None]] = []
        for kind, at, text in self.weight_changes:
            down = bool(away) and away[-1][1] is None
            if kind == "retreated" and not down:
                away.append((at, None))
            elif down and (kind == "confirmed" or (kind == "reached" and json.loads(text).get("retreated") is None)):
                away[-1] = (away[-1][0], at)
        return away

    def delays(self, now: datetime) -> list[float]:
        """Seconds from the start of a call to its analysis, where it was seen to arrive, over the last seven days."""
        return [
            (c.analyzed_at - c.started_at).total_seconds()
            for c in self.calls
            if c.analyzed_at is not None and c.started_at is not None and c.started_at > now - _WEEK
        ]

    def per_day(self, now: datetime, numbers: Collection[str] | None = None) -> float | None:
        """Calls a day of these numbers (None: all) over the last seven days, or over what has been seen; None for less
        than a minute."""
        started = [
            c.started_at for c in self.calls if c.started_at is not None and (numbers is None or c.number in numbers)
        ]
        first = max(min(started, default=now), now - _WEEK)
        length = (now - first).total_seconds()
        return None if length < 60 else sum(1 for s in started if s >= first) * 86_400 / length


def _weights(plan: Plan, position: Position, hand: HandSplit | None, wave: int) -> Mapping[str, int]:
    """Basis points of each arm on a wave's numbers at this position or person's split; empty before the wave begins."""
    if hand is not None and (hand.ships is not None or wave == position.wave):
        return hand.weights
    if wave > position.wave:
        return {}
    return plan.weights(plan.last_step if wave < position.wave else position.step)


# Held for one of these reasons, the live split is not the one we confirmed.
_BREAKS = frozenset({"drift", "identity"})


def baseline_pairs(targets: Iterable[Target]) -> set[tuple[str, int]]:
    """(agent, version) of everything the baselines serve by number; tags cannot be told apart in calls."""
    pairs: set[tuple[str, int]] = set()
    for target in targets:
        for entries in target.baseline.values():
            for entry in entries or ():
                version = splits.normal_version(entry.get("agent_version"))
                if isinstance(version, int):
                    pairs.add((entry["agent_id"], version))
    return pairs


def share(weights: Mapping[str, int], arm: str, against: str | None = None) -> float:
    """The arm's share among the calls of this arm and the baseline, or another arm, by the basis points of all arms."""
    own = weights.get(arm, 0)
    rest = splits.TOTAL - sum(weights.values()) if against is None else weights.get(against, 0)
    return own / (own + rest) if own + rest else 0.0


def position_index(plan: Plan, position: Position, hand: HandSplit | None = None) -> float:
    """A position as a number, in the order in which they are reached; a person's split lies behind its position's."""
    return (position.wave - 1) * plan.last_step + position.step + (0 if hand is None else hand.number / 1000)
