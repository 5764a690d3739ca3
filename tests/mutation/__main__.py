"""Draws random mutants of the code that matters and counts those that the tests kill.

The quick tests run once with coverage, which tells the tests that reach each line. Then each mutant runs in a copy of
the tree against the tests that reach its line. The same seed draws the same mutants of the same code. Ends with
status 1 when fewer than --goal of them are killed, and with 2 when none was played.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from coverage import CoverageData

from tests.mutation import reached
from tests.mutation.operators import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
CODE = ("rollout/domain/", "rollout/engine/", "rollout/kit/program/", "rollout/adapters/retell/", "jobs/")
TESTS = (
    "tests/unit", "tests/scenarios", "tests/integration/planfile",
    "tests/integration/retell", "tests/integration/kit", "tests/integration/notify",
)  # fmt: skip
FIRST_TESTS, MOST_TESTS = 60, 800  # for one mutant: most are killed by the first, the others are shown to all
SECONDS = 120  # a mutant that runs longer with its first tests hangs, and is killed by that
WITHOUT = ("cacheprovider", "xdist", "schemathesis", "playwright", "base_url")  # plugins that take long to load
PYTEST = (sys.executable, "-B", "-m", "pytest", "-q", *(f"-pno:{plugin}" for plugin in WITHOUT))


@dataclass(frozen=True)
class Reach:
    """Which tests reach which lines, the most telling first: unit tests, then whoever reaches few other lines."""

    lines: dict[str, dict[int, list[str]]]

    @classmethod
    def of(cls, data: Path, without: set[str]) -> Reach:
        """As coverage has measured it, without tests that fail by themselves."""
        measured = CoverageData(str(data))
        measured.read()
        lines = {file: measured.contexts_by_lineno(file) for file in sorted(measured.measured_files())}
        width = Counter(test for by_line in lines.values() for tests in by_line.values() for test in tests)

        def order(test: str) -> tuple[bool, int, str]:
            return not test.startswith("tests/unit/"), width[test], test

        return cls(
            {
                file: {line: sorted(set(t) - without - {""}, key=order) for line, t in by_line.items()}
                for file, by_line in lines.items()
            }
        )

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant."""
        lines = self.lines[mutant.file]
        return (lines.get(mutant.line) or lines.get(mutant.statement) or [])[:MOST_TESTS]


def main() -> int:
    """Plays the mutants and prints the survivors."""
    options = _parser().parse_args()
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="rollout-mutants-") as folder:
        trees = [_copy(Path(folder) / str(i)) for i in range(options.jobs)]
        reach = _measured(trees[0], options.coverage)
        drawn = _drawn(trees[0], reach, options.seed, options.count, options.only)
        print(f"{len(drawn)} mutants, seed {options.seed}", flush=True)
        killed, survived = _play(drawn, trees, reach, until)
    played = killed + survived
    if not played:
        print("no mutant was played")
        return 2
    late = len(drawn) - played
    print(f"{killed} of {played} mutants killed, {killed / played:.1%}" + (f"; {late} not begun in time" * (late > 0)))
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


def _copy(target: Path) -> Path:
    """The tree as it is, with what is not committed yet."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def _measured(tree: Path, kept: Path | None) -> Reach:
    data = (kept or tree / "reached").resolve()
    failed = data.with_suffix(".failed")
    if not data.exists():
        print("which tests reach which lines: one run with coverage ...", flush=True)
        settings = tree / ".coveragerc-mutation"
        settings.write_text(f"[run]\nrelative_files = True\nsource = {', '.join(CODE)}\n")
        failed.write_text("")
        subprocess.run(
            [sys.executable, "-B", "-m", "coverage", "run", f"--rcfile={settings}", f"--data-file={data}",
             *PYTEST[2:], "-m", "not slow", "-p", "tests.mutation.reached", *TESTS],
            cwd=tree, env={**os.environ, reached.FAILED: str(failed)}, check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    without = set(failed.read_text().split())
    for name in sorted(without):
        print("fails without a mutant, and is left out:", name, flush=True)
    return Reach.of(data, without)


def _drawn(tree: Path, reach: Reach, seed: int, count: int, only: str) -> list[Mutant]:
    sources = {file: (tree / file).read_bytes() for file in reach.lines if only in file and (tree / file).exists()}
    every = [m for file, source in sources.items() for m in mutants_of(file, source) if reach.tests(m)]
    shuffled = random.Random(seed).sample(every, len(every))
    return list(islice((m for m in shuffled if m.compiles(sources[m.file])), count))


def _play(drawn: list[Mutant], trees: list[Path], reach: Reach, until: float) -> tuple[int, int]:
    """How many were killed and how many survived."""
    free = list(trees)

    def survives(mutant: Mutant) -> bool | None:
        if time.monotonic() > until:
            return None
        tree = free.pop()
        try:
            return _survives(mutant, tree, reach.tests(mutant))
        finally:
            free.append(tree)

    found: Counter[bool | None] = Counter()
    with concurrent.futures.ThreadPoolExecutor(len(trees)) as pool:
        for mutant, survived in zip(drawn, pool.map(survives, drawn), strict=True):
            found[survived] += 1
            if found.total() % 20 == 0:
                print(f"... {found[False]} killed, {found[True]} survived", flush=True)
            if survived:
                print("survived:", mutant, flush=True)
    return found[False], found[True]


def _survives(mutant: Mutant, tree: Path, tests: list[str]) -> bool:
    path = tree / mutant.file
    source = path.read_bytes()
    path.write_bytes(mutant.apply(source))
    try:
        first, rest = tests[:FIRST_TESTS], tests[FIRST_TESTS:]
        return _pass(tree, first, SECONDS, late=False) and _pass(tree, rest, 3 * SECONDS, late=True)
    finally:
        path.write_bytes(source)


def _pass(tree: Path, tests: list[str], seconds: float, *, late: bool) -> bool:
    """Whether all of these pass; `late` when they take longer."""
    if not tests:
        return True
    command = [*PYTEST, "-x", *tests]
    try:
        done = subprocess.run(command, cwd=tree, check=False, timeout=seconds, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return late
    if "ERROR: not found:" in done.stdout + done.stderr:
        raise RuntimeError("the tests are not those that were measured: measure anew, without --coverage")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
