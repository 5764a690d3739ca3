"""The counts that a verdict rests on: cells of calls, and the moment they were counted at. As values and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

Counts = tuple[int, int, int, int]  # canary bad, canary fine, baseline bad, baseline fine
Arms = tuple[int, int]  # calls of the canary, calls of the baseline
Stratum = tuple[str, tuple[tuple[float, int, int], ...]]  # name, calls that started by weight (canary, baseline)


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of one position on one UTC day at one weight.

    started: (canary, baseline) calls that started, judged or not; closed: those that no metric waits for any
    more; counts: per series the four numbers. lost: per series of a critical metric the calls that reached an agent
    and will never get this result. strata: per stratum of the calls (a number, or a quarter of the day) the calls
    that have a result, by series, and all that started under "". wave: of the numbers that these calls came to.
    """

    weight: float
    position: float
    day: str
    started: Arms
    closed: Arms
    counts: Mapping[str, Counts]
    lost: Mapping[str, Arms] = field(default_factory=dict)
    strata: Mapping[str, Mapping[str, Arms]] = field(default_factory=dict)
    wave: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            "position": self.position,
            "day": self.day,
            "started": list(self.started),
            "closed": list(self.closed),
            "counts": {name: list(n) for name, n in self.counts.items()},
            "lost": {name: list(n) for name, n in self.lost.items()},
            "strata": {key: {name: [*n] for name, n in part.items()} for key, part in self.strata.items()},
            "wave": self.wave,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        return cls(
            data["weight"],
            data["position"],
            data["day"],
            tuple(data["started"]),
            tuple(data["closed"]),
            {name: tuple(n) for name, n in data["counts"].items()},
            {name: tuple(n) for name, n in data.get("lost", {}).items()},
            {stratum: {name: tuple(n) for name, n in arms.items()} for stratum, arms in data.get("strata", {}).items()},
            data.get("wave", 1),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts at one moment.

    cells: in order of opening. position: where the rollout stands, as in the cells; step: the step of the
    plan (from 1) and its weight. unavailable: why calls cannot be read, if so. external: value by metric
    name, None if it could not be read. open: calls still without a result. calls_per_day: of the last seven
    days. wave: of the position; narrow: the step stands before weight 1 (see profiles.at_step); last: the last
    position. strata: per stratum (name, calls that started by weight), empty where they are not told apart.
    """

    cells: tuple[Cell, ...]
    position: float
    step: int
    weight: float
    unavailable: str | None = None
    external: Mapping[str, float | None] = field(default_factory=dict)
    open: int = 0
    calls_per_day: float | None = None
    wave: int = 1
    narrow: bool = False
    last: bool = False
    strata: tuple[Stratum, ...] = ()

    @property
    def compared(self) -> tuple[Cell, ...]:
        """The cells in which both versions served: at weight 0 or 1 nothing is compared."""
        return tuple(c for c in self.cells if 0.0 < c.weight < 1.0)

    @property
    def calls(self) -> int:
        """All calls that started."""
        return sum(sum(c.started) for c in self.cells)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        cells = tuple(Cell.from_json(c) for c in data["cells"])
        strata = tuple((name, tuple((w, c, b) for w, c, b in arms)) for name, arms in data.get("strata", ()))
        return cls(**{**data, "cells": cells, "strata": strata})

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it. Written out for speed: a fleet's strata hold tens of thousands of numbers."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **plain,
            "cells": [c.to_json() for c in self.cells],
            "strata": [[name, [list(arms) for arms in by_weight]] for name, by_weight in self.strata],
            "external": {
                name: None if value is None or not math.isfinite(value) else value
                for name, value in self.external.items()
            },
        }

    def without_strata(self) -> Tally:
        """The same without the counts of each stratum in each cell.

        That is enough while the split is not paid for by stratum, and far smaller if there are many numbers.
        """
        return replace(self, cells=tuple(replace(c, strata={}) for c in self.cells))


def strata_of(cells: Sequence[Cell], names: Sequence[str]) -> tuple[Stratum, ...]:
    """`Tally.strata` for these cells; `names` are all strata there can be, with calls or without."""
    found: dict[str, dict[float, list[int]]] = {name: {} for name in names}
    for cell in cells:
        if 0.0 < cell.weight < 1.0:
            for name, arms in cell.strata.items():
                sums = found.setdefault(name, {}).setdefault(cell.weight, [0, 0])
                sums[0] += arms[""][0]
                sums[1] += arms[""][1]
    return tuple((name, tuple((w, n[0], n[1]) for w, n in by.items())) for name, by in found.items())


def totals(cells: Sequence[Cell], series: str) -> Counts:
    """The counts of these cells together."""
    a, b, c, d = (sum(cell.counts[series][i] for cell in cells) for i in range(4))
    return a, b, c, d
