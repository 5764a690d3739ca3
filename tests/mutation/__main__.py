"""Draws random mutants of the code that matters and counts those that the tests kill.

The quick tests run once with coverage, which tells the tests that reach each line. Then each mutant is shown to the
tests that reach its line, those first that reach few others. The same seed draws the same mutants of the same code.
Ends with status 1 when fewer than --goal of them are killed, and with 2 when none was played.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from coverage import CoverageData

from tests.mutation import reached
from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.play import Outcome, Player

ROOT = Path(__file__).resolve().parents[2]
CODE = ("rollout/domain/", "rollout/engine/", "rollout/kit/program/", "rollout/adapters/retell/", "jobs/")
TESTS = (  # in two parts, which are measured side by side
    ("tests/unit", "tests/scenarios", "tests/integration/notify", "tests/integration/planfile"),
    ("tests/simulation", "--ignore=tests/simulation/test_mutants.py",
     *(f"tests/integration/{part}" for part in ("retell", "kit", "api", "store", "retention", "sandbox"))),
)  # fmt: skip
WITHOUT = ("cacheprovider", "xdist", "schemathesis", "playwright", "base_url")
PYTEST = ("-q", "-m", "not slow and not postgres", *(f"-pno:{plugin}" for plugin in WITHOUT))

Reach = dict[str, dict[int, list[str]]]
"""The tests that reach each line of each file, the most telling first."""


def main() -> int:
    """Plays the mutants and prints those that were not killed."""
    options = _parser().parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="rollout-mutants-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder  # what fails with a mutant is no example for later
        reach = _reach(options.coverage or Path(folder) / "reached", Path(folder))
        drawn = _drawn(reach, options.seed, options.count, options.only)
        print(f"{len(drawn)} mutants, seed {options.seed}", flush=True)
        player = Player(drawn, options.jobs, time.monotonic() + options.minutes * 60)
        pytest.main([*PYTEST, *(test for part in TESTS for test in part)], plugins=[player])
    killed, survived = player.outcomes[Outcome.KILLED], player.outcomes[Outcome.SURVIVED]
    if not (played := killed + survived):
        print("no mutant was played")
        return 2
    rest = len(drawn) - played
    print(f"{killed} of {played} mutants killed, {killed / played:.1%}" + (f"; {rest} not played" if rest else ""))
    return 0 if killed / played >= options.goal else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="mutants to draw")
    parser.add_argument("--minutes", type=float, default=60, help="no mutant is begun later than this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--goal", type=float, default=0.92, help="the share of mutants to kill")
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument(
        "--coverage", type=Path, help="keep in this file what the tests reach, or use it again for the same code"
    )
    return parser


def _reach(data: Path, folder: Path) -> Reach:
    failed = data.with_suffix(".failed")
    if not data.exists():
        print("which tests reach which lines: one run with coverage ...", flush=True)
        settings = folder / "coveragerc"
        settings.write_text(f"[run]\nrelative_files = True\nsource = {', '.join(CODE)}\n")
        failed.touch()
        parts = [folder / f"part-{i}" for i in range(len(TESTS))]

        def measure(part: Path, tests: tuple[str, ...]) -> None:
            command = ["coverage", "run", f"--rcfile={settings}", f"--data-file={part}", "-m", "pytest", *PYTEST]
            command = [sys.executable, "-m", *command, "-p", "tests.mutation.reached", *tests]
            told = {**os.environ, reached.FAILED: str(failed)}
            subprocess.run(command, env=told, check=False, stdout=subprocess.DEVNULL)

        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(measure, parts, TESTS))
        whole = CoverageData(str(data))
        for part in parts:
            whole.update(_read(part))
        whole.write()
    without = set(failed.read_text().split())
    for name in sorted(without):
        print("fails without a mutant, and is left out:", name, flush=True)
    measured = _read(data)
    lines = {file: measured.contexts_by_lineno(file) for file in sorted(measured.measured_files())}
    width = Counter(test for by_line in lines.values() for tests in by_line.values() for test in tests)

    def order(test: str) -> tuple[bool, int, str]:
        return not test.startswith("tests/unit/"), width[test], test

    return {
        file: {line: sorted({*tests} - without - {""}, key=order) for line, tests in by_line.items()}
        for file, by_line in lines.items()
    }


def _read(data: Path) -> CoverageData:
    found = CoverageData(str(data))
    found.read()
    return found


def _drawn(reach: Reach, seed: int, count: int, only: str) -> list[tuple[Mutant, list[str]]]:
    every = [
        (mutant, tests)
        for file, lines in reach.items()
        if only in file
        for mutant in mutants_of(file, Path(file).read_bytes())
        if (tests := lines.get(mutant.line) or lines.get(mutant.statement))
    ]
    shuffled = random.Random(seed).sample(every, len(every))
    return list(islice((m for m in shuffled if m[0].compiles(Path(m[0].file).read_bytes())), count))


if __name__ == "__main__":
    sys.exit(main())
