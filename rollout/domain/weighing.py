"""The evidence of one look: cells of calls -> e-values per metric, and the decision table over them.

`weigh` and `rule` take arrays with leading axes, so that a rehearsal of a thousand rollouts runs through the
very same code as the verdict on one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollout.domain import evidence as ev
from rollout.domain.calls import Cell, Counts
from rollout.domain.profiles import GateConfig, at_step

Array = NDArray[np.float64]
FAIL, SPLIT, AMBER, PASS, WAIT = 1, 2, 3, 4, 5  # what `rule` answers, in the order it asks


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known at one moment.

    cells: in order of opening. position: where the rollout stands, as in the cells; step: the step of the
    plan (from 1) and its weight. unavailable: why calls cannot be read, if so. external: value by metric
    name, None if it could not be read. open: calls still without a result. calls_per_day: of the last seven
    days.
    """

    cells: tuple[Cell, ...]
    position: int
    step: int
    weight: float
    unavailable: str | None = None
    external: Mapping[str, float | None] = field(default_factory=dict)
    open: int = 0
    calls_per_day: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        cells = tuple(
            Cell(c["weight"], c["position"], c["day"], tuple(c["started"]), tuple(c["closed"]),
                 {name: tuple(n) for name, n in c["counts"].items()})
            for c in data["cells"]
        )  # fmt: skip
        return cls(**{**data, "cells": cells})


@dataclass(frozen=True, slots=True)
class Weighed:
    """Evidence of harm per metric and together, and of safety per critical metric (arrays alike in shape)."""

    harm: Mapping[str, Array]
    e_gate: Array
    safe: Mapping[str, Array]


def weigh(
    config: GateConfig,
    ledgers: Mapping[str, Array],
    weights: tuple[float, ...],
    margins: Mapping[str, float],
) -> Weighed:
    """Weigh counts. `ledgers` holds per series an array (..., ledgers, weights, 4) as `evidence.pool` makes
    it; `margins` the margin of each critical metric at this step. A metric without calls counts E = 1.
    Latency harms by the mean of its two e-values; to be safe it must be so at both thresholds."""
    harm, safe = {}, {}
    for metric in config.compared:
        harm[metric.name] = np.mean([ev.ledger_e(ledgers[s], weights) for s in metric.series], axis=0)
        if metric.critical:
            d = margins[metric.name]
            logs = [_whole(ledgers[s], weights, d) for s in metric.series]
            with np.errstate(over="ignore"):
                safe[metric.name] = np.minimum(np.exp(np.min(logs, axis=0)), ev.LARGEST)
    e_gate = sum((m.share * harm[m.name] for m in config.compared), start=np.asarray(config.unbet))
    return Weighed(harm, np.asarray(e_gate), safe)


def _whole(ledger: Array, weights: tuple[float, ...], margin: float) -> Array:
    if not ledger.shape[-3]:
        return np.zeros(ledger.shape[:-3])
    return ev.log_e(ledger[..., 0, :, :], weights, margin, "safe")


def rule(
    config: GateConfig,
    *,
    e_gate: ArrayLike,
    bad: ArrayLike,
    e_split: ArrayLike,
    safe: ArrayLike,
    enough: ArrayLike,
) -> NDArray[np.int64]:
    """The decision, in its order: fail, split alarm, amber, pass, wait.

    bad: most bad canary calls of any one series; safe: least e-value of the critical metrics; enough: whether
    the step has the canary calls of its floor.
    """
    e_gate, bad = np.asarray(e_gate), np.asarray(bad)
    return np.select(
        [
            (e_gate >= 1 / config.alpha) & (bad >= config.least_bad),
            np.asarray(e_split) >= config.split_alarm,
            e_gate >= config.amber,
            (np.asarray(safe) >= 1 / config.beta) & np.asarray(enough),
        ],
        [FAIL, SPLIT, AMBER, PASS],
        default=WAIT,
    )


class Figures:
    """Every figure of one look, so that the decision below reads as its table."""

    def __init__(self, config: GateConfig, tally: Tally) -> None:
        self.compared = [c for c in tally.cells if 0.0 < c.weight < 1.0]
        self.margins = {m.name: at_step(m.margins, tally.weight, tally.step) for m in config.critical}
        self.floor = at_step(config.floors, tally.weight, tally.step)
        pools = {s: ev.pool([(c.weight, c.counts[s]) for c in self.compared]) for s in config.series}
        self.weights = ev.pool([(c.weight, (0, 0, 0, 0)) for c in self.compared])[0]
        weighed = weigh(config, {s: ledgers for s, (_, ledgers) in pools.items()}, self.weights, self.margins)
        self.harm = {name: float(e) for name, e in weighed.harm.items()}
        self.safe = {name: float(e) for name, e in weighed.safe.items()}
        self.e_gate = float(weighed.e_gate)
        self.counts = {s: _total(self.compared, s) for s in config.series}
        self.bad = max((n[0] for n in self.counts.values()), default=0)
        self.measured = {s: [n[0] + n[1], n[2] + n[3]] for s, n in self.counts.items()}
        self.in_step = self._canary_calls(config, tally.position)
        self.e_split = self._split(config)
        self.e_watch = self._watch(config, tally) if tally.weight >= 1.0 else 1.0

    def _canary_calls(self, config: GateConfig, position: int) -> int:
        """Canary calls of this position that count: those with a result in every critical metric."""
        here = [c for c in self.compared if c.position == position]
        judged = [sum(sum(c.counts[s][:2]) for c in here) for m in config.critical for s in m.series]
        return min(judged, default=sum(c.started[0] for c in here))

    def _split(self, config: GateConfig) -> dict[str, float]:
        """Do the calls follow the weights, and do the results? Losing one arm's would bias the rest."""
        found = {"calls": self._split_of([c.started for c in self.compared])}
        for metric in config.critical:
            for s in metric.series:
                pairs = [
                    (c.counts[s][0] + c.counts[s][1], c.counts[s][2] + c.counts[s][3]) for c in self.compared
                ]
                found[s] = self._split_of(pairs)
        return found

    def _split_of(self, pairs: list[tuple[int, int]]) -> float:
        sums = {w: [0, 0] for w in self.weights}
        for cell, (canary, baseline) in zip(self.compared, pairs, strict=True):
            sums[cell.weight][0] += canary
            sums[cell.weight][1] += baseline
        return float(ev.split_e([n[0] for n in sums.values()], [n[1] for n in sums.values()], self.weights))

    def _watch(self, config: GateConfig, tally: Tally) -> float:
        """After weight 1 no baseline is beside the canary: its calls since then against a fixed limit."""
        here = [c for c in tally.cells if c.weight >= 1.0 and c.position == tally.position]
        total = config.unbet
        for m in config.compared:
            one = []
            for s in m.series:
                _, _, fb, sb = self.counts[s]
                bad, fine, _, _ = _total(here, s)
                one.append(float(ev.one_sample_e(bad, fine, ev.watch_limit(fb, sb))) if fb + sb else 1.0)
            total += m.share * sum(one) / len(one)
        return total

    def to_json(self) -> dict[str, Any]:
        return {
            "e_gate": self.e_gate, "harm": self.harm, "safe": self.safe, "margins": self.margins,
            "e_split": self.e_split, "e_watch": self.e_watch, "counts": self.counts,
            "canary_calls": self.in_step, "floor": self.floor,
        }  # fmt: skip


def _total(cells: Sequence[Cell], series: str) -> Counts:
    a, b, c, d = (sum(cell.counts[series][i] for cell in cells) for i in range(4))
    return a, b, c, d
