"""The sentences of a verdict, for people at night: what happened, on which counts, what is still missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rollout.domain.gates import forecast, forecast_wording
from rollout.domain.gates.metrics import MetricRule, sample, told
from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.tally import Cell, Stratum, Tally
from rollout.domain.gates.weighing import strata_e

Counts = Sequence[int]
NEVER_COMPARED = (
    "All calls go to the canary and the gate never saw the two versions side by side; "
    "give the plan a step below weight 1, or write profile: none."
)


def figure(e: float) -> str:
    """An e-value with as many digits as it deserves."""
    return f"{e:.2g}" if e < 10 else f"{e:,.0f}" if e < 1e6 else "over a million"


def harm(
    config: GateConfig,
    e_gate: float,
    by_metric: Mapping[str, float],
    counts: Mapping[str, Counts],
    cells: Sequence[Cell],
) -> str:
    """Worse beyond doubt: the numbers of the metric that says so most clearly."""
    worst = max(config.compared, key=lambda m: m.share * by_metric[m.name])
    series = max(worst.series, key=lambda s: counts[s][0])
    fc, sc, fb, sb = counts[series]
    return (
        f"The canary is worse: {fc} of its {fc + sc} calls were {told(worst, series)}, against {fb} of "
        f"{fb + sb} of the baseline's (evidence of harm {figure(e_gate)}, roll back at {1 / config.alpha:g})."
        + _sample(worst, cells)
    )


def external(metric: MetricRule, value: float | None, looks: int) -> str:
    """An external metric was beyond its limit for too long."""
    limit = f"above {metric.maximum:g}" if metric.maximum is not None else f"below {metric.minimum:g}"
    if metric.maximum is not None and metric.minimum is not None:
        limit = f"outside {metric.minimum:g} to {metric.maximum:g}"
    shown = "not readable now" if value is None else f"{value:g}"
    return f"{metric.name} was {limit} on {looks} looks in a row (now {shown})."


def watch(config: GateConfig, e_watch: float) -> str:
    """Fewer calls go well than the record allows, with no baseline beside the canary."""
    return (
        f"Since all calls go to the canary, fewer of them go well than the baseline's record allows (evidence "
        f"{figure(e_watch)}, told at {config.watch_alarm:g}). Nothing is beside it to compare with, so this may be an "
        "incident elsewhere."
    )


def split(
    config: GateConfig,
    e_split: Mapping[str, float],
    cells: Sequence[Cell],
    weights: Sequence[float],
    strata: Sequence[Stratum],
) -> str:
    """Calls, or their results, do not come in the proportion of the weights."""
    what = max(e_split, key=lambda k: e_split[k])
    if what not in ("calls", "strata") and e_split["calls"] < e_split[what]:
        return (
            f"The results for {what} do not come from both versions in the proportion of their calls "
            f"(evidence {figure(e_split[what])}): those of one version are being lost, which misleads the gate."
        )
    where, canary, total = "", sum(c.started[0] for c in cells), sum(sum(c.started) for c in cells)
    numbers = bool(strata) and strata[0][0].startswith("+")
    if what == "strata" or (numbers and e_split.get("strata", 0.0) >= config.strata_from):
        name, canary, total = _worst_split(strata, weights)
        where = f" {'on' if name.startswith('+') else 'between'} {name}{'' if name.startswith('+') else ' UTC'}"
    ordered = ", ".join(f"{100 * w:g} %" for w in weights)
    return (
        f"The calls{where} do not follow the weights: {canary} of {total} went to the canary where {ordered} was "
        f"ordered (evidence {figure(e_split[what])}). Look for an inbound webhook that overrides the split, "
        "a moved tag, or canary calls that die before they are recorded."
    )


def _worst_split(strata: Sequence[Stratum], weights: Sequence[float]) -> tuple[str, int, int]:
    """(name, canary calls, calls) of the stratum that follows the weights least."""
    name, by_weight = max(strata, key=lambda s: strata_e((s,), weights))
    return name, sum(c for _, c, _ in by_weight), sum(c + b for _, c, b in by_weight)


def labels(config: GateConfig, e_labels: Mapping[str, float], cells: Sequence[Cell]) -> str:
    """Results go missing on one side more than on the other."""
    what = max(e_labels, key=lambda k: e_labels[k])
    lost = [sum(c.lost.get(what, (0, 0))[arm] for c in cells) for arm in (0, 1)]
    judged = [sum(sum(c.counts[what][2 * arm : 2 * arm + 2]) for c in cells) for arm in (0, 1)]
    name = next(m.name for m in config.critical if what in m.series)
    return (
        f"Results for {name} go missing on one side: {lost[0]} of {lost[0] + judged[0]} finished canary calls never "
        f"got one, against {lost[1]} of {lost[1] + judged[1]} of the baseline's (evidence {figure(e_labels[what])}, "
        f"told at {config.labels_alarm:g}). What is missing may be what went wrong, so nothing passes; look at the "
        "call analysis of the canary's agent."
    )


def amber(config: GateConfig, e_gate: float, by_metric: Mapping[str, float]) -> str:
    """Probably worse: the weight is held."""
    worst = max(config.compared, key=lambda m: m.share * by_metric[m.name])
    return (
        f"The canary looks worse in {worst.name}, not yet surely: evidence of harm {figure(e_gate)}, held "
        f"from {config.amber:g}, rolled back at {1 / config.alpha:g}."
    )


def unmeasured(metric: MetricRule, who: str, calls: int) -> str:
    """A metric of which finished calls carry nothing."""
    what = f"custom field {metric.custom!r}" if metric.custom else metric.name
    return (
        f"{metric.name} cannot be measured: none of {calls} finished calls of the {who} carries {what}. "
        "Check its name and that call analysis is on; without it this gate never passes."
    )


def passed(
    config: GateConfig,
    margins: Mapping[str, float],
    safe: Mapping[str, float],
    calls: int,
    measured: Mapping[str, Sequence[int]],
    cells: Sequence[Cell],
) -> str:
    """Proven not to be worse: the numbers of the proof."""
    blind = _blind(config, measured) + "".join(_sample(m, cells) for m in config.compared)
    if not margins:
        return (
            f"Nothing speaks against the canary after {calls} calls; every outside value is within its limit." + blind
        )
    proven = " and ".join(f"{100 * d:g} points in {name}" for name, d in margins.items())
    least = figure(min(safe.values()))
    return (
        f"The canary is proven less than {proven} worse, after {calls} calls of this step "
        f"(evidence {least}, {1 / config.beta:g} needed).{blind}"
    )


def at_full_weight(config: GateConfig, measured: Mapping[str, Sequence[int]]) -> str:
    """Nothing is left to compare with, and the watch is quiet."""
    return "All calls go to the canary and nothing speaks against it." + _blind(config, measured)


def _blind(config: GateConfig, measured: Mapping[str, Sequence[int]]) -> str:
    """The metrics that said nothing because one of the versions, or both, had no data for them."""
    if config.edition == 1:
        return ""
    found = []
    for m in config.compared:
        missing = {arm for s in m.series for arm, n in zip(("canary", "baseline"), measured[s], strict=True) if not n}
        if missing:
            who = "either version" if len(missing) == 2 else f"the {next(iter(missing))}"
            found.append(f"{m.name} (no data from {who})")
    return f" Not judged: {', '.join(found)}." if found else ""


def _sample(metric: MetricRule, cells: Sequence[Cell]) -> str:
    """Say that a metric is judged on a sample, if it is."""
    judged, ended = sample(metric, ((c.counts, c.lost) for c in cells))
    return f" {metric.name} is judged on a sample: {judged:,} of {ended:,} calls." if 0 < judged < ended else ""


def wait(
    config: GateConfig,
    tally: Tally,
    safe: Mapping[str, float],
    counts: Mapping[str, Counts],
    margins: Mapping[str, float],
    calls: int,
    floor: int,
) -> str:
    """The missing evidence: first of all how many calls, and what they are to show."""
    needed = 1 / config.beta
    open_metrics = [m for m in config.critical if safe[m.name] < needed]
    expected = still_needed(config, tally, safe, counts, margins, calls, floor)
    when = forecast_wording.words(expected, tally.calls_per_day)
    when = when[:1].upper() + when[1:]
    if not open_metrics:
        return f"{when}: {calls} of {floor} canary calls of this step are judged."
    m = min(open_metrics, key=lambda m: safe[m.name])
    return (
        f"{when}: it is not shown yet that the canary is less than {100 * margins[m.name]:g} points worse in {m.name} "
        f"(evidence {figure(safe[m.name])} of {needed:g})."
    )


def still_needed(
    config: GateConfig,
    tally: Tally,
    safe: Mapping[str, float],
    counts: Mapping[str, Counts],
    margins: Mapping[str, float],
    calls: int,
    floor: int,
) -> forecast_wording.Forecast | None:
    """The longest of what the step still waits for: its floor of calls, and each critical metric's proof."""
    w = tally.weight
    if not 0.0 < w < 1.0:
        return None
    missing = max(0, floor - calls) / w
    parts: list[forecast_wording.Forecast | None] = [forecast_wording.Forecast(missing, "calls")]
    for m in config.critical:
        if safe[m.name] < 1 / config.beta:
            for s in m.series:
                ln_e = math.log(max(safe[m.name], 1e-300))
                parts.append(forecast.to_promote(w, margins[m.name], counts[s], config.beta, ln_e, m.name))
    known = [p for p in parts if p is not None]
    return max(known, key=lambda p: p.half) if len(known) == len(parts) else None
