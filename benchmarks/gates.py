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
from benchmarks.gate_metrics import fourteen
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
from rollout.domain.gates import evidence as ev
from rollout.domain.gates import forecast
from rollout.domain.gates.counting import longest_wait
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import GateConfig, gate_config
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.gates.verdict import Memory
from rollout.domain.gates.weighing import FAIL, PASS, WAIT
from rollout.domain.rehearsal.proposals import expected_calls
from rollout.domain.rehearsal.rehearsal import USUAL_RATES
from rollout.domain.rehearsal.simulation import Ends, PlayStep, Policy, Runs, gate

CALLS, PER_DAY = 2000, 50.0
OURS = "forty bets"
NAMES = (OURS, *RULES)
ROLLING = tuple(n for n in NAMES if n != "minimum calls")  # that one rolls back exactly as ours does
DOCS = Path(__file__).resolve().parent.parent / "docs"


def spacing(done: int) -> int:
    return 1 if done < 200 else 5


def every_call(done: int) -> int:
    """A look after every call."""
    return 1


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
    profiles = {OURS: gate_config(), "low-traffic": gate_config("low-traffic"), "strict": gate_config("strict")}
    grand: Found = {}
    for i, world in enumerate(canaries(CALLS)):
        streams, grand[world.name] = Streams(world, runs, CALLS, seed + i), {}
        for name in (*profiles, *RULES):
            look = every_call if world.name == "equal" and name == OURS else spacing
            rule = OURS if name in profiles else name
            grand[world.name][name] = play(world, rule, profiles.get(name, profiles[OURS]), streams, runs, look)
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
    return [*out, watching(runs, seed), late_results(min(runs, 200), seed), knowing(runs, seed, say)]


def watching(runs: int, seed: int) -> str:
    """Calls at weight 1 until the watch tells, with the one ledger of before and with fresh ones by day. Each rollout has
    its own record of the baseline: 600 calls beside the canary; then 50 calls a day at weight 1."""
    rng, most, shares = (np.random.default_rng(seed + 500), 300, {m.name: m.share for m in gate_config().compared})
    rates = np.array([PLAIN[s] for s in SERIES])
    seen = rng.binomial(600, rates, (runs, len(SERIES)))
    limit = ev.watch_limit(seen, 600 - seen)

    def e(bad: np.ndarray, calls: np.ndarray, fresh: bool) -> np.ndarray:
        """(runs,) of daily counts: bad (runs, days, series), calls (days,)."""
        ledgers = bad[:, ::-1].cumsum(1)[:, ::-1]
        n = calls[::-1].cumsum()[::-1]
        total = np.zeros(len(bad))
        for metric in gate_config().compared:
            parts = []
            for s in metric.series:
                k = SERIES.index(s)
                if fresh:
                    parts.append(ev.watch_e(ledgers[:, :, k], n - ledgers[:, :, k], limit[:, k]))
                else:
                    parts.append(ev.one_sample_e(ledgers[:, 0, k], n[0] - ledgers[:, 0, k], limit[:, k]))
            total += shares[metric.name] * np.mean(parts, axis=0)
        return total

    rows = []
    for days in (1, 7, 14):
        good = rng.binomial(50, rates, (runs, days, len(SERIES)))
        found = []
        for fresh in (False, True):
            told = np.full(runs, most)
            for n in range(1, most):
                gone = np.where(np.isin(SERIES, ("success", "hard_error")), n, 0)
                bad = np.concatenate([good, np.broadcast_to(gone, (runs, 1, len(SERIES)))], axis=1)
                at = e(bad, np.array([50] * days + [n]), fresh) >= 100
                told = np.where(at & (told == most), n, told)
                if (told < most).all():
                    break
            found.append(f"{np.median(told):.0f} ({np.quantile(told, 0.95):.0f})")
        rows.append([f"outage after {days} good day{'s' * (days > 1)}: calls until told, median (95 %)", *found])
    days = 28
    for name, worse, incident in (
        ("no worse", np.zeros(days), 0),
        ("waves: 10 points worse on two days of seven, for both", np.tile([0, 0, 0, 0, 0, 0.1, 0.1], 4), 0),
        ("20 points worse from day 8 on", np.where(np.arange(days) >= 7, 0.2, 0.0), 0),
        ("a week 20 points worse for both", np.where(np.arange(days) // 7 == 1, 0.2, 0.0), 0),
        ("25 calls fail for both on day 8", np.zeros(days), 25),
    ):
        told = {False: np.zeros(runs, dtype=bool), True: np.zeros(runs, dtype=bool)}
        daily: list[np.ndarray] = []
        for day in range(days):
            p = rates.copy()
            p[0] += worse[day]
            bad = rng.binomial(50, p, (runs, len(SERIES)))
            if incident and day == 7:
                bad[:, 0] = incident + rng.binomial(50 - incident, p[0], runs)
            daily.append(bad)
            for fresh in told:
                told[fresh] |= e(np.stack(daily, axis=1), np.full(len(daily), 50), fresh) >= 100
        rows.append([f"{name}: told within 28 days", *(percent(float(told[f].mean())) for f in (False, True))])
    return table(["the watch at weight 1, 50 calls a day", "before", "now"], rows)


def late_results(runs: int, seed: int) -> str:
    """Minutes until an outage that only the analysis sees is rolled back, at weight 0.1 and 5,000 calls a day, of which
    2 % are never analysed: with the fixed wait of before, and with the one that follows the delays seen."""
    rng, rate, rows = np.random.default_rng(seed + 600), 5000 / 1440, []
    config = replace(gate_config(), history=PLAIN)
    for median in (2.0, 10.0, 40.0):
        learned = longest_wait(60 * (2 + median * np.exp(0.5 * rng.standard_normal(2000)))).total_seconds() / 60
        found: dict[float, list[float]] = {120.0: [], learned: []}
        for _ in range(runs):
            n = 2200  # calls, about ten hours; the outage begins after 400 of them
            start = np.cumsum(rng.exponential(1 / rate, n))
            known = start + 2 + median * np.exp(0.5 * rng.standard_normal(n))
            known[rng.random(n) < 0.02] = np.inf
            canary = rng.random(n) < 0.1
            bad = (rng.random(n) < 0.15) | (canary & (np.arange(n) >= 400))
            for wait, minutes in found.items():
                final = np.minimum(known, start + wait)  # when the gate stops waiting for this call
                until = np.maximum.accumulate(final)  # and when all before it are final, too
                order, judged = np.arange(400, n, 2), np.isfinite(known) & (known <= until)
                counts = np.stack([canary & bad, canary & ~bad, ~canary & bad, ~canary & ~bad], -1) & judged[:, None]
                ledgers = counts.cumsum(0)[order][:, None, None, :].astype(float)
                e = ev.ledger_e(ledgers, (0.1,), config.history["success"])
                hit = np.flatnonzero(0.5 * e + 0.5 >= 1 / config.alpha)
                minutes.append(until[order[hit[0]]] - start[400] if len(hit) else np.inf)
        told = [f"{np.median(m):.0f}" for m in found.values()]
        rows.append([f"analyses after {median:g} minutes in the median (wait now {learned:.0f} min)", *told])
    head = "minutes until an outage that only the analysis sees is rolled back, median; weight 0.1, 5,000 calls a day"
    return table([head, "before (wait 120 min)", "now"], rows)


def knowing(runs: int, seed: int, say: Callable[[str], None]) -> str:
    """Bets that know the baseline's rate, right and wrong."""
    worlds = [World(n, canary={"success": 0.15 + p}) for n, p in (("equal", 0.0), ("5 worse", 0.05), ("10 worse", 0.1))]
    histories = {"right": {}, "10 %": {"success": 0.10}, "22 %": {"success": 0.22}}
    rules = {
        "before (no history, last margin .10)": EARLIER,
        "now, no history": replace(gate_config(), history={"-": 0.0}),
    }
    rules |= {f"now, history {n}": replace(gate_config(), history={**PLAIN, **h}) for n, h in histories.items()}
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
        expected = forecast.to_prove(w, margin, b, level) if margin else forecast.calls_needed(w, 0.0, b, c, level)
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
            [what, f"{w:g}", f"{expected.half:.0f}", f"{real:.0f}", f"{100 * (expected.half / real - 1):+.0f} %"]
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


def speed(numbers: int) -> str:
    """Median time of one verdict, four metrics over 30 cells of so many numbers, with its evidence and its sentence;
    once while the split is paid for all together, once by number."""
    rng, cells = np.random.default_rng(1), []
    names = [f"+1415555{i:04}" for i in range(numbers)]
    for day in range(30):
        w, position = (0.1, 1) if day < 15 else (0.5, 2)
        arms = [(int(rng.binomial(50, w)), 0) for _ in names]
        arms = [(nc, 50 - nc) for nc, _ in arms]
        nc, nb = (sum(a[i] for a in arms) for i in (0, 1))
        counts, strata = {}, {n: dict.fromkeys(("", *SERIES), a) for n, a in zip(names, arms, strict=True)}
        for s, p in zip(SERIES, (0.15, 0.01, 0.5, 0.1, 0.2), strict=True):
            fc, fb = int(rng.binomial(nc, p)), int(rng.binomial(nb, p))
            counts[s] = (fc, nc - fc, fb, nb - fb)
        cells.append(Cell(w, position, f"2026-01-{day + 1:02}", (nc, nb), (nc, nb), counts, strata=strata))
    config = replace(gate_config(), history=PLAIN)
    tally = Tally(tuple(cells), 2, 2, 0.5, calls_per_day=50, strata=strata_of(cells, names))
    found = []
    for memory in (Memory(), Memory(by_strata=True)):
        times = []
        for _ in range(31):
            begin = time.perf_counter()
            judge(config, tally, memory)
            times.append(1000 * (time.perf_counter() - begin))
        found.append(f"{float(np.median(times)):.1f}")
    return (
        f"One verdict on 4 metrics x 30 cells x {numbers} number{'s' * (numbers > 1)}: {found[0]} ms, {found[1]} ms where "
        "the split is paid for by number (medians of 31)."
    )


def many_metrics(runs: int, seed: int, say: Callable[[str], None]) -> str:
    """Fourteen metrics in one plan."""
    found = fourteen(runs, seed, CALLS, PER_DAY, spacing, say)
    head = ["fourteen metrics in one plan, standard profile", "rolled back (canary calls/calls), promoted (calls)"]
    note = f"{runs} rollouts per canary, {4 * runs} of the equal one, seed {seed}."
    return f"{note}\n\n" + table(head, [[name, cell(ends)] for name, ends in found])


def plots(grand: Found, calm: Found) -> dict[str, str]:
    def share(ends: Ends, how: int) -> float:
        return 100 * float((ends.how == how).mean())

    good = {"equal, whole rollout": grand["equal"], **calm}
    rows = [(w, {n: share(r[n], FAIL) for n in ROLLING}) for w, r in good.items()]
    bad = [w for w in grand if re.search(r"worse|outage|hard|slow", w)]
    wrong = [(w, {n: share(grand[w][n], PASS) for n in NAMES}) for w in bad]
    return {
        "gates-harmless.svg": dots("Harmless canaries that are rolled back", "% of rollouts", rows, ROLLING, 100),
        "gates-harmful.svg": dots("Worse canaries that are promoted", "% of rollouts", wrong, NAMES, 100),
    }


def _put(mark: str, text: str) -> None:
    """Puts the text between its marks in docs/gates.md."""
    page = DOCS / "gates.md"
    marked = re.compile(rf"(<!-- {mark} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    page.write_text(marked.sub(lambda m: m[1] + text + m[2], page.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="rollouts per world (default 1000)")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--second", action="store_true", help="only the worlds of the second look")
    parser.add_argument("--metrics", action="store_true", help="only fourteen metrics in one plan")
    parser.add_argument("--write", action="store_true", help="write the tables and plots into docs/")
    options = parser.parse_args()
    begin = time.perf_counter()
    if options.metrics:
        text = many_metrics(options.runs, options.seed, lambda line: print("..", line, file=sys.stderr))
        print(text, f"\n{time.perf_counter() - begin:.0f} s")
        if options.write:
            _put("fourteen metrics", text)
        return 0
    if options.second:
        found = second_look(options.runs, options.seed, lambda line: print("..", line, file=sys.stderr))
        note = f"{options.runs} rollouts per world and rule (of the last table but one, {min(options.runs, 200)})"
        text = "\n\n".join([f"{note}, seed {options.seed}. Cells read as above where they have two parts.", *found])
        print(text, f"\n{time.perf_counter() - begin:.0f} s")
        if options.write:
            _put("second look", text)
        return 0
    tables, grand, calm = campaign(options.runs, options.seed, lambda line: print("..", line, file=sys.stderr))
    tables += [forecasts(options.runs, options.seed, grand["equal"][OURS])]
    tables += [speed(n) for n in (1, 4, 200)]
    note = f"{options.runs} rollouts per world and rule, seed {options.seed}."
    text = "\n\n".join([note, *tables])
    more = many_metrics(options.runs, options.seed, lambda line: print("..", line, file=sys.stderr))
    print(text, more, f"\n{time.perf_counter() - begin:.0f} s")
    if options.write:
        _put("measured", text)
        _put("fourteen metrics", more)
        for name, svg in plots(grand, calm).items():
            (DOCS / "img" / name).write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
