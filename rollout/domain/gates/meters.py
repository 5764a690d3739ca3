"""A verdict for people to look at: per metric the rates of both arms, their difference and two meters.

The figures are those the verdict rests on (its stored evidence), plus what is only for looking: the interval
that holds at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollout.domain.gates import evidence as ev
from rollout.domain.gates import forecast_wording
from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.reasons import still_needed
from rollout.domain.gates.weighing import MetricFigures, Tally


def meters(stored: Mapping[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """The meters that `show`, the page and reports draw from a verdict's evidence, as JSON.

    Meters run from 0 to 1 on a logarithmic scale: rollback reaches 1 at E = 1/alpha, proof at 1/beta.
    "metrics" has one row per counted outcome (latency has two). `now` in the reader's zone names the day of the
    forecast. At weight 1 the interval is that of the steps before.
    """
    config, tally = GateConfig.from_json(stored["config"]), Tally.from_json(stored["tally"])
    figures = MetricFigures(config, tally, by_strata=bool(stored["after"].get("by_strata")))
    rows = [_row(config, figures, m.name, s) for m in config.compared for s in m.series]
    expected = still_needed(
        config, tally, figures.safe, figures.in_wave, figures.margins, figures.in_step, figures.floor
    )
    return {
        "metrics": rows,
        "rollback": {"e": figures.e_gate, "line": 1 / config.alpha, "meter": _meter(figures.e_gate, config.alpha)},
        "split": max(figures.e_split.values()),
        "calls": {"canary": figures.in_step, "floor": figures.floor, "open": tally.open},
        "forecast": {
            "words": forecast_wording.words(expected, tally.calls_per_day, now),
            "calls": None if expected is None else ev.finite(expected.half),
        },
    }


def _row(config: GateConfig, figures: MetricFigures, metric: str, series: str) -> dict[str, Any]:
    fc, sc, fb, sb = figures.counts[series]
    weights, ledgers = ev.pool([(c.weight, c.counts[series]) for c in figures.compared])
    whole = ledgers[0] if len(ledgers) else ledgers.reshape(0, 4)
    low, high = ev.shown_interval(whole, weights)
    canary, baseline = _rate(fc, sc), _rate(fb, sb)
    safe = figures.safe.get(metric)
    share = next(m.share for m in config.compared if m.name == metric)
    return {
        "metric": metric,
        "outcome": series,
        "canary": {"bad": fc, "calls": fc + sc, "rate": canary},
        "baseline": {"bad": fb, "calls": fb + sb, "rate": baseline},
        "difference": None if canary is None or baseline is None else canary - baseline,
        "interval": [low, high],
        "harm": {"e": figures.harm[metric], "meter": _meter(share * figures.harm[metric], config.alpha)},
        "proof": None
        if safe is None
        else {"e": safe, "margin": figures.margins[metric], "meter": _meter(safe, config.beta)},
    }


def _rate(bad: int, fine: int) -> float | None:
    return bad / (bad + fine) if bad + fine else None


def _meter(e: float, level: float) -> float:
    return min(1.0, max(0.0, math.log(max(e, 1e-300)) / math.log(1 / level)))
