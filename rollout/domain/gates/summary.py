"""The summary of the gates, as JSON-able values and as sentences: counts, intervals, meters, forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.domain.gates.forecast_wording import without
from rollout.domain.gates.metrics import MetricRule, sample
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout


def arms(verdict: Mapping[str, Any] | None, *, intervals: bool = True) -> list[dict[str, Any]]:
    """One entry per canary or variant of a stored verdict, with a row per metric.

    Row: name, critical, canary {bad, calls, rate}, baseline {...}, difference and its anytime interval
    (points of the bad rate as fractions, level .05 each side), sample {judged, of} where only some calls are judged,
    harm {E, at} and safe {E, at, margin}: the meters towards rollback and towards promotion; `at` is where they decide.
    """
    if not verdict:
        return []
    return [_arm(name, kept, intervals) for name, kept in verdict.get("arms", {}).items()]


def _arm(name: str, kept: Mapping[str, Any], intervals: bool) -> dict[str, Any]:
    evidence = kept["evidence"]
    numbers, config = evidence["numbers"], evidence["config"]
    rows = [_row(metric, evidence, intervals) for metric in config["metrics"]]
    return {
        "arm": name,
        "outcome": kept["outcome"],
        "alarm": kept["alarm"],
        "reason": kept["reason"],
        "profile": config["profile"],
        "e_gate": numbers["e_gate"],
        "roll_back_at": 1 / config["alpha"],
        "e_split": max(numbers["e_split"].values(), default=1.0),
        "split_alarm_at": config["split_alarm"],
        "e_labels": max(numbers.get("e_labels", {}).values(), default=1.0),
        "labels_alarm_at": config.get("labels_alarm", 100.0),
        "canary_calls": numbers["canary_calls"],
        "floor": numbers["floor"],
        "calls_per_day": evidence["tally"]["calls_per_day"],
        "unavailable": evidence["tally"]["unavailable"],
        "metrics": rows,
    }


def _row(metric: Mapping[str, Any], evidence: Mapping[str, Any], intervals: bool) -> dict[str, Any]:
    numbers, config = evidence["numbers"], evidence["config"]
    name = metric["name"]
    row: dict[str, Any] = {"name": name, "critical": bool(metric["margins"]), "external": metric["external"]}
    if metric["external"]:
        row |= {"value": evidence["tally"]["external"].get(name), "max": metric["maximum"], "min": metric["minimum"]}
        return row
    rule = MetricRule.from_json(metric)
    series = rule.series[-1]
    fc, sc, fb, sb = numbers["counts"].get(series, (0, 0, 0, 0))
    row["canary"] = {"bad": fc, "calls": fc + sc, "rate": _rate(fc, sc)}
    row["baseline"] = {"bad": fb, "calls": fb + sb, "rate": _rate(fb, sb)}
    if row["canary"]["rate"] is not None and row["baseline"]["rate"] is not None:
        row["difference"] = row["canary"]["rate"] - row["baseline"]["rate"]
    if intervals:
        row["interval"] = _interval(evidence["tally"]["cells"], series)
    judged, ended = sample(rule, ((c["counts"], c.get("lost", {})) for c in evidence["tally"]["cells"]))
    if judged < ended:
        row["sample"] = {"judged": judged, "of": ended}
    share = metric["share"] or 0.0
    row["harm"] = {"E": numbers["harm"].get(name, 1.0), "at": 1 / config["alpha"] / share if share else None}
    if name in numbers["safe"]:
        row["safe"] = {"E": numbers["safe"][name], "at": 1 / config["beta"], "margin": numbers["margins"][name]}
    return row


def _interval(cells: list[Mapping[str, Any]], series: str) -> list[float] | None:
    from rollout.domain.gates import evidence as ev

    counted = [(c["weight"], c["counts"][series]) for c in cells if 0.0 < c["weight"] < 1.0]
    weights, ledgers = ev.pool(counted)
    if not len(ledgers):
        return None
    low, high = ev.shown_interval(ledgers[0], weights)
    return [low, high]


def _rate(bad: int, fine: int) -> float | None:
    return bad / (bad + fine) if bad + fine else None


def current(r: Rollout) -> Mapping[str, Any] | None:
    """The newest verdict; without forecasts unless the rollout goes on and its calls decide what comes next."""
    if r.verdict is None or forecasts(r):
        return r.verdict
    arms_ = {n: {**kept, "reason": without(kept["reason"])} for n, kept in r.verdict.get("arms", {}).items()}
    return {**r.verdict, "reason": without(r.verdict["reason"]), "arms": arms_}


def forecasts(r: Rollout) -> bool:
    """True if more calls lead to a verdict: not after a rollback or an end, and not while it is held."""
    return r.phase in (Phase.PROGRESSING, Phase.PAUSED)


def lines(arms_: Sequence[Mapping[str, Any]]) -> list[str]:
    """The entries of `arms` in sentences, one per arm and one per metric. Rates are those of good calls."""
    found: list[str] = []
    for arm in arms_:
        found.append(f"{arm['outcome']}: {arm['reason']}")
        for row in arm["metrics"]:
            if row["external"]:
                value = "not read" if row["value"] is None else f"{row['value']:g}"
                found.append(f"  {row['name']:<12} {value} (max {row['max']}, min {row['min']})")
                continue
            text = f"  {row['name']:<12} canary {good(row['canary'])}, baseline {good(row['baseline'])}"
            if row.get("difference") is not None:
                text += f", {points(-row['difference'])} points"
            if row.get("interval"):
                low, high = row["interval"]
                text += f" [{points(-high)} .. {points(-low)}]"
            if "sample" in row:
                text += f"; judged on {row['sample']['judged']:,} of {row['sample']['of']:,} calls"
            if row["harm"]["at"]:
                text += f"; harm {_e(row['harm']['E'])} of {row['harm']['at']:.0f}"
            if "safe" in row:
                text += f"; safe {_e(row['safe']['E'])} of {row['safe']['at']:.0f}"
            found.append(text)
    return found


def good(arm: Mapping[str, Any]) -> str:
    """How many calls of an arm were good, and their share: beside a metric called success, nothing else is clear."""
    rate = "" if arm["rate"] is None else f" ({100 * (1 - arm['rate']):.1f} %)"
    return f"{arm['calls'] - arm['bad']:,} of {arm['calls']:,} good{rate}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share + 0.0:+.1f}"


def _e(value: float) -> str:
    return f"{value:.2g}" if value < 1000 else "over 1000"


def replay(looks: Sequence[Mapping[str, Any]], other: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every stored look judged again: {"looks", "same", "different": [...], "other": ...}.

    `other` is a `gates:` entry: what that gate would have said on the same calls, and how many calls sooner or
    later it would have reached its first decision.
    """
    from rollout.domain.gates.profiles import GateConfig, from_plan
    from rollout.domain.gates.verdict import Memory, judge, rejudge
    from rollout.domain.gates.weighing import Tally

    different: list[dict[str, Any]] = []
    first: dict[str, tuple[int, str]] = {}
    first_other: dict[str, tuple[int, str]] = {}
    memories: dict[str, Memory] = {}
    config = None if other is None else from_plan(other)
    for look in looks:
        for arm, kept in look["evidence"]["arms"].items():
            again = rejudge(kept["evidence"])
            if str(again.outcome) != kept["outcome"] or again.evidence["numbers"] != kept["evidence"]["numbers"]:
                different.append({"seq": look["seq"], "arm": arm, "stored": kept["outcome"], "now": str(again.outcome)})
            calls = _calls(kept["evidence"]["tally"])
            if kept["outcome"] in ("pass", "fail"):
                first.setdefault(arm, (calls, kept["outcome"]))
            if config is not None:
                tally = Tally.from_json(kept["evidence"]["tally"])
                verdict = judge(
                    _measured_by(config, GateConfig.from_json(kept["evidence"]["config"])), tally, memories.get(arm)
                )
                memories[arm] = verdict.memory
                if str(verdict.outcome) in ("pass", "fail"):
                    first_other.setdefault(arm, (calls, str(verdict.outcome)))
    report: dict[str, Any] = {"looks": len(looks), "same": not different, "different": different}
    report["decided"] = {arm: {"calls": n, "outcome": o} for arm, (n, o) in first.items()}
    if config is not None:
        report["other"] = {
            arm: {
                "outcome": first_other.get(arm, (0, "undecided"))[1],
                "calls": first_other[arm][0] if arm in first_other else None,
                "sooner_by": first[arm][0] - first_other[arm][0] if arm in first and arm in first_other else None,
            }
            for arm in {*first, *first_other} or {"canary"}
        }
    return report


def _measured_by(config: Any, stored: Any) -> Any:
    """The other gate, as far as the stored counts can feed it."""
    from dataclasses import replace

    known = set(stored.series) | {m.name for m in stored.metrics if m.external}
    kept = tuple(m for m in config.metrics if m.external or set(m.series) <= known)
    return replace(config, metrics=kept, history=stored.history)


def _calls(tally: Mapping[str, Any]) -> int:
    return sum(sum(c["started"]) for c in tally["cells"])
