"""`make bench`: the whole job beside what people use instead, on the same server in the same run.

Every figure is the median of at least three runs, each in a fresh process; ratios come first, since durations
depend on the machine. `--write` puts the tables and the growth curve into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.speed_report import document, plot

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "img" / "performance-growth.svg"
RIVALS = ROOT / ".venv-bench"
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
        [sys.executable, "-m", "benchmarks.job", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=timeout,
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
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)], check=True
        )
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / "rivals.py"), name, url, database, str(count)],
        capture_output=True, text=True, timeout=300, cwd=tempfile.mkdtemp(),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])


def sqlite() -> str:
    return f"sqlite:///{tempfile.mkdtemp(prefix='rollout-bench-')}/bench.db"


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """A PostgreSQL server as the tests use it, with fsync on; None when none can be had."""
    sys.path.insert(0, str(ROOT))
    from tests.support import postgres as support

    try:
        with support.server() as running:
            yield running
    except support.NoServer as error:
        print(f"no PostgreSQL: {error}", file=sys.stderr)
        yield None


def median(values: list[dict[str, Any]]) -> dict[str, float]:
    return {key: statistics.median(v[key] for v in values) for key in values[0]}


def waiting(count: int, repeats: int) -> dict[str, float]:
    """What a service costs beside so many waiting rollouts, which another process has put there."""
    database = sqlite()
    job("fill", "-", database, str(count))
    return median([job("waiting", "-", database, str(count)) for _ in range(repeats)])


def measure(count: int, repeats: int, rivals_count: int) -> dict[str, Any]:
    """Every figure of the document."""
    found: dict[str, Any] = {"numbers": count, "repeats": repeats}
    with postgres() as pg:
        databases: dict[str, Any] = {"SQLite": sqlite}
        if pg is not None:
            databases["PostgreSQL"] = pg.make
        for latency in (0.0, 0.05):
            with server(count, latency) as url:
                key = f"{latency * 1000:.0f} ms"
                for name, make in databases.items():
                    found[f"rollout {name} {key}"] = median(
                        [job("rollout", url, make(), str(count)) for _ in range(repeats)]
                    )
                found[f"bare {key}"] = median([job("bare", url, "-", str(count)) for _ in range(repeats)])
                # A forward write may land behind the baseline's and is repaired by a watch that the job does not
                # wait for: each of these has a server of its own.
                several = []
                for _ in range(repeats):
                    with server(count, latency) as fresh:
                        several.append(job("interrupted", fresh, sqlite(), str(count)))
                found[f"interrupted {key}"] = median(several)
                if latency == 0.0:
                    names = ["sdk", "dbos", "apscheduler", *(["procrastinate"] if pg is not None else [])]
                    for name in names:
                        rates = []
                        for _ in range(repeats):
                            database = pg.make().replace("+psycopg", "") if name == "procrastinate" else "-"
                            rates.append(rival(name, url, database, rivals_count))
                        found[f"rival {name}"] = statistics.median(rates)
        if pg is not None:
            found["replicas"] = {}
            for ms, times in ((50, 1), (200, repeats)):
                of = found["replicas"][ms] = {}
                for n in (1, 2, 4):
                    several = []
                    for _ in range(times):
                        with server(SHARED[0] * SHARED[1], ms / 1000) as url:
                            several.append(services("replicas", url, pg.make(), n, *SHARED))
                    of[n] = median(several)
        found["waiting"] = {n: waiting(n, repeats) for n in (100, 10_000, 100_000)}
        with server(count, 0.0) as url:
            found["due"] = services("due", url, sqlite(), 100_000, count)
    growth = {}
    for size in (100, 1000, 10_000):
        several = []
        for _ in range(repeats):
            with server(size, 0.0) as url:
                several.append(job("rollout", url, sqlite(), str(size), timeout=1200))
        growth[size] = median(several)
    found["growth"] = growth
    return found


def main() -> None:
    """Measures, prints, and on request writes the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rival-steps", type=int, default=300)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    given = parser.parse_args()
    found = measure(given.numbers, given.repeats, given.rival_steps)
    text = document(found)
    print(text)
    if given.write:
        old = (
            DOCUMENT.read_text()
            if DOCUMENT.exists()
            else "# Performance\n\n<!-- measured -->\n<!-- end -->\n"
        )
        head, _, rest = old.partition("<!-- measured -->")
        tail = rest.partition("<!-- end -->")[2]
        DOCUMENT.write_text(f"{head}<!-- measured -->\n{text}\n<!-- end -->{tail}")
        PLOT.write_text(plot(found["growth"]))


if __name__ == "__main__":
    main()
