"""`make bench`: the whole job beside what people use instead, on the same server in the same run.

Every figure is the median of at least three runs, each in a fresh process; ratios come first, since durations
depend on the machine. `--write` puts the tables and the growth curve into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.job import STEPS
from benchmarks.speed_report import document, plot

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "img" / "performance-growth.svg"
RIVALS = ROOT / ".venv-bench"
RIVAL_NAMES = ("sdk", "dbos", "apscheduler", "procrastinate")
SHARED = (32, 30)  # rollouts that replicas share, and numbers in each


@contextlib.contextmanager
def server(count: int, latency: float) -> Iterator[str]:
    """The lean server in a process of its own with `count` numbers and this latency in seconds."""
    command = [sys.executable, "-m", "benchmarks.retell_server", str(count), str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def job(*arguments: str, timeout: float = 600) -> dict[str, Any]:
    """One measured job in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.job", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=timeout
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def services(kind: str, url: str, database: str, *counts: int) -> dict[str, Any]:
    """One job with real services; see benchmarks.services."""
    command = [sys.executable, "-m", "benchmarks.services", kind, url, database, *map(str, counts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rival(name: str, url: str, database: str, count: int) -> float:
    """Durable steps a second of one rival; its environment is made on first use."""
    python = RIVALS / "bin" / "python"
    if not python.exists():
        venv.create(RIVALS, with_pip=True)
        lock = ROOT / "requirements" / "bench.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)], check=True)
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / "rivals.py"), name, url, database, str(count)],
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=tempfile.mkdtemp(),
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])


def sqlite() -> str:
    return f"sqlite:///{tempfile.mkdtemp(prefix='rollout-bench-')}/bench.db"


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """A PostgreSQL server that waits for its disk at each commit, as SQLite does; None when none can be had."""
    sys.path.insert(0, str(ROOT))
    from tests.support import postgres as support

    try:
        with support.server(durable=True) as running:
            yield running
    except support.NoServer as error:
        print(f"no PostgreSQL: {error}", file=sys.stderr)
        yield None


def between(text: str, name: str, new: str) -> str:
    """A document with what stands between two marks replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{new}\n{end}{rest.partition(end)[2]}"


def median(values: list[Any]) -> Any:
    """Of figures, or of each figure of several documents."""
    if isinstance(values[0], dict):
        return {key: statistics.median(v[key] for v in values) for key in values[0]}
    return statistics.median(values)


def measure(count: int, repeats: int) -> dict[str, Any]:
    """Every figure of the document.

    What is compared is measured in turns, and not one after the other: the speed of a shared machine changes within
    minutes, and a ratio must not change with it.
    """
    several: dict[Any, list[Any]] = defaultdict(list)
    before = os.getloadavg()[0]
    with postgres() as pg:
        for _ in range(repeats):
            _jobs(several, pg, count)
        for turn in range(repeats if pg is not None else 0):
            for ms in (50, 200) if turn == 0 else (200,):
                for n in (1, 2, 4):
                    with server(SHARED[0] * SHARED[1], ms / 1000) as url:
                        several["replicas", ms, n].append(services("replicas", url, pg.make(), n, *SHARED))
        filled = {n: sqlite() for n in (100, 10_000, 100_000)}
        for n, database in filled.items():
            job("fill", "-", database, str(n))  # in another process than the one that is measured
        for _ in range(repeats):
            for n, database in filled.items():
                several["waiting", n].append(job("waiting", "-", database, str(n)))
        with server(count, 0.0) as url:
            due = services("due", url, sqlite(), 100_000, count)
    for _ in range(repeats):
        for size in (100, 1000, 10_000):
            with server(size, 0.0) as url:
                several["growth", size].append(job("rollout", url, sqlite(), str(size), timeout=1200))
    found: dict[str, Any] = {"numbers": count, "repeats": repeats, "due": due, "load": (before, os.getloadavg()[0])}
    for key, values in several.items():
        if isinstance(key, str):
            found[key] = median(values)
        else:
            *path, last = key
            place = found
            for name in path:
                place = place.setdefault(name, {})
            place[last] = median(values)
    return found


def _jobs(several: dict[Any, list[Any]], pg: Any, count: int) -> None:
    """One turn of the whole job and of everything it is compared with, each on a server that nobody has written to.

    After an interrupted step that matters most: a forward write may land behind the baseline's, and is repaired by a
    watch that the job does not wait for.
    """
    databases: dict[str, Any] = {"SQLite": sqlite}
    if pg is not None:
        databases["PostgreSQL"] = pg.make
    for latency in (0.0, 0.05):
        key = f"{latency * 1000:.0f} ms"

        def whole(kind: str, database: str, latency: float = latency) -> Any:
            with server(count, latency) as url:
                return job(kind, url, database, str(count))

        for name, make in databases.items():
            several[f"rollout {name} {key}"].append(whole("rollout", make()))
        several[f"bare {key}"].append(whole("bare", "-"))
        several[f"interrupted {key}"].append(whole("interrupted", sqlite()))
        for name in RIVAL_NAMES if latency == 0.0 else ("sdk",):
            if name == "procrastinate" and pg is None:
                continue
            database = pg.make().replace("+psycopg", "") if name == "procrastinate" else "-"
            with server(count, latency) as url:
                several[f"rival {name} {key}"].append(rival(name, url, database, len(STEPS) * count))


def main() -> None:
    """Measures, prints, and on request writes the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    given = parser.parse_args()
    from benchmarks import back, commands

    way_back = back.document(back.measure(given.repeats), given.repeats)
    print(way_back)
    from_the_shell = commands.document(commands.measure())
    print(from_the_shell)
    found = measure(given.numbers, given.repeats)
    text = document(found)
    print(text)
    if given.write:
        back.write(way_back)
        DOCUMENT.write_text(between(DOCUMENT.read_text(), "commands", from_the_shell))
        DOCUMENT.write_text(between(DOCUMENT.read_text(), "measured", text))
        PLOT.write_text(plot(found["growth"]))


if __name__ == "__main__":
    main()
