"""Seeded worlds of callers for the gate campaign: what each call would be if either version answered it.

Every rule is played on the same streams: call i of run r has one draw for the version that answers it and one
outcome for each version, fixed before any rule looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rollout.domain.rehearsal.simulation import PlayStep, Scene

SERIES = ("success", "hard_error", "slow:p50", "slow:p90", "negative")
PLAIN: Mapping[str, float] = {"success": 0.15, "hard_error": 0.01, "slow:p50": 0.5, "slow:p90": 0.1, "negative": 0.2}
Rates = NDArray[np.float64]  # (calls, series)


@dataclass(frozen=True)
class Number:
    """One phone number of a fleet: its part of all calls, the bad rate of success on the baseline, what of the
    ordered weight really reaches the canary, and how much worse the canary is on this number."""

    part: float
    base: float
    reaches: float = 1.0
    worse: float = 0.0


@dataclass(frozen=True)
class World:
    """One kind of canary in one kind of weather. `base` and `canary` map a series to its bad rate, a number or
    one per call. `true_share` replaces the ordered weight; `late` is how many calls a new weight takes to act.
    `ramp`: the weight rises by itself at this call (no promotion); `fixed`: it never rises. `numbers`: the calls come
    to these, and are told apart. `lost`: the part of the canary's failed calls that is never judged; `lost_alike`: the
    part of all calls. `worse_in_wave_2`: by so much the canary fails more there. `steps`: (weight, wave) of the plan.
    """

    name: str
    base: Mapping[str, float | NDArray[np.float64]] = field(default_factory=dict)
    canary: Mapping[str, float | NDArray[np.float64]] = field(default_factory=dict)
    true_share: float | None = None
    late: int = 0
    ramp: int | None = None
    fixed: bool = False
    numbers: tuple[Number, ...] = ()
    lost: float = 0.0
    lost_alike: float = 0.0
    worse_in_wave_2: float = 0.0
    steps: tuple[tuple[float, int], ...] = ((0.1, 1), (0.5, 1))

    def plan(self) -> tuple[PlayStep, ...]:
        """The steps of the plan, without holds."""
        steps = self.steps[:1] if self.fixed else self.steps
        return tuple(PlayStep(round(10_000 * w), wave=wave) for w, wave in steps)

    def history(self) -> dict[str, float]:
        """The baseline's own rates before the rollout."""
        base, _ = self.rates(max(np.size(v) for v in (1, *self.base.values(), *self.canary.values())))
        found = dict(zip(SERIES, map(float, base[:200].mean(axis=0)), strict=True))
        if self.numbers:
            found["success"] = sum(n.part * n.base for n in self.numbers)
        return found

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
        self.waves = np.array([wave for _, wave in world.steps])
        self.number = None
        if world.numbers:
            parts = np.cumsum([n.part for n in world.numbers])
            self.number = np.searchsorted(parts, rng.random((runs, calls)) * parts[-1])
        self.base = self._outcomes(rng, base, runs, [n.base for n in world.numbers])
        self.canary = self._outcomes(rng, canary, runs, [n.base + n.worse for n in world.numbers])
        more = rng.random((runs, calls), dtype=np.float32)
        if world.worse_in_wave_2:  # of the calls that were fine, so many more fail
            fine = 1 - PLAIN["success"]
            self.canary_2 = self.canary.copy()
            self.canary_2[..., 0] |= more < world.worse_in_wave_2 / fine
        self.unjudged = rng.random((runs, calls), dtype=np.float32)

    def _outcomes(self, rng: np.random.Generator, rates: Rates, runs: int, by_number: list[float]) -> NDArray[np.bool_]:
        """(runs, calls, series). Nested outcomes share their draw, so that the inner one implies the outer."""
        shape = (runs, len(rates))
        quality, speed, mood = (rng.random(shape, dtype=np.float32) for _ in range(3))
        draws = (quality, quality, speed, speed, mood)
        found = np.stack([u < rates[:, k] for k, u in enumerate(draws)], axis=-1)
        if self.number is not None:
            found[..., 0] = quality < np.array(by_number)[self.number]
        return found

    def draw(self, scene: Scene, first: int, calls: int) -> NDArray[np.float64]:
        share, world = scene.weight, self.world
        if world.true_share is not None:
            share = np.full_like(share, world.true_share)
        if world.late:
            share = np.where((scene.step > 0) & (scene.since_call < world.late), 0.1, share)
        span = slice(first, first + calls)
        limit = np.broadcast_to(share[:, None], (len(share), calls))
        number = None if self.number is None else self.number[scene.ids, span]
        if number is not None:
            limit = limit * np.array([n.reaches for n in world.numbers])[number]
        canary = self.who[scene.ids, span] < limit
        bad_c, bad_b = self.canary[scene.ids, span], self.base[scene.ids, span]
        if world.worse_in_wave_2:
            second = (self.waves[scene.step] > 1)[:, None, None]
            bad_c = np.where(second, self.canary_2[scene.ids, span], bad_c)
        u = self.unjudged[scene.ids, span]
        judged = np.ones((*canary.shape, len(SERIES)), dtype=bool)
        for k in (0, 4):  # what the analysis says
            judged[..., k] = ~((canary & bad_c[..., 0] & (u < world.lost)) | (u < world.lost_alike))
        if number is None:
            return _counts(canary, bad_c, bad_b, judged, np.ones_like(canary))
        return np.stack([_counts(canary, bad_c, bad_b, judged, number == i) for i in range(len(world.numbers))])


def _counts(
    canary: NDArray[np.bool_],
    bad_c: NDArray[np.bool_],
    bad_b: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    here: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(series + 1, runs, 4) of the calls that are `here`."""
    out = np.zeros((len(SERIES) + 1, len(canary), 4))
    own, other = canary & here, ~canary & here
    for k in range(len(SERIES)):
        known, c, b = judged[..., k], bad_c[..., k], bad_b[..., k]
        out[k, :, 0], out[k, :, 1] = (own & known & c).sum(1), (own & known & ~c).sum(1)
        out[k, :, 2], out[k, :, 3] = (other & known & b).sum(1), (other & known & ~b).sum(1)
    out[-1, :, 1], out[-1, :, 3] = own.sum(1), other.sum(1)
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
    ]


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
        World(
            "ramp 0.1 -> 0.5 while base goes 10 -> 25 %",
            {"success": step_at(calls, calls // 2, 0.10, 0.25)},
            ramp=calls // 2,
        ),
        World("new weight acts 60 calls late", ramp=calls // 4, late=60),
        *(World(f"true share {p:g} instead of 0.1", true_share=p, fixed=True) for p in shares),
    ]


def late_breaks(calls: int) -> list[World]:
    """Canaries that break after 300 good calls, at a fixed weight of 0.1."""
    gone = step_at(calls, 300, PLAIN["success"], 1.0)
    hard = step_at(calls, 300, PLAIN["hard_error"], 1.0)
    part = {"success": step_at(calls, 300, PLAIN["success"], 0.35)}
    return [
        World("outage from call 300", canary={"success": gone, "hard_error": hard}, fixed=True),
        World("20 points worse from call 300", canary=part, fixed=True),
    ]


# ------------------------------------------------------------------ worlds of the second look


OVERRIDDEN = Number(0.7, 0.10, reaches=0.0)


def numbers_apart() -> list[World]:
    """The split is wrong on one number alone; the canary harmless, but for the last two."""
    loud = Number(0.3, 0.40)
    return [
        World("70 % of calls at base 10 % overridden, 30 % at 40 % not", numbers=(OVERRIDDEN, loud)),
        World(
            "half of calls at base 5 % overridden, half at 40 % not",
            numbers=(Number(0.5, 0.05, reaches=0.0), Number(0.5, 0.40)),
        ),
        World(
            "90 % at base 10 % overridden by half, 10 % at 50 % not",
            numbers=(Number(0.9, 0.10, reaches=0.5), Number(0.1, 0.50)),
        ),
        World(
            "four numbers of base 5 to 50 %, the two quiet ones overridden",
            numbers=(
                Number(0.3, 0.05, reaches=0.0),
                Number(0.3, 0.10, reaches=0.0),
                Number(0.2, 0.3),
                Number(0.2, 0.5),
            ),
        ),
        World("two numbers of base 10 and 40 %, the split right", numbers=(Number(0.7, 0.10), loud)),
        World(
            "10 points worse, split wrong as in the first row",
            numbers=(replace(OVERRIDDEN, worse=0.1), replace(loud, worse=0.1)),
        ),
        World("10 points worse, split right", numbers=(Number(0.7, 0.10, worse=0.1), replace(loud, worse=0.1))),
    ]


LADDER = ((0.1, 1), (0.5, 1), (1.0, 1))


def in_waves() -> list[World]:
    """Two waves; the canary is worse on the second one's numbers only."""
    twice = (*LADDER, *((w, 2) for w, _ in LADDER))
    fleet = ((0.1, 1), (1.0, 1), (0.1, 2), (1.0, 2))
    return [
        World("equal, 0.1 -> 0.5 -> 1 in two waves", steps=twice),
        World("10 points worse in wave 2", steps=twice, worse_in_wave_2=0.10),
        World("20 points worse in wave 2", steps=twice, worse_in_wave_2=0.20),
        World("equal, 0.1 -> 1 in two waves", steps=fleet),
        World("20 points worse in wave 2, 0.1 -> 1", steps=fleet, worse_in_wave_2=0.20),
    ]


def ladders() -> list[World]:
    """Plans that end at weight 1, with an equal canary and one 10 points worse."""
    found = []
    for weights in ((0.1,), (0.2,), (0.05, 0.25), (0.5,), (0.1, 0.5)):
        name = " -> ".join(f"{w:g}" for w in (*weights, 1))
        steps = tuple((w, 1) for w in (*weights, 1.0))
        found += [
            World(f"{name}: equal", steps=steps),
            World(f"{name}: 10 points worse", canary={"success": PLAIN["success"] + 0.10}, steps=steps),
        ]
    return found


def unjudged() -> list[World]:
    """Calls that are never judged: failed ones of a canary 20 points worse, or of both alike."""
    worse = {"success": PLAIN["success"] + 0.20}
    return [
        *(
            World(f"20 points worse, {p:.0%} of its failed calls never judged", canary=worse, lost=p)
            for p in (1.0, 0.6, 0.3)
        ),
        World("equal, 10 % of all calls never judged", lost_alike=0.10),
    ]
