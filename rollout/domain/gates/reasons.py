"""The sentences of a verdict: what is known, from which counts, and what is still missing.

Each names the version that is judged, so that those of several variants can stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rollout.domain.gates import forecast
from rollout.domain.gates.forecast_wording import Forecast
from rollout.domain.gates.metrics import MetricRule, bad_calls_text, sample
from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.tally import Cell, Stratum, Tally, totals
from rollout.domain.gates.verdict import Figures
from rollout.domain.gates.weighing import MetricFigures, strata_e

Counts = Sequence[int]
NEVER_COMPARED = (
    "No calls go to the baseline, so there is nothing to compare with; add a step below weight 1, "
    "or write profile: none."
)


def figure(e: float) -> str:
    """An e-value, rounded to the digits that matter."""
    return f"{e:.2g}" if e < 10 else f"{e:,.0f}" if e < 1e6 else "over a million"


def _first(words: str) -> str:
    return words[0].upper() + words[1:]


def harm(config: GateConfig, n: MetricFigures) -> str:
    """The canary is worse: the counts of the metric with the strongest evidence."""
    worst = _worst(config, n)
    series = max(worst.series, key=lambda s: n.counts[s][0])
    fc, sc, fb, sb = n.counts[series]
    return (
        f"{_first(config.who)} is worse: {fc} of its {fc + sc} calls were {bad_calls_text(worst, series)}, "
        f"compared with {fb} of the baseline's {fb + sb} "
        f"(evidence of harm {figure(n.e_gate)}; the limit is {1 / config.alpha:g})." + _sample(worst, n.compared)
    )


def _worst(config: GateConfig, n: MetricFigures) -> MetricRule:
    """The metric with the strongest evidence of harm."""
    return max(config.compared, key=lambda m: m.share * n.harm[m.name])


def external(metric: MetricRule, value: float | None, looks: int) -> str:
    """An external metric was outside its limit on too many looks in a row, this one included: it has a value now."""
    limit = f"above {metric.maximum:g}" if metric.maximum is not None else f"below {metric.minimum:g}"
    if metric.maximum is not None and metric.minimum is not None:
        limit = f"outside {metric.minimum:g} to {metric.maximum:g}"
    times = "" if looks == 1 else f" on {looks} looks in a row"
    return f"{metric.name} was {limit}{times} (now {value:g})."


def watch(config: GateConfig, n: MetricFigures) -> str:
    """Fewer calls go well than the baseline's record predicts, at a weight that leaves no baseline to compare with."""
    return (
        f"Since no calls go to the baseline any more, fewer calls of {config.who} go well than the baseline's record "
        f"predicts (evidence {figure(n.e_watch)}; the alarm is at {config.watch_alarm:g}). The cause may also lie outside "
        f"{config.who}."
    )


def split(config: GateConfig, n: MetricFigures, strata: Sequence[Stratum]) -> str:
    """Calls do not follow the weights, or the results of one version are being lost."""
    e_split = n.e_split
    what = max(e_split, key=lambda k: e_split[k])  # of equals the first: "calls"
    if what not in ("calls", "strata"):
        return (
            f"Results for {what} are being lost unequally between {config.who} and the baseline "
            f"(evidence {figure(e_split[what])}), so the gate cannot compare them."
        )
    where, canary, total = "", sum(c.started[0] for c in n.compared), sum(sum(c.started) for c in n.compared)
    numbers = bool(strata) and strata[0][0].startswith("+")
    if what == "strata" or (numbers and e_split.get("strata", 0.0) >= config.strata_from):
        name, canary, total = _worst_split(strata, n.weights)
        where = f" {'on' if name.startswith('+') else 'between'} {name}{'' if name.startswith('+') else ' UTC'}"
    ordered = ", ".join(f"{100 * w:g} %" for w in n.weights)
    return (
        f"The calls{where} do not follow the weights: {canary} of {total} went to {config.who}, {ordered} were expected "
        f"(evidence {figure(e_split[what])}). Look for an inbound webhook that overrides the split, "
        "a moved tag, or calls that fail before they are recorded."
    )


def _worst_split(strata: Sequence[Stratum], weights: Sequence[float]) -> tuple[str, int, int]:
    """(name, canary calls, calls) of the stratum that follows the weights least."""
    name, by_weight = max(strata, key=lambda s: strata_e((s,), weights))
    return name, sum(c for _, c, _ in by_weight), sum(c + b for _, c, b in by_weight)


def labels(config: GateConfig, n: MetricFigures) -> str:
    """More results are missing for one version than for the other."""
    what = max(n.e_labels, key=lambda k: n.e_labels[k])
    lost = [sum(c.lost.get(what, (0, 0))[arm] for c in n.compared) for arm in (0, 1)]
    judged = n.measured[what]
    name = next(m.name for m in config.critical if what in m.series)
    return (
        f"Results for {name} are missing more often for one version: {lost[0]} of {lost[0] + judged[0]} finished "
        f"calls of {config.who} have none, and {lost[1]} of {lost[1] + judged[1]} of the baseline's (evidence "
        f"{figure(n.e_labels[what])}; the alarm is at {config.labels_alarm:g}). The missing calls may be the bad ones, so "
        f"the gate does not pass. Check the call analysis of {config.who}'s agent."
    )


def amber(config: GateConfig, n: MetricFigures) -> str:
    """The canary is probably worse: the weight stays where it is."""
    return (
        f"{_first(config.who)} looks worse in {_worst(config, n).name}, but this may still be chance: evidence of harm "
        f"{figure(n.e_gate)}; from {config.amber:g} on the step waits, and at {1 / config.alpha:g} the gate fails."
    )


def unmeasured(metric: MetricRule, who: str, calls: int) -> str:
    """A metric for which no finished call has a value."""
    what = f"custom field {metric.custom!r}" if metric.custom else metric.name
    return (
        f"{metric.name} cannot be measured: none of {who}'s {calls} finished calls has {what}. "
        "Check the name, and that call analysis is on; until then this gate cannot pass."
    )


def passed(config: GateConfig, n: MetricFigures) -> str:
    """The canary is not worse: the counts that show it."""
    blind = _blind(config, n) + "".join(_sample(m, n.compared) for m in config.compared)
    if not n.margins:
        return (
            f"Nothing suggests that {config.who} is worse after {n.in_step} calls; every external metric is within its "
            f"limit.{blind}"
        )
    proven = " and ".join(f"{100 * d:g} points worse in {name}" for name, d in n.margins.items())
    least = figure(min(n.safe.values()))
    return (
        f"{_first(config.who)} is less than {proven}, as {n.in_step} calls of this step show "
        f"(evidence {least}, {1 / config.beta:g} needed).{blind}"
    )


def at_full_weight(config: GateConfig, n: MetricFigures) -> str:
    """No calls go to the baseline, and the watch has raised no alarm."""
    return f"No calls go to the baseline, and nothing suggests that {config.who} is worse." + _blind(config, n)


def _blind(config: GateConfig, n: MetricFigures) -> str:
    """The metrics that were not judged because one version, or both, had no data for them."""
    if config.edition == 1:
        return ""
    found = []
    for m in config.compared:
        both = config.who, "the baseline"
        missing = {who for s in m.series for who, k in zip(both, n.measured[s], strict=True) if not k}
        if missing:
            found.append(f"{m.name} (no data from {'either version' if len(missing) == 2 else missing.pop()})")
    return f" Not judged: {', '.join(found)}." if found else ""


def _sample(metric: MetricRule, cells: Sequence[Cell]) -> str:
    """A note on a metric that is judged on a sample; empty for the others."""
    judged, ended = sample(metric, ((c.counts, c.lost) for c in cells))
    return f" {metric.name} is judged on a sample: {judged:,} of {ended:,} calls." if 0 < judged < ended else ""


def wait(config: GateConfig, n: MetricFigures) -> str:
    """The missing evidence: the rates so far, and what is not ruled out yet."""
    open_metrics = _unproven(config, n.safe)
    if not open_metrics:
        return f"This step needs {n.floor} judged calls of {config.who}; {n.in_step} so far."
    m = min(open_metrics, key=lambda m: n.safe[m.name])
    change = "drop" if m.name == "success" else f"rise in {m.name}"
    of = f" of {config.who}" if config.variant else ""
    rates = _rates(config.who, m, n.in_wave)
    return f"{rates}Not enough calls yet to rule out a {100 * n.margins[m.name]:g}-point {change}{of}."


def _unproven(config: GateConfig, safe: Mapping[str, float]) -> list[MetricRule]:
    """The critical metrics that are not yet shown to be safe."""
    return [m for m in config.critical if safe[m.name] < 1 / config.beta]


def _rates(who: str, metric: MetricRule, counts: Mapping[str, Counts]) -> str:
    """Both versions' rates so far; empty while one of them has no judged call."""
    series = max(metric.series, key=lambda s: counts[s][0])
    fc, sc, fb, sb = counts[series]
    if not (fc + sc and fb + sb):
        return ""
    if metric.name == "success":
        fc, sc, fb, sb = sc, fc, sb, fb
    were = "successful" if metric.name == "success" else bad_calls_text(metric, series)
    canary, baseline = (f"{100 * n / total:.0f} %" for n, total in ((fc, fc + sc), (fb, fb + sb)))
    return f"{canary} of {who}'s {fc + sc} calls were {were}, {baseline} of the baseline's {fb + sb}. "


def still_needed(config: GateConfig, tally: Tally, f: Figures) -> Forecast | None:
    """The longest wait of the step: for its minimum of calls, or for the proof of a critical metric."""
    weight = tally.weight
    if not 0.0 < weight < 1.0:
        return None
    own = config.edition >= 2  # since then a wave proves itself on its own calls
    cells = [c for c in tally.compared if not own or c.wave == tally.wave]
    parts: list[Forecast | None] = [Forecast(max(0, f.floor - f.canary_calls) / weight, "calls")]
    for m in _unproven(config, f.safe):
        ln_e = math.log(max(f.safe[m.name], 1e-300))
        parts += [
            forecast.to_promote(weight, f.margins[m.name], totals(cells, s), config.beta, ln_e, m.name)
            for s in m.series
        ]
    known = [p for p in parts if p is not None]
    return max(known, key=lambda p: p.half) if len(known) == len(parts) else None
