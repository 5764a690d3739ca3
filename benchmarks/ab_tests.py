"""A/B tests that end by plan, against modelled callers. Run: python -m benchmarks.ab_tests

A thousand tests of each kind, two variants and the baseline with a third of 435 calls a day each, standard gates; decided
after so many calls a variant. Prints the table, and with --write puts it into docs/gates.md. Everything is seeded.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core; must stand before numpy

import numpy as np

from rollout.domain.gates.profiles import gate_config
from rollout.domain.rehearsal.ab_test import BASELINE, ABTest, Decided, play_decision
from rollout.domain.rehearsal.rehearsal import base_rates

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- A/B tests: made by python -m benchmarks.ab_tests --write -->\n", "<!-- end of A/B tests -->\n"
SHARES = {"b": 3300, "c": 3300}
PER_DAY = 435.0
MOMENTS = (500, 1_000, 2_000)  # calls of each variant
# Points by which b and c are better than the baseline in success; hard errors that b has more of, in points.
WORLDS: Mapping[str, tuple[int, int, int]] = {
    "equal": (0, 0, 0),
    "b 10 points better": (10, 0, 0),
    "b 5 points better": (5, 0, 0),
    "both 10 points better": (10, 10, 0),
    "b 10 points better, 5 points more hard errors": (10, 0, 5),
    "b 5 points worse": (-5, 0, 0),
    "b 10 points worse": (-10, 0, 0),
    "both 10 points worse": (-10, -10, 0),
}


def rates_of(points: tuple[int, int, int]) -> dict[str, dict[str, float]]:
    """The bad rates of every version."""
    config = gate_config("standard")
    base, (b, c, hard) = base_rates(config), points
    found = {BASELINE: base, "b": dict(base), "c": dict(base)}
    for name, better in (("b", b), ("c", c)):
        found[name]["success"] = base["success"] - better / 100
    found["b"]["hard_error"] += hard / 100
    return found


def play(world: str, moment: int, runs: int) -> Decided:
    """The ends of these tests."""
    calls = round(moment / (min(SHARES.values()) / 10_000))
    rng = np.random.default_rng(20_261_127 + moment)
    test = ABTest(SHARES, calls, calls / PER_DAY)
    return play_decision(gate_config("standard"), test, rates_of(WORLDS[world]), name=world, runs=runs, rng=rng)


def table(runs: int) -> str:
    """All worlds at all moments, in percent."""
    head = " | ".join(f"{moment:,} calls a variant" for moment in MOMENTS)
    lines = [f"| variants | {head} |", "| --- |" + " --- |" * len(MOMENTS)]
    for world in WORLDS:
        cells = []
        for moment in MOMENTS:
            end = play(world, moment, runs)
            parts = (*end.shipped.values(), max(0.0, end.nothing), end.failed)
            cells.append(" / ".join(f"{100 * part:.1f}" for part in parts))
        lines.append(f"| {world} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table; --write puts it into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    found = table(given.runs)
    print(found)
    if given.write:
        page = DOCS / "gates.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}{found}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
