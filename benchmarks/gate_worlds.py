"""Seeded worlds of callers for the gate campaign: what each call would be if either version answered it.

Every rule is played on the same streams: call i of run r has one draw for the version that answers it and one
outcome for each version, fixed before any rule looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rollout.domain.playing import Scene

SERIES = ("success", "hard_error", "slow:p50", "slow:p90", "negative")
PLAIN: Mapping[str, float] = {
    "success": 0.15,
    "hard_error": 0.01,
    "slow:p50": 0.5,
    "slow:p90": 0.1,
    "negative": 0.2,
}
Rates = NDArray[np.float64]  # (calls, series)


@dataclass(frozen=True)
class World:
    """One kind of canary in one kind of weather. `base` and `canary` map a series to its bad rate, a number or
    one per call. `true_share` replaces the ordered weight; `late` is how many calls a new weight takes to act.
    `ramp`: the weight rises by itself at this call (no promotion); `fixed`: it never rises."""

    name: str
    base: Mapping[str, float | NDArray[np.float64]] = field(default_factory=dict)
    canary: Mapping[str, float | NDArray[np.float64]] = field(default_factory=dict)
    true_share: float | None = None
    late: int = 0
    ramp: int | None = None
    fixed: bool = False

    def rates(self, calls: int) -> tuple[Rates, Rates]:
        base = {s: np.broadcast_to(self.base.get(s, PLAIN[s]), calls) for s in SERIES}
        canary = {s: np.broadcast_to(self.canary.get(s, base[s]), calls) for s in SERIES}
        return np.stack(list(base.values()), -1), np.stack(list(canary.values()), -1)


def step_at(calls: int, at: int, before: float, after: float) -> NDArray[np.float64]:
    return np.where(np.arange(calls) < at, before, after)


class Streams:
    """All calls of all runs of a world, drawn once. A hard error is also a failure, above p90 also above p50."""

    def __init__(self, world: World, runs: int, calls: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.world = world
        base, canary = world.rates(calls)
        self.who = rng.random((runs, calls), dtype=np.float32)
        self.base, self.canary = self._outcomes(rng, base, runs), self._outcomes(rng, canary, runs)

    @staticmethod
    def _outcomes(rng: np.random.Generator, rates: Rates, runs: int) -> NDArray[np.bool_]:
        """(runs, calls, series). Nested outcomes share their draw, so that the inner one implies the outer."""
        shape = (runs, len(rates))
        quality, speed, mood = (rng.random(shape, dtype=np.float32) for _ in range(3))
        draws = (quality, quality, speed, speed, mood)
        return np.stack([u < rates[:, k] for k, u in enumerate(draws)], axis=-1)

    def draw(self, scene: Scene, first: int, calls: int) -> NDArray[np.float64]:
        share = scene.weight
        if self.world.true_share is not None:
            share = np.full_like(share, self.world.true_share)
        if self.world.late:
            share = np.where((scene.step > 0) & (scene.since_call < self.world.late), 0.1, share)
        span = slice(first, first + calls)
        canary = self.who[scene.ids, span] < share[:, None]
        out = np.zeros((len(SERIES) + 1, len(scene.ids), 4))
        for k in range(len(SERIES)):
            bad_c, bad_b = self.canary[scene.ids, span, k], self.base[scene.ids, span, k]
            out[k, :, 0], out[k, :, 1] = (canary & bad_c).sum(1), (canary & ~bad_c).sum(1)
            out[k, :, 2], out[k, :, 3] = (~canary & bad_b).sum(1), (~canary & ~bad_b).sum(1)
        out[-1, :, 1], out[-1, :, 3] = canary.sum(1), (~canary).sum(1)
        return out


def canaries(calls: int) -> list[World]:
    """Canaries through the whole plan 0.1 -> 0.5 -> promoted."""

    def worse(points: float) -> dict[str, float]:
        return {"success": PLAIN["success"] + points / 100}

    return [
        World("equal"),
        World("equal, base rate 10 -> 25 % at call 400", {"success": step_at(calls, 400, 0.10, 0.25)}),
        World("better by 5 points", canary=worse(-5)),
        World("5 points worse", canary=worse(5)),
        World("10 points worse", canary=worse(10)),
        World("20 points worse", canary=worse(20)),
        World("40 points worse", canary=worse(40)),
        World("total outage", canary={"success": 1.0, "hard_error": 1.0}),
        World("hard errors 1 -> 6 %", canary={"success": 0.20, "hard_error": 0.06}),
        World("slow calls 10 -> 30 %", canary={"slow:p90": 0.3, "slow:p50": 0.7}),
    ]  # fmt: skip


def harmless(calls: int) -> list[World]:
    """Canaries exactly as good as the baseline, never promoted, in bad weather."""
    i, shares = np.arange(calls), (0.0, 0.05, 0.08, 0.15, 0.2, 0.3)
    incident = np.where((i >= 400) & (i < 500), 0.7, PLAIN["success"])
    wave = 0.20 + 0.15 * np.sin(2 * np.pi * i / 50)
    return [
        World("steady", fixed=True),
        World("2 % bad", {"success": 0.02, "hard_error": 0.002}, fixed=True),
        World("daily wave 5 to 35 % bad", {"success": wave}, fixed=True),
        World("incident: 100 calls 70 % bad in both", {"success": incident}, fixed=True),
        World("ramp 0.1 -> 0.5 while base goes 10 -> 25 %",
              {"success": step_at(calls, calls // 2, 0.10, 0.25)}, ramp=calls // 2),
        World("new weight acts 60 calls late", ramp=calls // 4, late=60),
        *(World(f"true share {p:g} instead of 0.1", true_share=p, fixed=True) for p in shares),
    ]  # fmt: skip


def late_breaks(calls: int) -> list[World]:
    """Canaries that break after 300 good calls, at a fixed weight of 0.1."""
    gone = step_at(calls, 300, PLAIN["success"], 1.0)
    hard = step_at(calls, 300, PLAIN["hard_error"], 1.0)
    part = {"success": step_at(calls, 300, PLAIN["success"], 0.35)}
    return [
        World("outage from call 300", canary={"success": gone, "hard_error": hard}, fixed=True),
        World("20 points worse from call 300", canary=part, fixed=True),
    ]
