"""The gate check: from stored calls and the journal to a verdict.

The statistics are in rollout.domain.gates; this file gives them their input and stores their verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from rollout.domain.calls import FetchMark
from rollout.domain.gates.counting import hard_reasons
from rollout.domain.gates.earlier_calls import BEFORE, baseline_history, limits_of
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.observations import Observations, baseline_pairs
from rollout.domain.gates.profiles import EDITION, GateConfig, from_plan
from rollout.domain.gates.shipping import comparison_gate, judge_against, leader
from rollout.domain.gates.verdict import Alarm, Comparison, GateOutcome, GateVerdict, Memory, Verdict, joined
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.gate_tally import tally_of
from rollout.engine.ports import GateRecords, GateReport

BASELINE_CALLS_BEFORE = timedelta(days=7)  # latency thresholds of rollouts that began under edition 1
# Calls of a number that cannot be fetched for this long make the gate unmeasurable, not merely late.
BLIND_AFTER = timedelta(seconds=90)
# A live rollout stores a gate check at least this often, even if nothing has changed.
KEEP_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MetricReadings:
    """Values of external metrics by name; None: unreadable. `repeated`: those that an earlier look had already."""

    values: Mapping[str, float | None] = field(default_factory=dict)
    repeated: frozenset[str] = frozenset()


ReadMetrics = Callable[[Plan], MetricReadings]


@lru_cache(maxsize=256)
def _config(gates: str, edition: int) -> GateConfig:
    return from_plan(json.loads(gates), edition)


def config_of(plan: Plan, edition: int = EDITION) -> GateConfig | None:
    """The gate of a plan, by the rules of this edition; None when it has none."""
    document = plan.gates.model_dump(mode="json", by_alias=True, exclude_none=True)
    if document.get("profile") == "none" and not document.get("metrics"):
        return None
    return _config(json.dumps(document, sort_keys=True), edition)


class GateCheck:
    """Implementation of rollout.engine.ports.GateJudge."""

    def __init__(self, records: GateRecords, read_metrics: ReadMetrics = lambda _plan: MetricReadings()) -> None:
        self.records = records
        self.read_metrics = read_metrics

    def look(self, rollout: Rollout, now: datetime) -> GateReport:
        """Compute the current verdict; store it if it differs from the last stored one, or that one is old."""
        config = config_of(rollout.plan)
        counted = any(step.min_calls for step in rollout.plan.steps)
        if rollout.started_at is None or (config is None and not counted):
            return GateReport()
        seen = self._seen(rollout, now)
        if config is None:
            return GateReport(canary_calls=seen.calls_in_step(rollout))
        history = self._history(config, rollout, seen, now)
        if history is None:
            return GateReport(_history_unread(now, rollout.position), seen.calls_in_step(rollout))
        if history.edition != EDITION:
            config = config_of(rollout.plan, history.edition) or config
        config = replace(config, history=history.rates)
        if history.edition >= 2:
            seen = replace(seen, limits=history.limits)
        judged = self._judge(config, rollout, seen, now)
        verdict = _on_all_arms(judged, now, rollout.position)
        if rollout.shipped is None:
            verdict = replace(verdict, comparison=_comparison(rollout, seen, judged, now))
        elif rollout.verdict is not None:
            # The last verdict on the other variants stays; it no longer decides anything.
            verdict = replace(verdict, arms={**rollout.verdict.arms, **judged}, comparison=rollout.verdict.comparison)
        if _new(rollout, verdict, now):
            self.records.keep_look(rollout, verdict, now)
        return GateReport(verdict, seen.calls_in_step(rollout))

    # -------------------------------------------------------------- what was seen

    def _seen(self, rollout: Rollout, now: datetime) -> Observations:
        stored = self.records.stored_calls(rollout)
        first = rollout.history is not None and rollout.history.edition == 1
        return Observations(
            calls=stored.calls,
            weight_events=stored.weight_events,
            limits=self._limits(rollout) if first else {},
            unavailable=_unavailable(rollout, stored.marks, now),
            fetched=_fetched(rollout, stored.marks),
        )

    def _limits(self, rollout: Rollout) -> dict[str, float]:
        """The limits of a rollout that began under edition 1, which did not store them."""
        config, ours = config_of(rollout.plan, 1), baseline_pairs(rollout.targets)
        before = self.records.calls_before(rollout, BASELINE_CALLS_BEFORE)
        return {} if config is None else limits_of(config, [c for c in before if (c.agent_id, c.agent_version) in ours])

    def _history(
        self, config: GateConfig, rollout: Rollout, seen: Observations, now: datetime
    ) -> BaselineHistory | None:
        """The baseline's usual rates from before, fixed at the first check that can know them; None until then.

        While calls cannot be read, the bets are spread evenly and nothing is fixed: the gate cannot pass then, but it
        may still fail on external values and on calls that webhooks reported. A gate that compares no calls does not
        wait.
        """
        if rollout.history is not None:
            return rollout.history
        if config.compared and not seen.fetched:
            return None if seen.unavailable is None else BaselineHistory()
        before = self.records.calls_before(rollout, BEFORE) if config.compared else ()
        ours, hard = baseline_pairs(rollout.targets), hard_reasons(rollout.plan.gates.hard_error_reasons)
        found = baseline_history(before, frozenset(ours), config, hard)
        return self.records.fix_history(rollout.id, found)

    def _judge(self, config: GateConfig, rollout: Rollout, seen: Observations, now: datetime) -> dict[str, Verdict]:
        from rollout.domain.gates.judge import judge

        plan = rollout.plan
        external = self.read_metrics(plan) if any(m.external for m in config.metrics) else MetricReadings()
        before = {} if rollout.verdict is None else rollout.verdict.arms
        verdicts = {}
        for name in plan.arms:
            if rollout.shipped not in (None, name):
                continue
            tally = replace(tally_of(rollout, config, seen, now, name), external=external.values)
            memory = _without_repeated(before[name].memory if name in before else None, external)
            gate = config if plan.variants is None else replace(config, variant=name)
            verdicts[name] = judge(gate, tally, memory if not rollout.waived else _without_failure(memory))
        return verdicts


def _comparison(
    rollout: Rollout, seen: Observations, judged: Mapping[str, Verdict], now: datetime
) -> Comparison | None:
    """The leading variant compared with each other one, by the calls so far and independent of earlier checks."""
    first = None if rollout.plan.variants is None else leader(judged)
    if first is None:
        return None
    config, over = comparison_gate(judged[first].evidence.config), {}
    for name in judged:
        if name != first:
            by_strata = judged[first].memory.by_strata or judged[name].memory.by_strata
            over[name] = judge_against(config, tally_of(rollout, config, seen, now, first, name), by_strata=by_strata)
    return Comparison(first, over)


def _new(rollout: Rollout, verdict: GateVerdict, now: datetime) -> bool:
    """True if a check differs from the last stored one, or that one is old.

    The sentence and the calls a day do not count, since they change with the clock. After the end only a new answer
    counts.
    """
    old, final = rollout.verdict, rollout.phase.is_final
    if old is None or (old.outcome, old.alarm) != (verdict.outcome, verdict.alarm):
        return True
    if _remembered(old, whole=not final) != _remembered(verdict, whole=not final):
        return True
    return not final and (old.position != verdict.position or old.at is None or now - old.at >= KEEP_EVERY)


def _remembered(verdict: GateVerdict, *, whole: bool) -> dict[str, Any]:
    """The state that the arms hand on to the next check; `whole`: and everything that they rest on."""
    found = {}
    for name, arm in verdict.arms.items():
        evidence = arm.evidence
        rests = (evidence.figures, evidence.tally.external, evidence.tally.unavailable) if whole else ()
        found[name] = (arm.outcome, arm.alarm, evidence.after, *rests)
    return found


def _unavailable(rollout: Rollout, marks: Mapping[tuple[str, str], FetchMark], now: datetime) -> str | None:
    blind = [m for m in marks.values() if m.trouble_since is not None and now - m.trouble_since > BLIND_AFTER]
    if blind:
        return blind[0].trouble
    if not marks and rollout.started_at is not None and now - rollout.started_at > BLIND_AFTER:
        return "no calls have been fetched yet, which `rollout serve` does"
    return None


def _fetched(rollout: Rollout, marks: Mapping[tuple[str, str], FetchMark]) -> bool:
    """True if the calls of the first wave's numbers were fetched since the start, which includes those before it."""
    started = rollout.started_at
    if started is None:
        return False
    first = [t.number for t in rollout.targets if t.wave == 1]
    found = [marks.get((n, str(c))) for n in first for c in rollout.plan.channels]
    return all(m is not None and m.polled_at >= started and m.trouble_since is None for m in found)


def _without_failure(memory: Memory | None) -> Memory | None:
    """The memory without the failure that a person has overridden: only new calls may fail the gate again."""
    return None if memory is None else replace(memory, failed=None)


def _without_repeated(memory: Memory | None, external: MetricReadings) -> Memory | None:
    """The memory without counting repeated values again: `for: 3` means three readings, however often we look."""
    if memory is None:
        return memory
    again = {name: max(0, memory.beyond.get(name, 0) - 1) for name in external.repeated}
    return replace(memory, beyond={**memory.beyond, **again})


def _history_unread(now: datetime, position: Position) -> GateVerdict:
    said = "The baseline's own calls from before the rollout are being read."
    return GateVerdict(GateOutcome.UNDECIDED, None, said, now, position)


def _on_all_arms(verdicts: Mapping[str, Verdict], now: datetime, position: Position) -> GateVerdict:
    from rollout.domain.gates.judge import combine

    outcome = combine(verdicts)
    said = joined(verdicts, outcome, {name: v.reason for name, v in verdicts.items()})
    alarms = [v.alarm for v in verdicts.values() if v.alarm is not None]
    alarm = next((a for a in (Alarm.SPLIT, Alarm.LABELS) if a in alarms), next(iter(alarms), None))
    return GateVerdict(outcome, alarm, said, now, position, verdicts)
