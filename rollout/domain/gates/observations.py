"""The observations under a gate's verdict: stored calls, and the journal entries at which weights changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain.calls import CallRecord
from rollout.domain.gates.counting import WeightSpan
from rollout.domain.gates.weight_events import WeightEvent
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import CommandKind, Event, HeldReason
from rollout.domain.lifecycle.state import Position, Rollout, Target
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Observations:
    """The observations that a gate check is made from. fetched: calls were read since the rollout began."""

    calls: Sequence[CallRecord]
    weight_events: Sequence[WeightEvent]
    limits: Mapping[str, float]
    unavailable: str | None
    fetched: bool = True

    def spans(self, plan: Plan, arm: str, wave: int, against: str | None = None) -> list[WeightSpan]:
        """The times in which one confirmed weight was live on the numbers of one wave; of `share`."""
        spans: list[WeightSpan] = []
        begun: WeightEvent | None = None
        for event in self.weight_events:
            if event.kind in _CONTINUES or (event.kind == Event.HELD and _reason(event) not in _BREAKS):
                continue
            if begun is not None:
                spans += _span(plan, begun, event.at, arm, wave, against)
            begun = event if event.kind in (Event.CONFIRMED, Event.REACHED) else None
        return spans if begun is None else [*spans, *_span(plan, begun, None, arm, wave, against)]

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
        for event in self.weight_events:
            down = bool(away) and away[-1][1] is None
            if event.kind == Event.RETREATED and not down:
                away.append((event.at, None))
            elif down and (event.kind == Event.CONFIRMED or (event.kind == Event.REACHED and not _is_retreat(event))):
                away[-1] = (away[-1][0], event.at)
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


def _span(
    plan: Plan, begun: WeightEvent, end: datetime | None, arm: str, wave: int, against: str | None
) -> list[WeightSpan]:
    """The time from a read-back on, on the numbers of one wave; none before the wave begins."""
    event = begun.data
    if event is None or event.position is None:
        return []
    weights = _weights(plan, event.position, event.by_hand, wave)
    if not weights:
        return []
    part, place = share(weights, arm, against), position_index(plan, event.position, event.by_hand)
    if event.retreated is not None:
        # Its calls are evidence at the retreat's weight, and none of the position's own calls.
        part, place = min(part, event.retreated / splits.TOTAL), -place
    return [WeightSpan(begun.at, end, part, place)]


def _reason(event: WeightEvent) -> str | None:
    return None if event.data is None else event.data.reason


def _is_retreat(event: WeightEvent) -> bool:
    return event.data is not None and event.data.retreated is not None


def _weights(plan: Plan, position: Position, hand: HandSplit | None, wave: int) -> Mapping[str, int]:
    """Basis points of each arm on a wave's numbers at this position or person's split; empty before the wave begins."""
    if hand is not None and (hand.ships is not None or wave == position.wave):
        return hand.weights
    if wave > position.wave:
        return {}
    return plan.weights(plan.last_step if wave < position.wave else position.step)


_CONTINUES: frozenset[str] = frozenset({CommandKind.ADOPT, Event.COMPLETED})
# Held for one of these reasons, the live split is not the one we confirmed.
_BREAKS: frozenset[str] = frozenset({HeldReason.DRIFT, HeldReason.IDENTITY})


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
