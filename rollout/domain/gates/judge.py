"""The verdict on a rollout: pass, fail, undecided or unmeasurable, from counts and nothing else.

`judge` is the one place where a gate is decided; `rule` in weighing.py holds the table of its thresholds. A
verdict carries all it rests on and can be computed again, on any machine, by `rejudge`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from rollout.domain.gates import evidence as ev
from rollout.domain.gates import reasons
from rollout.domain.gates.forecast_wording import words
from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.tally import Tally
from rollout.domain.gates.verdict import Alarm, GateEvidence, GateOutcome, Memory, Verdict
from rollout.domain.gates.weighing import AMBER, FAIL, LABELS, PASS, SPLIT, MetricFigures, rule


def judge(config: GateConfig, tally: Tally, memory: Memory | None = None) -> Verdict:
    """The verdict at one look. Pure: the same arguments give the same verdict, digit for digit."""
    before = memory or Memory()
    numbers = MetricFigures(config, tally, by_strata=before.by_strata)
    beyond = _beyond(config, tally, before)
    outcome, alarm, reason, forecast = _decide(config, tally, numbers, beyond, before)
    failed = reason if outcome is GateOutcome.FAIL else None
    after = Memory(before.failed or failed, beyond, numbers.by_strata)
    kept = tally if numbers.by_strata else tally.without_strata()
    evidence = GateEvidence(config, before, after, numbers.figures(), kept)
    return Verdict(outcome, alarm, reason, evidence, forecast)


def rejudge(evidence: GateEvidence) -> Verdict:
    """A stored verdict's evidence, judged again. The result equals what was stored."""
    return judge(evidence.config, evidence.tally, evidence.before)


def combine(verdicts: Mapping[str, Verdict]) -> GateOutcome:
    """One outcome for several variants: any fail fails; all must pass. Each is judged against the baseline alone, with
    the whole alpha: its cells carry its share among the calls of the two."""
    found = {v.outcome for v in verdicts.values()}
    order = (GateOutcome.FAIL, GateOutcome.UNMEASURABLE, GateOutcome.UNDECIDED)
    return next((o for o in order if o in found), GateOutcome.PASS)


def _beyond(config: GateConfig, tally: Tally, before: Memory) -> dict[str, int]:
    """The number of checks in a row that found each external value beyond its limit; an unread value changes nothing."""
    out = {}
    for m in config.metrics:
        if m.external:
            value, count = tally.external.get(m.name), before.beyond.get(m.name, 0)
            if value is not None and math.isfinite(value):
                over = m.maximum is not None and value > m.maximum
                under = m.minimum is not None and value < m.minimum
                count = count + 1 if over or under else 0
            out[m.name] = count
    return out


class _Decision(NamedTuple):
    outcome: GateOutcome
    alarm: Alarm | None
    reason: str
    forecast: str = ""


def _decide(  # noqa: C901 - a decision table, read from top to bottom: the first row that fits decides
    config: GateConfig, tally: Tally, n: MetricFigures, beyond: Mapping[str, int], before: Memory
) -> _Decision:
    if not config.metrics:
        return _Decision(GateOutcome.PASS, None, "This plan has no gates.")
    if before.failed:
        return _Decision(GateOutcome.FAIL, None, before.failed)
    for m in config.metrics:
        if m.external and beyond[m.name] >= m.looks:
            return _Decision(GateOutcome.FAIL, None, reasons.external(m, tally.external.get(m.name), beyond[m.name]))
    safe = min(n.safe.values(), default=ev.LARGEST)
    code = int(
        rule(
            config,
            e_gate=n.e_gate,
            bad=n.bad,
            e_split=max(n.e_split.values()),
            safe=safe,
            enough=n.in_step >= n.floor,
            e_labels=max(n.e_labels.values(), default=1.0),
        )
    )
    if code == FAIL:
        return _Decision(GateOutcome.FAIL, None, reasons.harm(config, n))
    watch = n.e_watch >= config.watch_alarm
    if watch and config.watch_acts and (config.edition == 1 or (tally.last and tally.weight >= 1.0)):
        return _Decision(GateOutcome.FAIL, Alarm.WATCH, reasons.watch(config, n))
    if tally.unavailable:
        return _Decision(GateOutcome.UNMEASURABLE, None, f"The gate cannot read the calls: {tally.unavailable}.")
    if code == SPLIT:
        return _Decision(GateOutcome.UNDECIDED, Alarm.SPLIT, reasons.split(config, n, tally.strata))
    if code == LABELS:
        return _Decision(GateOutcome.UNDECIDED, Alarm.LABELS, reasons.labels(config, n))
    if blind := _unmeasured(config, tally, n):
        return _Decision(GateOutcome.UNMEASURABLE, None, blind)
    if watch:
        return _Decision(GateOutcome.UNDECIDED, Alarm.WATCH, reasons.watch(config, n))
    if code == AMBER:
        return _Decision(GateOutcome.UNDECIDED, Alarm.AMBER, reasons.amber(config, n))
    if any(beyond.values()):
        name = next(name for name, count in beyond.items() if count)
        return _Decision(GateOutcome.UNDECIDED, None, f"{name} is outside its limit; the gate fails if it stays there.")
    if tally.weight >= 1.0:
        return _Decision(GateOutcome.PASS, None, reasons.at_full_weight(config, n))
    if code == PASS:
        return _Decision(GateOutcome.PASS, None, reasons.passed(config, n))
    forecast = words(reasons.still_needed(config, tally, n.figures()), tally.calls_per_day)
    return _Decision(GateOutcome.UNDECIDED, None, reasons.wait(config, n), forecast)


def _unmeasured(config: GateConfig, tally: Tally, n: MetricFigures) -> str | None:
    """The reason that this gate cannot be measured at all, if so: such a gate never passes."""
    for m in config.metrics:
        value = tally.external.get(m.name) if m.external else 0.0
        if value is None or not math.isfinite(value):
            return f"{m.name} could not be read; the rollout waits until it can."
    if tally.weight >= 1.0 and config.critical and not any(sum(m) for m in n.measured.values()):
        return reasons.NEVER_COMPARED
    closed = [sum(c.closed[arm] for c in n.compared) for arm in (0, 1)]
    for m in config.critical:
        for s in m.series:
            for arm, who in enumerate((config.who, "the baseline")):
                if closed[arm] >= n.floor and not n.measured[s][arm]:
                    return reasons.unmeasured(m, who, closed[arm])
    return None
