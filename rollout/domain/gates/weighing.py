"""The evidence of one look: cells of calls -> e-values per metric, and the decision table over them.

`weigh` and `rule` take arrays with leading axes, so that a rehearsal of a thousand rollouts runs through the
very same code as the verdict on one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.profiles import GateConfig, at_step
from rollout.domain.gates.tally import Arms, Cell, Counts, Stratum, Tally, totals
from rollout.domain.gates.verdict import Figures

Array = NDArray[np.float64]
FAIL, SPLIT, LABELS, AMBER, PASS, WAIT = range(1, 7)  # what `rule` answers, in the order it asks


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
    *,
    costs: Mapping[str, Array] | None = None,
    own: Mapping[str, Array] | None = None,
    own_costs: Mapping[str, Array] | None = None,
) -> Weighed:
    """Weigh counts. `ledgers` holds per series an array (..., ledgers, weights, 4) as `evidence.pool` makes
    it; `margins` the margin of each critical metric at this step. A metric without calls counts E = 1.
    Latency harms by the mean of its two e-values; to be safe it must be so at both thresholds.

    `costs` (..., ledgers) are what each series pays for the split by stratum. `own` (..., weights, 4) are the
    counts of the current wave, where there was an earlier one: safe then takes both proofs."""
    harm, safe = {}, {}
    costs, own_costs = costs or {}, own_costs or {}
    for metric in config.compared:
        parts = [ev.ledger_e(ledgers[s], weights, config.history.get(s), costs.get(s)) for s in metric.series]
        harm[metric.name] = np.mean(parts, axis=0)
        if metric.critical:
            d, logs = margins[metric.name], []
            for s in metric.series:
                if ledgers[s].shape[-3]:
                    whole, paid = ledgers[s][..., 0, :, :], costs.get(s)
                    first = None if paid is None else paid[..., 0]
                    logs.append(ev.log_e(whole, weights, d, "safe", config.history.get(s), first))
                else:
                    logs.append(np.zeros(ledgers[s].shape[:-3]))
                if own is not None:
                    logs.append(ev.log_e(own[s], weights, d, "safe", config.history.get(s), own_costs.get(s)))
            with np.errstate(over="ignore"):
                safe[metric.name] = np.minimum(np.exp(np.min(logs, axis=0)), ev.LARGEST)
    e_gate = sum((m.share * harm[m.name] for m in config.compared), start=np.asarray(config.unbet))
    return Weighed(harm, np.asarray(e_gate), safe)


def rule(
    config: GateConfig,
    *,
    e_gate: ArrayLike,
    bad: ArrayLike,
    e_split: ArrayLike,
    safe: ArrayLike,
    enough: ArrayLike,
    e_labels: ArrayLike = 1.0,
) -> NDArray[np.int64]:
    """The decision, in its order: fail, split alarm, labels alarm, amber, pass, wait.

    bad: most bad canary calls of any one series; safe: least e-value of the critical metrics; enough: whether
    the step has the canary calls of its floor.
    """
    e_gate, bad = np.asarray(e_gate), np.asarray(bad)
    return np.select(
        [
            (e_gate >= 1 / config.alpha) & (bad >= config.least_bad),
            np.asarray(e_split) >= config.split_alarm,
            np.asarray(e_labels) >= config.labels_alarm,
            e_gate >= config.amber,
            (np.asarray(safe) >= 1 / config.beta) & np.asarray(enough),
        ],
        [FAIL, SPLIT, LABELS, AMBER, PASS],
        default=WAIT,
    )


class MetricFigures:
    """Every figure of one look, so that the decision below reads as its table. `by_strata`: an earlier look already
    found that the split has to be paid for by stratum."""

    def __init__(self, config: GateConfig, tally: Tally, *, by_strata: bool = False) -> None:
        second = config.edition >= 2
        self.compared = tally.compared
        narrow = second and tally.narrow
        self.margins = {m.name: at_step(m.margins, tally.weight, tally.step, narrow=narrow) for m in config.critical}
        self.floor = at_step(config.floors, tally.weight, tally.step)
        self.weights = ev.pool([(c.weight, (0, 0, 0, 0)) for c in self.compared])[0]
        self.e_strata = strata_e(tally.strata, self.weights)
        self.by_strata = second and (by_strata or self.e_strata >= config.strata_from)
        here = [c for c in self.compared if c.wave == tally.wave]
        self.waves = second and len(here) < len(self.compared)
        weighed = self._weigh(config, here)
        self.harm = {name: float(e) for name, e in weighed.harm.items()}
        self.safe = {name: float(e) for name, e in weighed.safe.items()}
        self.e_gate = float(weighed.e_gate)
        self.counts = {s: totals(self.compared, s) for s in config.series}
        self.in_wave = {s: totals(here, s) for s in config.series} if self.waves else self.counts
        self.bad = max((n[0] for n in self.counts.values()), default=0)
        self.measured = {s: [n[0] + n[1], n[2] + n[3]] for s, n in self.counts.items()}
        self.in_step = self._canary_calls(config, tally.position)
        self.e_split = self._split(config)
        self.e_labels = self._labels(config) if second else {}
        if second:
            self.e_watch = self._watch(config, tally)
        else:
            self.e_watch = self._watch_once(config, tally) if tally.weight >= 1.0 else 1.0

    def _weigh(self, config: GateConfig, here: Sequence[Cell]) -> Weighed:
        ledgers = {s: ev.pool([(c.weight, c.counts[s]) for c in self.compared])[1] for s in config.series}
        costs = {s: self._cost(self.compared, s) for s in config.series} if self.by_strata else None
        if not self.waves:
            return weigh(config, ledgers, self.weights, self.margins, costs=costs)
        own = {s: np.zeros((len(self.weights), 4)) for s in config.series}
        for cell in here:
            for s in config.series:
                own[s][self.weights.index(cell.weight)] += cell.counts[s]
        own_costs = {s: self._cost(here, s)[0] for s in config.series} if self.by_strata and here else None
        return weigh(config, ledgers, self.weights, self.margins, costs=costs, own=own, own_costs=own_costs)

    def _cost(self, cells: Sequence[Cell], series: str) -> Array:
        """The cost of the split by stratum, for the ledger that begins with each of these cells."""
        names = {name: k for k, name in enumerate(dict.fromkeys(n for c in cells for n in c.strata))}
        arms = np.zeros((len(names), len(cells), len(self.weights), 2))
        for m, cell in enumerate(cells):
            column = self.weights.index(cell.weight)
            for name, part in cell.strata.items():
                arms[names[name], m, column] = part.get(series, (0, 0))
        return ev.strata_cost(np.cumsum(arms[:, ::-1], axis=1)[:, ::-1], self.weights)

    def _canary_calls(self, config: GateConfig, position: float) -> int:
        """Canary calls of this position that count: those with a result in every critical metric."""
        here = [c for c in self.compared if c.position == position]
        judged = [sum(sum(c.counts[s][:2]) for c in here) for m in config.critical for s in m.series]
        return min(judged, default=sum(c.started[0] for c in here))

    def _split(self, config: GateConfig) -> dict[str, float]:
        """E-values against the hypothesis that calls follow the weights, over all calls and per stratum.

        Edition 1 tested the calls with a result, too. Later editions have the labels alarm for results that are lost.
        """
        found = {"calls": self._split_of([c.started for c in self.compared])}
        if config.edition >= 2:
            return {**found, "strata": self.e_strata}
        for metric in config.critical:
            for s in metric.series:
                pairs = [(c.counts[s][0] + c.counts[s][1], c.counts[s][2] + c.counts[s][3]) for c in self.compared]
                found[s] = self._split_of(pairs)
        return found

    def _split_of(self, pairs: list[Arms]) -> float:
        sums = {w: [0, 0] for w in self.weights}
        for cell, (canary, baseline) in zip(self.compared, pairs, strict=True):
            sums[cell.weight][0] += canary
            sums[cell.weight][1] += baseline
        return float(ev.split_e([n[0] for n in sums.values()], [n[1] for n in sums.values()], self.weights))

    def _labels(self, config: GateConfig) -> dict[str, float]:
        """E-values against the hypothesis that both sides lose results alike, by series of the critical metrics."""
        found = {}
        for metric in config.critical:
            for s in metric.series:
                found[s] = 1.0
                if any(sum(c.lost.get(s, (0, 0))) for c in self.compared):
                    counts = [(c.weight, _judged(c, s)) for c in self.compared]
                    weights, ledgers = ev.pool(counts)
                    found[s] = float(ev.labels_e(ledgers, weights))
        return found

    def _watch(self, config: GateConfig, tally: Tally) -> float:
        """Evidence at weight 1, where no baseline calls exist: canary calls against a fixed limit, a new ledger each day."""
        full = [c for c in tally.cells if c.weight >= 1.0]
        days = sorted({c.day for c in full})
        total = config.unbet
        for m in config.compared:
            one = []
            for s in m.series:
                _, _, fb, sb = self.counts[s]
                seen = np.zeros((len(days), 2))
                for cell in full:
                    seen[days.index(cell.day)] += cell.counts[s][:2]
                ledgers = np.cumsum(seen[::-1], axis=0)[::-1]
                limit = ev.watch_limit(fb, sb)
                one.append(float(ev.watch_e(ledgers[:, 0], ledgers[:, 1], limit)) if fb + sb else 1.0)
            total += m.share * sum(one) / len(one)
        return total

    def _watch_once(self, config: GateConfig, tally: Tally) -> float:
        """The watch of edition 1, with one ledger."""
        here = [c for c in tally.cells if c.weight >= 1.0 and c.position == tally.position]
        total = config.unbet
        for m in config.compared:
            one = []
            for s in m.series:
                _, _, fb, sb = self.counts[s]
                bad, fine, _, _ = totals(here, s)
                one.append(float(ev.one_sample_e(bad, fine, ev.watch_limit(fb, sb))) if fb + sb else 1.0)
            total += m.share * sum(one) / len(one)
        return total

    def figures(self) -> Figures:
        """The figures that are kept."""
        return Figures(
            self.e_gate,
            self.harm,
            self.safe,
            self.margins,
            self.e_split,
            self.e_watch,
            self.counts,
            self.in_step,
            self.floor,
            self.e_labels,
            self.by_strata,
        )


def strata_e(strata: Sequence[Stratum], weights: Sequence[float]) -> float:
    """The mean of the strata's own evidence that their calls do not follow the weights."""
    if not strata or not len(weights):
        return 1.0
    arms = np.zeros((len(strata), len(weights), 2))
    for k, (_, by_weight) in enumerate(strata):
        for w, canary, baseline in by_weight:
            arms[k, weights.index(w)] = canary, baseline
    return float(np.minimum(ev.split_e(arms[..., 0], arms[..., 1], weights) / len(strata), ev.LARGEST).sum())


def _judged(cell: Cell, series: str) -> Counts:
    """(canary without a result, canary with one, baseline without, baseline with)."""
    lost, n = cell.lost.get(series, (0, 0)), cell.counts[series]
    return lost[0], n[0] + n[1], lost[1], n[2] + n[3]
