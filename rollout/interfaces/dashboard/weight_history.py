"""The history of the weights, from the journal: what was asked, what was read back, and how long each weight was live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import CommandKind, Event
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from rollout.interfaces.dashboard import charts
from rollout.interfaces.dashboard.page_state import HistoryLine


class WeightPeriod(NamedTuple):
    """A time in which one read-back weight was live; `retreated`: its basis points at closing time; `by_hand`: what
    a person had set in place of the position's weights."""

    position: str
    retreated: int | None
    begin: datetime
    end: datetime
    by_hand: HandSplit | None = None


@dataclass(frozen=True, slots=True)
class WeightHistory:
    """The weights asked for and read back, every time in which one was live, and the journal's last moment."""

    asked: Sequence[charts.Moment]
    read_back: Sequence[charts.Moment]
    periods: Sequence[WeightPeriod]
    end: datetime


def weight_history(plan: Plan, lines: Sequence[HistoryLine], now: datetime) -> WeightHistory:
    """The weights of a rollout by its journal."""
    asked: list[charts.Moment] = []
    read: list[charts.Moment] = []
    periods: list[WeightPeriod] = []
    since: HistoryLine | None = None
    last_intent: tuple[str | None, int | None, HandSplit | None] | None = None
    for line in lines:
        if line.kind == "intended":
            what = ("baseline" if line.baseline else line.position, line.retreated, line.by_hand)
            if what != last_intent:
                asked.append(charts.Moment(line.at, 0.0 if line.baseline else _weight_of(plan, line)))
            last_intent = what
        elif line.kind in (Event.CONFIRMED, Event.REACHED):
            read.append(charts.Moment(line.at, _weight_of(plan, line)))
            since = line
        elif line.kind in (Event.READ_BACK, Event.RESTORED_OUTSIDE):
            read.append(charts.Moment(line.at, 0.0))
        if since is not None and line.kind in _ENDS:
            periods.append(_period(since, line.at))
            since = None
    end = lines[-1].at if lines else now
    if since is not None:
        periods.append(_period(since, now))
    if asked:
        read.insert(0, charts.Moment(asked[0].at, 0.0))
    return WeightHistory(asked, read, periods, end)


_ENDS: frozenset[str] = frozenset(
    {
        Event.ADVANCED,
        CommandKind.PROMOTE,
        CommandKind.SET,
        Event.SHIPPED,
        CommandKind.ROLLBACK,
        Event.FAILED,
        Event.HELD,
        Event.COMPLETED,
        Event.ENDED,
        CommandKind.STOP,
        Event.RETREATED,
        Event.RETURNED,
        Event.RESTORED_OUTSIDE,
    }
)


def _period(since: HistoryLine, end: datetime) -> WeightPeriod:
    return WeightPeriod(since.position or "", since.retreated, since.at, end, since.by_hand)


def _weight_of(plan: Plan, line: HistoryLine) -> float:
    hand = line.by_hand
    weight = _weight(plan, line.position) if hand is None else sum(hand.weights.values()) / splits.TOTAL
    return weight if line.retreated is None else min(weight, line.retreated / splits.TOTAL)


def _weight(plan: Plan, position: str | None) -> float:
    _, _, step = (position or "").partition(".")
    if not step.isdigit() or not 1 <= int(step) <= plan.last_step:
        return 0.0
    return sum(plan.weights(int(step)).values()) / splits.TOTAL
