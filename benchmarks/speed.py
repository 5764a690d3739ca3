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

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "img" / "performance-growth.svg"
RIVALS = ROOT / ".venv-bench"
SERVER = """
import sys, time
from rollout.sandbox import Sandbox
count, latency = int(sys.argv[1]), float(sys.argv[2])
sandbox = Sandbox(port=0).start()
sandbox.add_agent("agent_a", versions=[{"version": 6}, {"version": 7}])
for i in range(count):
    entry = {"agent_id": "agent_a", "agent_version": 6, "weight": 1}
    sandbox.add_number(f"+1415{7_000_000 + i}", inbound_agents=[entry])
if latency:
    sandbox.fault("latency", seconds=latency)
print(sandbox.url, flush=True)
time.sleep(3600)
"""


@contextlib.contextmanager
def server(count: int, latency: float) -> Iterator[str]:
    """A sandbox in a process of its own with `count` numbers and this latency in seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(count), str(latency)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
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
                found[f"interrupted {key}"] = median(
                    [job("interrupted", url, sqlite(), str(count)) for _ in range(repeats)]
                )
                if latency == 0.0:
                    names = ["sdk", "dbos", "apscheduler", *(["procrastinate"] if pg is not None else [])]
                    for name in names:
                        rates = []
                        for _ in range(repeats):
                            database = pg.make().replace("+psycopg", "") if name == "procrastinate" else "-"
                            rates.append(rival(name, url, database, rivals_count))
                        found[f"rival {name}"] = statistics.median(rates)
        found["waiting"] = {n: job("waiting", "-", sqlite(), str(n)) for n in (100, 10_000, 100_000)}
    growth = {}
    for size in (100, 1000, 10_000):
        with server(size, 0.0) as url:
            growth[size] = job("rollout", url, sqlite(), str(size), timeout=1200)
    found["growth"] = growth
    return found


def ratios(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(figure, measured, goal, met) for each goal; ratios within this run."""
    ours = found["rollout SQLite 0 ms"]
    rate = ours["steps_per_second"]
    others = {k.removeprefix("rival "): v for k, v in found.items() if k.startswith("rival ")}
    best = max((v for k, v in others.items() if k != "sdk"), default=float("nan"))
    slow = found["rollout SQLite 50 ms"]["steps_per_second"] / 640
    bare = ours["rollback_seconds"] / found["bare 0 ms"]["seconds"]
    first = max(ours["first_patch_ms"], found["interrupted 0 ms"]["first_patch_ms"])
    few, many = found["waiting"][100], found["waiting"][100_000]
    idle = many["idle_cpu_share"] / max(few["idle_cpu_share"], 1e-9)
    thousand, ten = found["growth"][1000], found["growth"][10_000]
    time_ratio = thousand["steps_per_second"] / ten["steps_per_second"] * 10
    return [
        ("durable steps/s against the threaded SDK script", f"{rate / others['sdk']:.1f} x", "5 x", rate >= 5 * others["sdk"]),
        ("against the best of DBOS, procrastinate, APScheduler jobs", f"{rate / best:.1f} x", "10 x", rate >= 10 * best),
        ("at 50 ms and concurrency 32, against 640/s", f"{slow:.2f} x", "0.85 x", slow >= 0.85),
        (f"rollback of {found['numbers']} numbers against bare PATCHes", f"{bare:.2f} x", "at most 2.5 x", bare <= 2.5),
        ("first PATCH of a rollback after the command", f"{first:.0f} ms", "at most 100 ms", first <= 100),
        ("idle processor time, 100,000 waiting against 100", f"{idle:.2f} x", "at most 1.1 x", idle <= 1.1),
        ("idle processor time with 100,000 waiting", f"{100 * many['idle_cpu_share']:.2f} % of a core", "below 0.5 %", many["idle_cpu_share"] < 0.005),
        ("memory with 100,000 waiting above 100", f"{many['memory_mb'] - few['memory_mb']:.1f} MB", "at most 5 MB", many["memory_mb"] - few["memory_mb"] <= 5),
        ("commits per record", f"{ours['commits_per_record']:.3f}", "at most 0.1", ours["commits_per_record"] <= 0.1),
        ("10,000 numbers against 1,000: time", f"{time_ratio:.1f} x", "at most 11 x", time_ratio <= 11),
        ("10,000 numbers against 1,000: memory", f"{ten['memory_mb'] / thousand['memory_mb']:.1f} x", "at most 3 x", ten["memory_mb"] <= 3 * thousand["memory_mb"]),
    ]  # fmt: skip


def document(found: dict[str, Any]) -> str:
    """The tables as Markdown."""
    lines = ["| figure | measured | goal | met |", "| --- | --- | --- | --- |"]
    lines += [f"| {a} | {b} | {c} | {'yes' if d else 'no'} |" for a, b, c, d in ratios(found)]
    lines += [
        "",
        "| what | durable steps/s | rollback s | first PATCH ms | processor ms a step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, value in found.items():
        if key.startswith("rollout "):
            lines.append(
                f"| {key} | {value['steps_per_second']:,.0f} | {value['rollback_seconds']:.2f} | "
                f"{value['first_patch_ms']:.0f} | {value['cpu_ms_per_step']:.2f} |"
            )
    lines += [
        f"| {k.removeprefix('rival ')} | {v:,.0f} | | | |" for k, v in found.items() if k.startswith("rival ")
    ]
    lines += [
        f"| {k}: PATCHes alone | {v['per_second']:,.0f} | {v['seconds']:.2f} | | |"
        for k, v in found.items()
        if k.startswith("bare ")
    ]
    lines += ["", "| numbers in one rollout | durable steps/s | memory MB |", "| --- | --- | --- |"]
    lines += [
        f"| {n:,} | {g['steps_per_second']:,.0f} | {g['memory_mb']:.0f} |" for n, g in found["growth"].items()
    ]
    lines += ["", "| waiting rollouts | processor share | memory MB |", "| --- | --- | --- |"]
    lines += [
        f"| {n:,} | {100 * w['idle_cpu_share']:.2f} % | {w['memory_mb']:.0f} |"
        for n, w in found["waiting"].items()
    ]
    return "\n".join(lines)


def plot(growth: dict[int, dict[str, float]]) -> str:
    """Durable steps a second over the size of the fleet, as SVG."""
    import math

    width, height, left, bottom = 560, 260, 60, 40
    top = max(g["steps_per_second"] for g in growth.values()) * 1.2
    sizes = sorted(growth)

    def x(n: int) -> float:
        low, high = math.log10(sizes[0]), math.log10(sizes[-1])
        return left + (width - left - 40) * (math.log10(n) - low) / (high - low)

    def y(rate: float) -> float:
        return 10 + (height - bottom - 10) * (1 - rate / top)

    points = " ".join(f"{x(n):.0f},{y(growth[n]['steps_per_second']):.0f}" for n in sizes)
    dots = "".join(
        f"<circle cx='{x(n):.0f}' cy='{y(growth[n]['steps_per_second']):.0f}' r='4' fill='#0969da'/>"
        f"<text x='{x(n):.0f}' y='{y(growth[n]['steps_per_second']) - 10:.0f}' text-anchor='middle'>"
        f"{growth[n]['steps_per_second']:,.0f}</text>"
        f"<text x='{x(n):.0f}' y='{height - 14}' text-anchor='middle'>{n:,} numbers</text>"
        for n in sizes
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='system-ui' font-size='12' "
        "fill='#57606a'><title>Durable steps a second over the size of the fleet</title>"
        f"<rect width='{width}' height='{height}' fill='white'/>"
        f"<polyline points='{points}' fill='none' stroke='#0969da' stroke-width='2'/>{dots}</svg>\n"
    )


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
