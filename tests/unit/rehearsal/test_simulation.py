"""Runs in lockstep: what is booked where, what is decided of it, and when a step is left."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import GateConfig, before_full, from_plan, gate_config
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.gates.verdict import Memory
from rollout.domain.gates.weighing import AMBER, FAIL, LABELS, PASS, SPLIT, WAIT
from rollout.domain.rehearsal.hours import Hours
from rollout.domain.rehearsal.simulation import DAY, PlayStep, Runs, Scene, gate, thinning

CODES = {
    ("fail", None): FAIL,
    ("fail", "watch"): FAIL,
    ("undecided", "split"): SPLIT,
    ("undecided", "labels"): LABELS,
    ("undecided", "amber"): AMBER,
    ("undecided", "watch"): WAIT,
    ("unmeasurable", None): WAIT,
    ("undecided", None): WAIT,
    ("pass", None): PASS,
}


@dataclass
class Drawn:
    """Callers of one or two numbers: bad rates of the first series by arm and weight, and the part that is judged.

    At weight 1 the canary is worse from call `turns` on. The last series of several loses results of the canary.
    """

    config: GateConfig
    canary: float = 0.1
    at_full: float = 0.1
    turns: int = 0
    judged: float = 1.0
    reaches: tuple[float, ...] = (1.0,)
    seed: int = 3
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def draw(self, scene: Scene, first: int, calls: int) -> Any:
        found = []
        numbers = self.rng.multinomial(calls, [1 / len(self.reaches)] * len(self.reaches), len(scene.ids))
        for n, reaches in zip(numbers.T, self.reaches, strict=True):
            canary = self.rng.binomial(n, scene.weight * reaches)
            rows = np.zeros((len(self.config.series) + 1, len(n), 4))
            for k in range(len(self.config.series)):
                part = self.judged if k == 0 else 0.8 if k == len(self.config.series) - 1 else 1.0
                known = self.rng.binomial(canary, part)
                rate = (
                    np.where((scene.weight >= 1) & (first >= self.turns), self.at_full, self.canary)
                    if k == 0
                    else np.full(len(n), 0.05)
                )
                bad = self.rng.binomial(known, rate), self.rng.binomial(n - canary, 0.1 if k == 0 else 0.05)
                rows[k] = np.stack([bad[0], known - bad[0], bad[1], n - canary - bad[1]], axis=-1)
            rows[-1, :, 1], rows[-1, :, 3] = canary, n - canary
            found.append(rows)
        return np.stack(found) if len(found) > 1 else found[0]


@dataclass
class Book:
    """What came in, by run, position and day, kept call by call as a rollout keeps it."""

    steps: tuple[PlayStep, ...]
    per_day: float
    done: int = 0
    cells: dict[int, dict[tuple[int, int], Any]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, runs: Runs) -> None:
        """The calls of this look."""
        day = int(self.done // self.per_day)
        strata = runs.drawn if runs.drawn.ndim == 4 else runs.drawn[None]
        for row, run in enumerate(runs.scene.ids):
            key = int(runs.scene.step[row]), day
            self.cells[run][key] = self.cells[run].get(key, 0) + strata[:, :, row]
        self.done += int(runs.drawn[..., -1, 0, :].sum())

    def tally(self, config: GateConfig, run: int, step: int) -> Tally:
        cells = tuple(self._cell(config, *key, counts) for key, counts in self.cells[run].items())
        here, shares = self.steps[step], [s.weight / 10_000 for s in self.steps]
        numbers = sorted({name for cell in cells for name in cell.strata})
        return Tally(
            cells,
            step,
            step + 1,
            shares[step],
            external={m.name: 0.0 for m in config.metrics if m.external},
            wave=here.wave,
            narrow=before_full(shares, step + 1),
            last=step == len(self.steps) - 1,
            strata=strata_of(cells, numbers) if len(numbers) > 1 else (),
        )

    def _cell(self, config: GateConfig, step: int, day: int, strata: Any) -> Cell:
        def arms(rows: Any) -> tuple[int, int]:
            return int(rows[0] + rows[1]), int(rows[2] + rows[3])

        whole = strata.sum(axis=0)
        calls = arms(whole[-1])
        counts = dict(zip(config.series, (tuple(int(n) for n in row) for row in whole), strict=False))
        lost = {s: (calls[0] - n[0] - n[1], calls[1] - n[2] - n[3]) for s, n in counts.items()}
        parts = {
            str(k): {"": arms(part[-1]), **{s: arms(row) for s, row in zip(config.series, part, strict=False)}}
            for k, part in enumerate(strata)
        }
        here = self.steps[step]
        by_number = parts if len(parts) > 1 else {}
        return Cell(
            here.weight / 10_000, step, str(day), calls, calls, counts, lost=lost, strata=by_number, wave=here.wave
        )


PLAIN, EARLIER, ACTING = gate_config(), gate_config(edition=1), gate_config(act_at_full_weight=True)
OUTSIDE = from_plan(
    {"metrics": [{"name": "slow"}, {"name": "errors", "http": {"url": "https://x.example", "field": "v", "max": 1}}]}
)
EACH_STEP = gate_config(metrics=[{"name": "success", "margins": [0.3, 0.12, 0.05]}], floors=[20, 90, 400])
RAMP = (PlayStep(1000), PlayStep(5000), PlayStep(10_000))
WAVES = (PlayStep(1000), PlayStep(5000), PlayStep(1000, wave=2), PlayStep(5000, wave=2))


@pytest.mark.parametrize(
    ("config", "steps", "callers", "seen"),
    [
        (PLAIN, RAMP, {}, {WAIT, PASS}),
        (PLAIN, RAMP, {"canary": 0.35}, {WAIT, AMBER, FAIL}),
        (PLAIN, RAMP, {"at_full": 0.3}, {WAIT, PASS}),
        (PLAIN, RAMP, {"at_full": 0.4, "turns": 1000}, {WAIT, PASS}),
        (EACH_STEP, RAMP, {}, {WAIT, PASS}),
        (ACTING, RAMP, {"at_full": 0.6}, {WAIT, PASS, FAIL}),
        (ACTING, (*RAMP, PlayStep(10_000)), {"at_full": 0.6}, {WAIT, PASS, FAIL}),
        (PLAIN, (*RAMP, PlayStep(10_000)), {"at_full": 0.28}, {WAIT, PASS}),
        (EARLIER, RAMP, {"at_full": 0.3}, {WAIT, PASS}),
        (EARLIER, WAVES, {}, {WAIT, PASS}),
        (EARLIER, WAVES, {"judged": 0.5}, {WAIT, SPLIT}),
        (gate_config(edition=1, act_at_full_weight=True), RAMP, {"at_full": 0.6}, {WAIT, PASS, FAIL}),
        (PLAIN, RAMP, {"judged": 0.5}, {WAIT, LABELS}),
        (PLAIN, WAVES, {}, {WAIT, PASS}),
        (PLAIN, WAVES, {"reaches": (0.85, 1.15), "seed": 5}, {WAIT, PASS, AMBER, SPLIT}),
        (PLAIN, RAMP[:2], {"reaches": (0.85, 1.15), "seed": 6}, {WAIT, PASS, SPLIT}),
        (PLAIN, RAMP, {"reaches": (0.0, 1.0)}, {WAIT, SPLIT}),
        (PLAIN, (PlayStep(10_000),), {}, {WAIT}),
        (OUTSIDE, (PlayStep(10_000),), {}, {PASS}),
        (OUTSIDE, RAMP, {}, {WAIT, PASS}),
    ],
    ids=[
        "equal", "worse", "worse at full weight", "worse later", "margins of each step", "acts",
        "acts in the last step", "weight 1 twice",
        "edition 1", "edition 1, waves", "edition 1, results lost", "edition 1 acts",
        "results lost", "waves", "waves by number", "steps by number", "one number overridden", "never compared",
        "nothing critical", "nothing critical in steps",
    ],
)  # fmt: skip
def test_every_run_is_decided_as_judge_decides_it(
    config: GateConfig, steps: tuple[PlayStep, ...], callers: dict[str, Any], seen: set[int]
) -> None:
    """Three runs that take their steps at different looks, and one of which ends."""
    book, found, looks = Book(steps, 150), set(), 0
    memory: dict[int, Memory] = defaultdict(Memory)

    def compare(runs: Runs) -> Any:
        nonlocal looks
        looks += 1
        book.take(runs)
        codes = gate(runs)
        for row, run in enumerate(runs.scene.ids):
            verdict = judge(config, book.tally(config, run, int(runs.scene.step[row])), memory[run])
            assert codes[row] == CODES[verdict.outcome.value, verdict.alarm], (looks, run, verdict)
            memory[run] = Memory(by_strata=verdict.memory.by_strata)
            assert bool(runs.by_strata[row]) == verdict.memory.by_strata
        found.update(codes.tolist())
        moves = [
            looks % (7 + run) == 0 and runs.scene.step[row] + 1 < len(steps) for row, run in enumerate(runs.scene.ids)
        ]
        ends = (runs.scene.ids == 1) & (looks == 16)
        return np.where(ends, FAIL, np.where(moves, PASS, WAIT))

    Runs(config, steps, Drawn(config, **callers), 3, 150).play(1500, lambda _done: 50, compare)
    assert looks == 30
    assert found == seen


ALONE = from_plan({"profile": "none"})


def ends_of(
    steps: tuple[PlayStep, ...], per_day: float = 10, most: int = 100, hours: Hours | None = None, code: int = PASS
) -> tuple[int, int, int, float]:
    """How a run whose gate always answers `code` ends: how, after how many calls, canary calls and days."""
    runs = Runs(ALONE, steps, Drawn(ALONE), 2, per_day, hours or Hours())
    ends = runs.play(most, lambda _done: 1, lambda runs: np.full(len(runs.scene.ids), code))
    assert (ends.calls == ends.calls[0]).all()
    return int(ends.how[0]), int(ends.calls[0]), int(ends.canary[0]), float(ends.days[0])


@pytest.mark.parametrize(
    ("steps", "calls"),
    [
        ((PlayStep(10_000, DAY / 2),), 5),
        ((PlayStep(10_000, DAY / 2), PlayStep(10_000, DAY)), 15),
        ((PlayStep(10_000, DAY / 2, min_calls=7), PlayStep(10_000, DAY / 5, min_calls=2)), 9),
        ((PlayStep(10_000, min_calls=7), PlayStep(10_000, min_calls=4)), 11),
        ((PlayStep(10_000), PlayStep(10_000)), 2),
    ],
)
def test_a_step_is_left_at_the_first_look_at_its_hold_and_its_least_calls(
    steps: tuple[PlayStep, ...], calls: int
) -> None:
    assert ends_of(steps) == (PASS, calls, calls, calls / 10)


@pytest.mark.parametrize(
    ("hold", "days"),
    [(0.2, 0.2), (0.22, 0.25), (0.3, 1.0), (1.0, 1.0), (1.3, 1.3), (1.6, 2.0)],
    ids=["open", "just before it closes", "closed", "as it opens", "the next day", "the next night"],
)
def test_a_step_is_left_in_open_hours_alone(hold: float, days: float) -> None:
    hours = Hours((0.25, 1.0, 1.5, 2.0))
    assert ends_of((PlayStep(10_000, hold * DAY),), hours=hours)[3] == pytest.approx(days)


@pytest.mark.parametrize(("hold", "days"), [(0.2, 0.2), (0.26, 1.1), (0.5, 1.3), (0.6, 1.4), (0.74, 1.5), (0.76, 2.1)])
def test_an_open_hold_counts_open_hours_alone(hold: float, days: float) -> None:
    hours = Hours((0.25, 1.0, 1.5, 2.0))
    assert ends_of((PlayStep(10_000, hold * DAY, open=True),), hours=hours)[3] == pytest.approx(days)
    two = (PlayStep(10_000, 0.1 * DAY), PlayStep(10_000, (hold - 0.1) * DAY, open=True))
    assert ends_of(two, hours=hours)[3] == pytest.approx(days), "from the moment at which the step began"


def test_a_run_that_fails_or_decides_nothing_says_after_how_much() -> None:
    assert ends_of((PlayStep(10_000),), code=FAIL) == (FAIL, 1, 1, 0.1)
    assert ends_of((PlayStep(10_000),), most=25, code=WAIT) == (WAIT, 25, 25, 2.5)
    how, calls, canary, days = ends_of((PlayStep(2_000),), most=25, code=WAIT)
    assert (how, calls, days) == (WAIT, 25, 2.5)
    assert 0 < canary < 12


def test_no_look_reaches_over_the_end_of_a_day_or_of_the_calls() -> None:
    seen, left = [], 20

    def look(runs: Runs) -> Any:
        seen.append((int(runs.scene.since_call[0]), int(runs.cell[0])))
        return np.full(1, WAIT)

    Runs(ALONE, (PlayStep(1000),), Drawn(ALONE), 1, 7.5).play(left, lambda _done: 5, look)
    assert seen == [(5, 0), (8, 0), (13, 1), (15, 1), (20, 2)]


def test_looks_are_at_every_call_at_first_and_then_in_three_per_cent_more() -> None:
    assert [thinning(done) for done in (0, 30, 59, 60, 3000)] == [1, 1, 1, 2, 100]


def test_without_gates_every_look_passes() -> None:
    runs = Runs(ALONE, (PlayStep(1000, DAY),), Drawn(ALONE), 2, 10)
    assert (runs.play(100).how == PASS).all()
