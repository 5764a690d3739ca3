"""The traffic of a plan's numbers before it starts, from Retell's own lists of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from rollout.domain.calls import CallRecord
from rollout.domain.errors import NotReachable
from rollout.domain.gates.counting import hard_reasons
from rollout.domain.gates.earlier_calls import BEFORE, LEAST_CALLS, baseline_history
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.observations import baseline_pairs
from rollout.domain.writes.answers import Failure
from rollout.engine.gate_check import config_of
from rollout.engine.ports import Calls
from rollout.engine.preflight import Preflight

HISTORY = timedelta(days=7)
MOST_NUMBERS, MOST_CALLS = 25, 2_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a plan's numbers, from Retell's lists.

    Calls a day in the last week (None: hardly any), and what the baseline's
    own calls of the last 30 days say."""

    calls_per_day: float | None
    history: BaselineHistory


def traffic(found: Preflight, calls: Calls, now: datetime) -> Traffic:
    """By Retell's own list, of at most 25 numbers; the month is read only where the week has too few calls. Of either, at
    most 2,000 calls are read, shared equally by the numbers. NotReachable when the list cannot be read."""
    asked = found.targets[:MOST_NUMBERS]
    pairs = frozenset(baseline_pairs(asked))
    week = _listed(found, calls, pairs, now - HISTORY)
    per_day = sum(_per_day(part, most, now - HISTORY, now) for part, most in week)
    per_day *= len(found.targets) / len(asked) if asked else 0.0
    config = config_of(found.plan)
    if config is None:
        return Traffic(per_day if per_day >= 1 else None, BaselineHistory())
    known = [call for part, _ in week for call in part]
    if sum(c.analyzed for c in known) < LEAST_CALLS:
        known = [call for part, _ in _listed(found, calls, pairs, now - BEFORE) for call in part]
    history = baseline_history(known, pairs, config, hard_reasons(found.plan.gates.hard_error_reasons))
    return Traffic(per_day if per_day >= 1 else None, history)


def _listed(
    found: Preflight, calls: Calls, pairs: frozenset[tuple[str, int]], since: datetime
) -> list[tuple[list[CallRecord], int]]:
    """For each number and channel its oldest calls since then, and how many were asked for at most."""
    asked = [(t.number, str(channel)) for t in found.targets[:MOST_NUMBERS] for channel in found.plan.channels]
    listed = []
    for number, channel in asked:
        most, part = MOST_CALLS // len(asked), []
        for item in islice(calls.since(number, channel, tuple(sorted(pairs)), since), most):
            if isinstance(item, Failure):
                raise NotReachable(f"Retell's calls cannot be read: {item.detail}")
            part.append(item)
        listed.append((part, most))
    return listed


def _per_day(part: Sequence[CallRecord], most: int, since: datetime, now: datetime) -> float:
    """Calls a day of one number; where there were more than were read, over the time that those which were read cover."""
    last = part[-1].started_at if len(part) == most else now
    length = max((last or now) - since, timedelta(minutes=1))
    return len(part) / (length / timedelta(days=1))


def calls_per_day(found: Preflight, calls: Calls, now: datetime) -> float:
    """Calls a day that the plan's numbers took in the last week, by Retell's own list."""
    return traffic(found, calls, now).calls_per_day or 0.0
