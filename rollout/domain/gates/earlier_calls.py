"""The baseline's usual rates and limits, read from its own calls before a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rollout.domain.calls import CallRecord
from rollout.domain.gates.counting import CallRules, outcomes, quantile_of
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.profiles import GateConfig, usual_margin

BEFORE = timedelta(days=30)
LEAST_CALLS = 100  # judged calls of the baseline, below which its rate is not known


def margin_warnings(config: GateConfig, history: BaselineHistory) -> list[str]:
    """Warnings where a metric's last margin is too wide for the baseline's own rate, with the margin to use."""
    found = []
    for metric in config.critical:
        for series in metric.series:
            rate = history.rates.get(series)
            if rate is None:
                continue
            widest, last = usual_margin(rate, config.profile), min(metric.margins)
            if last > widest + 1e-9:
                first = [f"{m:g}" for m in metric.margins[:-1]]
                usual, accepted = f"{100 * (1 - rate):.3g} %", f"{100 * (1 - rate - last):.3g} %"
                found.append(
                    f"{metric.name}: the last margin is {100 * last:g} points, but {usual} of the baseline's last "
                    f"{history.calls:,} calls were good, so a canary with only {accepted} could be promoted; "
                    f"write margins: [{', '.join([*first, f'{widest:g}'])}]"
                )
                break
    return found


def baseline_history(
    calls: Sequence[CallRecord], baseline: frozenset[tuple[str, int]], config: GateConfig, hard_reasons: frozenset[str]
) -> BaselineHistory:
    """The rates of these calls, as far as the baseline's versions served them and they have a result."""
    ours = [c for c in calls if (c.agent_id, c.agent_version) in baseline]
    limits = limits_of(config, ours)
    rules = CallRules(("", -1), baseline, config.metrics, limits, hard_reasons)
    told = [outcomes(c, rules) for c in ours]
    rates = {}
    for series in config.series:
        known = [found[series] for found in told if found[series] is not None]
        if len(known) >= LEAST_CALLS:
            rates[series] = round(sum(map(bool, known)) / len(known), 4)
    return BaselineHistory(rates=rates, limits=limits, calls=len(ours))


def limits_of(config: GateConfig, calls: Sequence[CallRecord]) -> dict[str, float]:
    """By series: the quantile of these calls above which one is bad, where there are enough of them."""
    found: dict[str, float] = {}
    for metric in config.compared:
        row = metric.row
        if row.figure is not None:
            figures = [figure for c in calls if (figure := row.figure(c, metric)) is not None]
            found |= {s: limit for s, q in metric.quantiles.items() if (limit := quantile_of(figures, q)) is not None}
    return found
