"""Judges a rollout by the calls seen so far: from stored calls and the journal to a verdict.

The statistics are in rollout.domain (gates, calls, evidence); this file brings them what they need and keeps
what they say. A little over 300 lines with the two values that carry it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rollout.domain import splits
from rollout.domain.plan import Plan
from rollout.domain.records import CallRecord
from rollout.domain.state import Position, Rollout
from rollout.ports import Clock, Look
from rollout.store import observations
from rollout.store.engine import Database
from rollout.store.values import value_of

if TYPE_CHECKING:
    from rollout.domain.calls import Cell, Span
    from rollout.domain.gates import GateConfig, Memory, Verdict

BASELINE_CALLS_BEFORE = timedelta(days=7)
# Calls of a number that cannot be fetched for this long make the gate unmeasurable, not merely late.
BLIND_AFTER = timedelta(seconds=90)

External = Callable[[Plan], Mapping[str, float | None]]


class Readings(dict[str, float | None]):
    """Values of external metrics by name; None: unreadable. `repeated`: those that an earlier look had already."""

    def __init__(self, values: Mapping[str, float | None], repeated: frozenset[str] = frozenset()) -> None:
        super().__init__(values)
        self.repeated = repeated


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the gates say together: one canary's verdict, or that of all variants."""

    outcome: str
    alarm: str | None
    reason: str


@lru_cache(maxsize=256)
def _config(_digest: str, gates: str) -> GateConfig:
    from rollout.domain.profiles import from_plan

    return from_plan(json.loads(gates))


def config_of(plan: Plan) -> GateConfig | None:
    """The gate of a plan; None when it has none."""
    document = plan.gates.model_dump(mode="json", by_alias=True, exclude_none=True)
    if document.get("profile") == "none" and not document.get("metrics"):
        return None
    return _config(plan.digest(), json.dumps(document, sort_keys=True))


class Gatekeeper:
    """Implements rollout.ports.Gates."""

    def __init__(self, database: Database, clock: Clock, external: External = lambda _plan: {}) -> None:
        self.database = database
        self.clock = clock
        self.external = external

    def look(self, rollout: Rollout, now: datetime) -> Look:
        """The verdict now, kept if it differs from the last one kept."""
        config = config_of(rollout.plan)
        counted = any(step.min_calls for step in rollout.plan.steps)
        if rollout.started_at is None or (config is None and not counted):
            return Look()
        with self.database.read() as connection:
            seen = self._seen(connection, rollout, now)
        if config is None:
            return Look(canary_calls=seen.calls_in_step(rollout))
        verdicts = self._judge(config, rollout, seen, now)
        opinion = _together(verdicts)
        record = {
            "outcome": opinion.outcome,
            "alarm": opinion.alarm,
            "reason": opinion.reason,
            "position": {"wave": rollout.position.wave, "step": rollout.position.step},
            "arms": {name: _kept(v) for name, v in verdicts.items()},
        }
        self._keep(rollout, record, now)
        return Look(opinion, seen.calls_in_step(rollout), record)

    # -------------------------------------------------------------- what was seen

    def _seen(self, connection: Any, rollout: Rollout, now: datetime) -> Seen:
        assert rollout.started_at is not None
        plan, numbers = rollout.plan, [t.number for t in rollout.targets]
        channels = [str(c) for c in plan.channels]
        calls = observations.calls(connection, numbers, channels, rollout.started_at)
        marks = observations.marks_of(connection, numbers)
        return Seen(
            calls=calls,
            turns=observations.turns(connection, rollout.id),
            thresholds=self._thresholds(connection, rollout, numbers, channels),
            unavailable=_unavailable(rollout, marks, now),
        )

    def _thresholds(
        self, connection: Any, rollout: Rollout, numbers: Sequence[str], channels: Sequence[str]
    ) -> tuple[float, float] | None:
        from rollout.domain.calls import latency_thresholds

        kept = value_of(connection, f"slow:{rollout.id}")
        if kept is not None:
            low, high = json.loads(kept)
            return low, high
        assert rollout.started_at is not None
        before = observations.calls(
            connection, numbers, channels, rollout.started_at - BASELINE_CALLS_BEFORE, rollout.started_at
        )
        ours = baseline_pairs(rollout)
        values = [
            c.e2e_p50_ms for c in before if c.e2e_p50_ms is not None and (c.agent_id, c.agent_version) in ours
        ]
        return latency_thresholds(values)

    def _judge(self, config: GateConfig, rollout: Rollout, seen: Seen, now: datetime) -> dict[str, Verdict]:
        from rollout.domain.calls import HARD_REASONS, CallRules, tabulate
        from rollout.domain.gates import judge
        from rollout.domain.weighing import Tally

        plan = rollout.plan
        external = self.external(plan) if any(m.external for m in config.metrics) else {}
        memories = _memories(rollout.verdict)
        baseline = frozenset(baseline_pairs(rollout))
        hard = plan.gates.hard_error_reasons
        verdicts = {}
        for name, ref in plan.arms.items():
            rules = CallRules(
                ref.pair,
                baseline,
                config.metrics,
                seen.thresholds,
                HARD_REASONS if hard is None else frozenset(hard),
                plan.gates.max_call_time,
            )
            cells: list[Cell] = []
            still_open = 0
            for wave in range(1, rollout.waves + 1):
                mine = {t.number for t in rollout.targets if t.wave == wave}
                table = tabulate(
                    [c for c in seen.calls if c.number in mine], seen.spans(plan, name, wave), now, rules
                )
                cells += table.cells
                still_open = max(still_open, *table.open.values()) if table.open else still_open
            tally = Tally(
                cells=tuple(sorted(cells, key=lambda c: (abs(c.position), c.day))),
                position=_index(plan, rollout.position),
                step=rollout.position.step,
                weight=_share(plan, name, rollout.position.step),
                unavailable=seen.unavailable,
                external=external,
                open=still_open,
                calls_per_day=seen.per_day(now),
            )
            memory = _uncounted(memories.get(name), external)
            verdicts[name] = judge(config, tally, memory if not rollout.waived else _unfailed(memory))
        return verdicts

    # -------------------------------------------------------------- what is kept

    def _keep(self, rollout: Rollout, record: dict[str, Any], now: datetime) -> None:
        old = rollout.verdict or {}
        same = all(old.get(key) == record[key] for key in ("outcome", "alarm", "position", "arms"))
        if same:
            return
        with self.database.write() as connection:
            observations.keep_look(
                connection, rollout.id, now, rollout.position, record["outcome"], record["alarm"],
                record["reason"], record,
            )  # fmt: skip
            observations.set_verdict(connection, rollout.id, record)


@dataclass(frozen=True)
class Seen:
    """Everything a look rests on."""

    calls: Sequence[CallRecord]
    turns: Sequence[tuple[str, datetime, str]]
    thresholds: tuple[float, float] | None
    unavailable: str | None

    def spans(self, plan: Plan, arm: str, wave: int) -> list[Span]:
        """The times in which one confirmed weight was in force on the numbers of one wave."""
        from rollout.domain.calls import Span

        spans: list[Span] = []
        begun: tuple[datetime, Position, int | None] | None = None
        turns: list[tuple[str, datetime | None, str]] = [*self.turns, ("end", None, "")]
        for kind, at, text in turns:
            if kind == "adopt" or (kind == "held" and json.loads(text).get("reason") not in _BREAKS):
                continue
            if begun is not None:
                since, position, retreated = begun
                step = (
                    plan.last_step if wave < position.wave else position.step if wave == position.wave else 0
                )
                if step:
                    share, index = _share(plan, arm, step), _index(plan, position)
                    if retreated is not None:
                        # Its calls are evidence at the retreat's weight, and none of the position's own calls.
                        share, index = min(share, retreated / splits.TOTAL), -index
                    spans.append(Span(since, at, share, index))
                begun = None
            if kind in ("confirmed", "reached") and at is not None:
                document = json.loads(text)
                wave_, _, step_ = document["position"].partition(".")
                begun = (at, Position(int(wave_), int(step_)), document.get("retreated"))
        return spans

    def calls_in_step(self, rollout: Rollout) -> int:
        """Canary calls (of any arm) that started since the position was confirmed, while its weights stood."""
        if rollout.confirmed_at is None:
            return 0
        arms = {ref.pair for ref in rollout.plan.arms.values()}
        away = self._away()
        return sum(
            1
            for c in self.calls
            if c.started_at is not None
            and c.started_at >= rollout.confirmed_at
            and (c.agent_id, c.agent_version) in arms
            and not any(since <= c.started_at and (end is None or c.started_at < end) for since, end in away)
        )

    def _away(self) -> list[tuple[datetime, datetime | None]]:
        """From each retreat's order until the position's weights were read back again."""
        away: list[tuple[datetime, datetime | None]] = []
        for kind, at, text in self.turns:
            down = bool(away) and away[-1][1] is None
            if kind == "retreated" and not down:
                away.append((at, None))
            elif down and (
                kind == "confirmed" or (kind == "reached" and json.loads(text).get("retreated") is None)
            ):
                away[-1] = (away[-1][0], at)
        return away

    def per_day(self, now: datetime) -> float | None:
        """Calls a day over the last seven days, or over what has been seen; None for less than a minute."""
        started = [c.started_at for c in self.calls if c.started_at is not None]
        first = max(min(started, default=now), now - timedelta(days=7))
        length = (now - first).total_seconds()
        return None if length < 60 else sum(1 for s in started if s >= first) * 86_400 / length


# Held for one of these reasons, the live split is not the one we confirmed.
_BREAKS = frozenset({"drift", "identity"})


def baseline_pairs(rollout: Rollout) -> set[tuple[str, int]]:
    """(agent, version) of everything the baselines serve by number; tags cannot be told apart in calls."""
    pairs: set[tuple[str, int]] = set()
    for target in rollout.targets:
        for entries in target.baseline.values():
            for entry in entries or ():
                version = splits.normal_version(entry.get("agent_version"))
                if isinstance(version, int):
                    pairs.add((entry["agent_id"], version))
    return pairs


def _share(plan: Plan, arm: str, step: int) -> float:
    """The arm's share among the calls of this arm and the baseline."""
    weights = plan.weights(step)
    own = weights.get(arm, 0)
    rest = splits.TOTAL - sum(weights.values())
    return own / (own + rest) if own + rest else 0.0


def _index(plan: Plan, position: Position) -> int:
    """Positions counted in the order in which they are reached."""
    return (position.wave - 1) * plan.last_step + position.step


def _unavailable(
    rollout: Rollout, marks: Mapping[tuple[str, str], observations.Mark], now: datetime
) -> str | None:
    blind = [m for m in marks.values() if m.trouble_since is not None and now - m.trouble_since > BLIND_AFTER]
    if blind:
        return blind[0].trouble
    if not marks and rollout.started_at is not None and now - rollout.started_at > BLIND_AFTER:
        return "no calls have been fetched yet; is `rollout serve` running?"
    return None


def _memories(verdict: Mapping[str, Any] | None) -> dict[str, Memory]:
    from rollout.domain.gates import Memory

    if not verdict:
        return {}
    return {name: Memory(**kept["evidence"]["after"]) for name, kept in verdict.get("arms", {}).items()}


def _unfailed(memory: Memory | None) -> Memory | None:
    """A person resumed after the failure: it is not held against the rollout again by memory alone."""
    return None if memory is None else replace(memory, failed=None)


def _uncounted(memory: Memory | None, external: Mapping[str, float | None]) -> Memory | None:
    """Without the count of the values that come again: `for: 3` means three readings, however often we look."""
    if memory is None or not isinstance(external, Readings):
        return memory
    again = {name: max(0, memory.beyond.get(name, 0) - 1) for name in external.repeated}
    return replace(memory, beyond={**memory.beyond, **again})


def _kept(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": str(verdict.outcome),
        "alarm": verdict.alarm,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
    }


def _together(verdicts: Mapping[str, Verdict]) -> Opinion:
    from rollout.domain.gates import combine

    if len(verdicts) == 1:
        only = next(iter(verdicts.values()))
        return Opinion(str(only.outcome), only.alarm, only.reason)
    outcome = combine(verdicts)
    telling = [(n, v) for n, v in verdicts.items() if v.outcome == outcome]
    alarms = [v.alarm for v in verdicts.values() if v.alarm]
    alarm = "split" if "split" in alarms else next(iter(alarms), None)
    return Opinion(str(outcome), alarm, "; ".join(f"{n}: {v.reason}" for n, v in telling))
