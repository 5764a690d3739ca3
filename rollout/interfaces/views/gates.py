"""The JSON and the sentences of a gate summary."""

from __future__ import annotations

from typing import Any

from rollout.domain.gates.summary import ArmCalls, ArmSummary, ExternalSummary, GateSummary, MetricSummary
from rollout.interfaces.views import value_text


def verdict(found: GateSummary | None) -> dict[str, Any] | None:
    """The verdict on all arms together; None while they have not looked."""
    return None if found is None else {**_said(found), "reason": found.reason}


def _said(found: GateSummary | ArmSummary) -> dict[str, Any]:
    return {"outcome": str(found.outcome), "alarm": None if found.alarm is None else str(found.alarm)}


def arms(found: GateSummary | None) -> list[dict[str, Any]]:
    """One entry per canary or variant, with a row per counted outcome.

    Row: name, outcome, critical, canary {bad, calls, rate}, baseline {...}, difference and its anytime interval
    (points of the bad rate as fractions, level .05 each side), sample {judged, of} where only some calls are judged,
    harm {E, at} and safe {E, at, margin}: the meters towards rollback and towards promotion; `at` is where they decide.
    """
    return [] if found is None else [_arm(a) for a in found.arms]


def _arm(a: ArmSummary) -> dict[str, Any]:
    return {
        "arm": a.name,
        **_said(a),
        "reason": a.reason,
        "profile": a.profile,
        "e_gate": a.rollback.e,
        "roll_back_at": a.rollback.line,
        "e_split": a.split.e,
        "split_alarm_at": a.split.line,
        "e_labels": a.labels.e,
        "labels_alarm_at": a.labels.line,
        "canary_calls": a.canary_calls,
        "floor": a.floor,
        "open": a.open,
        "calls_per_day": a.calls_per_day,
        "unavailable": a.unavailable,
        "metrics": [*map(_metric, a.metrics), *map(_external, a.external)],
    }


def _metric(m: MetricSummary) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": m.name,
        "outcome": m.outcome,
        "critical": m.proof is not None,
        "external": False,
        "canary": _calls(m.canary),
        "baseline": _calls(m.baseline),
        "difference": m.difference,
        "interval": None if m.interval is None else list(m.interval),
        "harm": {"E": m.harm.e, "at": None if m.harm.line == float("inf") else m.harm.line},
    }
    if m.sample is not None:
        row["sample"] = {"judged": m.sample[0], "of": m.sample[1]}
    return row if m.proof is None else {**row, "safe": {"E": m.proof.e, "at": m.proof.line, "margin": m.margin}}


def _calls(arm: ArmCalls) -> dict[str, Any]:
    return {"bad": arm.bad, "calls": arm.calls, "rate": arm.rate}


def _external(m: ExternalSummary) -> dict[str, Any]:
    return {"name": m.name, "critical": False, "external": True, "value": m.value, "max": m.maximum, "min": m.minimum}


def lines(found: GateSummary | None) -> list[str]:
    """A verdict in sentences, one per judged arm and one per metric, for a terminal. Rates are those of good calls."""
    if found is None:
        return []
    several = len(found.arms) > 1
    return [*(line for a in found.judged for line in _lines(a, several=several)), *against_lines(found)]


def against_lines(found: GateSummary) -> list[str]:
    """The best variant's progress towards the proof that it is better than each other one."""
    from rollout.domain.gates.reasons import figure

    return [
        f"{a.leader} has the best rate; better than {a.other} on {a.metric}: {figure(a.proof.e)} of {a.proof.line:g}"
        for a in found.against
    ]


def comparison(found: GateSummary | None) -> list[dict[str, Any]]:
    """One entry for each variant that the one with the best rate is held against; `at` is where it is proven better."""
    return [
        {"leader": a.leader, "other": a.other, "metric": a.metric, "E": a.proof.e, "at": a.proof.line}
        for a in (() if found is None else found.against)
    ]


def _lines(a: ArmSummary, *, several: bool) -> list[str]:
    from rollout.domain.gates.reasons import figure  # lists of rollouts need no arithmetic

    found = [f"{a.name} {a.outcome}: {a.reason}" if several else f"{a.outcome}: {a.reason}"]
    for m in a.metrics:
        text = f"  {m.outcome.replace(':', ' '):<12} {a.name} {good(m.canary)}, baseline {good(m.baseline)}"
        if m.difference is not None:
            text += f", {points(-m.difference)} points"
        if m.interval is not None:
            text += f" [{points(-m.interval[1])} .. {points(-m.interval[0])}]"
        if m.sample is not None:
            text += f"; judged on {m.sample[0]:,} of {m.sample[1]:,} calls"
        if m.harm.line != float("inf"):
            text += f"; harm {figure(m.harm.e)} of {m.harm.line:.0f}"
        if m.proof is not None:
            text += f"; safe {figure(m.proof.e)} of {m.proof.line:.0f}"
        found.append(text)
    return [*found, *(f"  {x.name:<12} {value_text.external(x)}" for x in a.external)]


def good(arm: ArmCalls) -> str:
    """The count and share of an arm's good calls: beside a metric called success, nothing else is clear."""
    rate = "" if arm.rate is None else f" ({100 * (1 - arm.rate):.1f} %)"
    return f"{arm.calls - arm.bad:,} of {arm.calls:,} good{rate}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share + 0.0:+.1f}"
