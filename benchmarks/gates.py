"""The gate beside the rules that others use, on the same modelled calls. Run: python -m benchmarks.gates

Prints the tables, and with --write puts them into docs/gates.md with two plots. --runs 100 for a short look.
Rollouts end after 2,000 calls at 50 calls a day; the gate looks at every call until the 200th, then at every
fifth. Everything is seeded.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core; must stand before numpy

import numpy as np

from benchmarks.gate_anchors import RULES
from benchmarks.gate_plots import dots
from benchmarks.gate_worlds import (
    PLAIN,
    SERIES,
    Streams,
    World,
    canaries,
    harmless,
    in_waves,
    ladders,
    late_breaks,
    numbers_apart,
    unjudged,
)
from rollout.domain import evidence as ev
from rollout.domain import forecast
from rollout.domain.calls import Cell
from rollout.domain.gates import Tally, gate_config, judge
from rollout.domain.playing import Ends, PlayStep, Policy, Runs, every_call, gate
from rollout.domain.profiles import GateConfig
from rollout.domain.proposals import expected_calls
from rollout.domain.rehearsal import USUAL_RATES
from rollout.domain.weighing import FAIL, PASS, WAIT

CALLS, PER_DAY = 2000, 50.0
OURS = "forty bets"
NAMES = (OURS, *RULES)
ROLLING = tuple(n for n in NAMES if n != "minimum calls")  # that one rolls back exactly as ours does
DOCS = Path(__file__).resolve().parent.parent / "docs"


def spacing(done: int) -> int:
    return 1 if done < 200 else 5


def scheduled(policy: Policy, at: int) -> Policy:
    """The weight rises by itself after `at` calls and nothing is promoted: only rolling back is judged."""

    def decide(runs: Runs) -> np.ndarray:
        code = policy(runs)
        return np.where(code == FAIL, FAIL, np.where(runs.scene.since_call >= at, PASS, WAIT))

    return decide


def play(
    world: World,
    rule: str,
    config: GateConfig,
    streams: Streams,
    runs: int,
    look: Callable[[int], int] = spacing,
    calls: int = CALLS,
) -> Ends:
    policy = gate if rule == OURS else RULES[rule]()
    if config.edition >= 2 and not config.history:
        config = replace(config, history=world.history())
    if world.fixed or world.ramp:
        policy = scheduled(policy, world.ramp or 10 * CALLS)
    evidence = rule in (OURS, "minimum calls")
    # Rules that do not know days need no daily ledgers: a day without end.
    engine = Runs(config, world.plan(), streams, runs, PER_DAY if evidence else 1e9)
    ends = engine.play(calls, look if evidence else every_call, policy)
    if world.ramp:  # leaving the last step by schedule is no promotion
        ends.how[ends.how == PASS] = WAIT
    return ends


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def cell(ends: Ends) -> str:
    """rolled back (median canary calls / calls) | promoted (median calls)."""
    back, done = ends.how == FAIL, ends.how == PASS
    text = percent(float(back.mean()))
    if back.mean() >= 0.05:
        text += f" ({np.median(ends.canary[back]):.0f}/{np.median(ends.calls[back]):.0f})"
    text += f", {percent(float(done.mean()))}"
    if done.mean() >= 0.05:
        text += f" ({np.median(ends.calls[done]):.0f})"
    return text


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


Found = dict[str, dict[str, Ends]]


def campaign(runs: int, seed: int, say: Callable[[str], None]) -> tuple[list[str], Found, Found]:
    """All worlds under all rules; (Markdown tables, results of the canary worlds, of the harmless worlds)."""
    out: list[str] = []
    profiles = {
        OURS: gate_config(),
        "low-traffic": gate_config("low-traffic"),
        "strict": gate_config("strict"),
    }
    grand: Found = {}
    for i, world in enumerate(canaries(CALLS)):
        streams, grand[world.name] = Streams(world, runs, CALLS, seed + i), {}
        for name in (*profiles, *RULES):
            look = every_call if world.name == "equal" and name == OURS else spacing
            rule = OURS if name in profiles else name
            grand[world.name][name] = play(
                world, rule, profiles.get(name, profiles[OURS]), streams, runs, look
            )
        say(f"{world.name}: {cell(grand[world.name][OURS])}")
    heads = [*profiles, *RULES]
    out.append(table(["canary", *heads], [[w, *(cell(r[h]) for h in heads)] for w, r in grand.items()]))
    calm: Found = {}
    for i, world in enumerate(harmless(CALLS)):
        streams = Streams(world, runs, CALLS, seed + 100 + i)
        calm[world.name] = {name: play(world, name, profiles[OURS], streams, runs) for name in ROLLING}
        say(f"{world.name}: {cell(calm[world.name][OURS])}")
    rows = [[w, *(percent(float((r[n].how == FAIL).mean())) for n in ROLLING)] for w, r in calm.items()]
    out.append(table(["harmless canary, rolled back", *ROLLING], rows))
    rows = []
    for i, world in enumerate(late_breaks(CALLS)):
        streams = Streams(world, runs, CALLS, seed + 200 + i)
        found = {n: play(world, n, profiles[OURS], streams, runs) for n in ROLLING}
        rows.append([world.name, *(_after(found[n], 300) for n in ROLLING)])
    out.append(table(["breaks late: before it, after it (calls after it)", *ROLLING], rows))
    return out, grand, calm


EARLIER = gate_config(edition=1)


def second_look(runs: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """The worlds that the first campaign did not try, under the rules of before and of now."""
    groups = {
        "a split that is wrong on one number": (numbers_apart(), CALLS),
        "worse in wave 2 only": (in_waves(), 2 * CALLS),
        "ladders that jump to 1": (ladders(), CALLS),
        "results that never come": (unjudged(), CALLS),
    }
    out = []
    for g, (title, (worlds, calls)) in enumerate(groups.items()):
        rows = []
        for i, world in enumerate(worlds):
            streams = Streams(world, runs, calls, seed + 300 + 20 * g + i)
            before, now = (play(world, OURS, c, streams, runs, calls=calls) for c in (EARLIER, gate_config()))
            rows.append([world.name, cell(before), cell(now)])
            say(f"{world.name}: {cell(before)} | {cell(now)}")
        out.append(table([title, "before", "now"], rows))
    return [*out, knowing(runs, seed, say)]


def knowing(runs: int, seed: int, say: Callable[[str], None]) -> str:
    """Bets that know the baseline's rate, right and wrong."""
    worlds = [
        World(n, canary={"success": 0.15 + p})
        for n, p in (("equal", 0.0), ("5 worse", 0.05), ("10 worse", 0.1))
    ]
    histories = {"right": {}, "10 %": {"success": 0.10}, "22 %": {"success": 0.22}}
    rules = {
        "before (no history, last margin .10)": EARLIER,
        "now, no history": replace(gate_config(), history={"-": 0.0}),
    }
    rules |= {
        f"now, history {n}": replace(gate_config(), history={**PLAIN, **h}) for n, h in histories.items()
    }
    found: dict[str, list[str]] = {name: [] for name in rules}
    for i, world in enumerate(worlds):
        streams = Streams(world, runs, CALLS, seed + 400 + i)
        for name, config in rules.items():
            found[name].append(cell(play(world, OURS, config, streams, runs)))
            say(f"{name}, {world.name}: {found[name][-1]}")
    return table(["bets", *(w.name for w in worlds)], [[n, *cells] for n, cells in found.items()])


def _after(ends: Ends, at: int) -> str:
    early, back = (ends.how == FAIL) & (ends.calls <= at), (ends.how == FAIL) & (ends.calls > at)
    when = f" ({np.median(ends.calls[back] - at):.0f})" if back.any() else ""
    return f"{percent(float(early.mean()))}, {percent(float(back.mean()))}{when}"


def forecasts(runs: int, seed: int, equal: Ends) -> str:
    """The forecast made before the first call beside the median of what then happened."""
    rows, rng = [], np.random.default_rng(seed)
    base = {**USUAL_RATES, **PLAIN}
    plan = [expected_calls(gate_config(), PlayStep(w), i, base)[0] for i, w in enumerate((1000, 5000))]
    real = float(np.median(equal.calls[equal.how == PASS]))
    rows.append(
        [
            "the whole plan, equal canary",
            "0.1, 0.5",
            f"{sum(plan):.0f}",
            f"{real:.0f}",
            f"{100 * (sum(plan) / real - 1):+.0f} %",
        ]
    )
    for what, w, b, c, margin, level in (
        ("prove at most 25 points", 0.1, 0.15, 0.15, 0.25, 0.1),
        ("prove at most 15 points", 0.1, 0.01, 0.01, 0.15, 0.1),
        ("prove at most 10 points", 0.5, 0.15, 0.15, 0.10, 0.1),
        ("prove at most 5 points", 0.5, 0.01, 0.01, 0.05, 0.1),
        ("find 20 points", 0.1, 0.15, 0.35, 0.0, 0.1),
        ("find 10 points", 0.5, 0.15, 0.25, 0.0, 0.1),
        ("find 20 points", 0.5, 0.15, 0.35, 0.0, 0.1),
    ):
        expected = (
            forecast.to_prove(w, margin, b, level) if margin else forecast.calls_needed(w, 0.0, b, c, level)
        )
        assert expected is not None
        n = int(6 * expected.half)
        who, bad = rng.random((runs, n)) < w, rng.random((runs, n))
        bad_c, bad_b = who & (bad < c), ~who & (bad < b)
        marks = np.arange(4, n, 5)
        counts = np.stack([bad_c, who & ~bad_c, bad_b, ~who & ~bad_b], -1).cumsum(1)[:, marks]
        e = ev.log_e(counts[:, :, None], (w,), margin, "safe" if margin else "harm")
        hit = e >= np.log(1 / level)
        first = np.where(hit.any(1), marks[hit.argmax(1)] + 1, 10**9)
        real = float(np.median(first))
        rows.append(
            [
                what,
                f"{w:g}",
                f"{expected.half:.0f}",
                f"{real:.0f}",
                f"{100 * (expected.half / real - 1):+.0f} %",
            ]
        )
    return table(
        [
            "forecast before the first call (one metric, but for the first row)",
            "weight",
            "calls expected",
            "calls needed, median",
            "error",
        ],
        rows,
    )


def speed() -> str:
    """Median time of one verdict, four metrics over 30 cells, with its evidence and its sentence."""
    rng, cells = np.random.default_rng(1), []
    for day in range(30):
        w, position = (0.1, 1) if day < 15 else (0.5, 2)
        nc, counts = int(rng.binomial(50, w)), {}
        for s, p in zip(SERIES, (0.15, 0.01, 0.5, 0.1, 0.2), strict=True):
            fc, fb = int(rng.binomial(nc, p)), int(rng.binomial(50 - nc, p))
            counts[s] = (fc, nc - fc, fb, 50 - nc - fb)
        cells.append(Cell(w, position, f"2026-01-{day + 1:02}", (nc, 50 - nc), (nc, 50 - nc), counts))
    config, tally, times = gate_config(), Tally(tuple(cells), 2, 2, 0.5, calls_per_day=50), []
    for _ in range(101):
        begin = time.perf_counter()
        judge(config, tally)
        times.append(time.perf_counter() - begin)
    return f"One verdict on 4 metrics x 30 cells: {1000 * float(np.median(times)):.1f} ms (median of {len(times)})."


def plots(grand: Found, calm: Found) -> dict[str, str]:
    def share(ends: Ends, how: int) -> float:
        return 100 * float((ends.how == how).mean())

    good = {"equal, whole rollout": grand["equal"], **calm}
    rows = [(w, {n: share(r[n], FAIL) for n in ROLLING}) for w, r in good.items()]
    bad = [w for w in grand if re.search(r"worse|outage|hard|slow", w)]
    wrong = [(w, {n: share(grand[w][n], PASS) for n in NAMES}) for w in bad]
    return {
        "gates-harmless.svg": dots(
            "Harmless canaries that are rolled back", "% of rollouts", rows, ROLLING, 100
        ),
        "gates-harmful.svg": dots("Worse canaries that are promoted", "% of rollouts", wrong, NAMES, 100),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="rollouts per world (default 1000)")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--second", action="store_true", help="only the worlds of the second look")
    parser.add_argument("--write", action="store_true", help="write the tables and plots into docs/")
    options = parser.parse_args()
    begin = time.perf_counter()
    if options.second:
        found = second_look(options.runs, options.seed, lambda line: print("..", line, file=sys.stderr))
        print("\n\n".join(found), f"\n{time.perf_counter() - begin:.0f} s")
        return 0
    tables, grand, calm = campaign(
        options.runs, options.seed, lambda line: print("..", line, file=sys.stderr)
    )
    tables += [forecasts(options.runs, options.seed, grand["equal"][OURS]), speed()]
    note = f"{options.runs} rollouts per world and rule, seed {options.seed}."
    text = "\n\n".join([note, *tables])
    print(text, f"\n{time.perf_counter() - begin:.0f} s")
    if options.write:
        page = DOCS / "gates.md"
        marked = re.compile(r"(<!-- measured -->\n).*(\n<!-- end -->)", re.DOTALL)
        page.write_text(marked.sub(lambda m: m[1] + text + m[2], page.read_text()))
        for name, svg in plots(grand, calm).items():
            (DOCS / "img" / name).write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
