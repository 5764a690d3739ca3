"""`python -m benchmarks.back`: a fleet's way back, from the order to its read-back, beside a bare client's PATCHes.

Part of `make bench`. Numbers take 50 ms, their list 80, agents and refusals one; while the fleet steps and goes back,
somebody else asks for an agent and for a number that is gone. What is compared is measured in turns.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.speed import DOCUMENT, between, job, postgres, server, sqlite

LATENCY = 0.05  # seconds, of a number
FLEET = 1000
CASES = ((FLEET, 32), (FLEET, 128), (1, 32))  # numbers, ROLLOUT_CONCURRENCY
# Seconds of the step and of the rollback: the same job on the code that sized its threads by the quickest answer.
BEFORE = {
    ("SQLite", 1000, 32): (20.60, 20.25),
    ("SQLite", 1000, 128): (21.92, 19.76),
    ("SQLite", 1, 32): (0.30, 0.16),
    ("PostgreSQL", 1000, 32): (22.92, 20.65),
    ("PostgreSQL", 1000, 128): (21.68, 20.05),
    ("PostgreSQL", 1, 32): (0.37, 0.22),
}


def measure(repeats: int) -> dict[str, Any]:
    """{"bare": seconds, (database, numbers, concurrency): {step_seconds, rollback_seconds}}, medians."""
    several: dict[Any, list[dict[str, float]]] = defaultdict(list)
    with postgres() as pg:
        databases: dict[str, Callable[[], str]] = {"SQLite": sqlite}
        if pg is not None:
            databases["PostgreSQL"] = pg.make
        for _ in range(repeats):
            with server(FLEET, LATENCY) as url:
                several["bare"].append(job("bare", url, "-", str(FLEET)))
            for name, make in databases.items():
                for count, concurrency in CASES:
                    with server(count, LATENCY) as url:
                        found = job("back", url, make(), str(count), str(concurrency))
                    several[name, count, concurrency].append(found)
    return {
        key: {name: statistics.median(v[name] for v in values) for name in values[0]} for key, values in several.items()
    }


def goals(found: dict[Any, Any]) -> list[tuple[str, str, str, bool]]:
    """(figure, measured, goal, met)."""
    rows = []
    bare = found["bare"]["seconds"]
    for key, value in found.items():
        if key == "bare":
            continue
        name, count, concurrency = key
        seconds = value["rollback_seconds"]
        if count == 1:
            rows.append((f"one number, {name}", f"{seconds:.2f} s", "at most 0.3 s", seconds <= 0.3))
        elif concurrency == 32:
            ratio = seconds / bare
            what = f"{count:,} numbers against bare PATCHes, {name}"
            rows.append((what, f"{ratio:.2f} x", "at most 1.5 x", ratio <= 1.5))
        else:
            what = f"{count:,} numbers with ROLLOUT_CONCURRENCY={concurrency}, {name}"
            rows.append((what, f"{seconds:.2f} s", "at most 2 s", seconds <= 2))
    return rows


def document(found: dict[Any, Any], repeats: int) -> str:
    """The tables as Markdown."""
    lines = [
        f"Medians of {repeats} runs.",
        "",
        "| from the order of a rollback to its read-back | measured | goal | met |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {a} | {b} | {c} | {'yes' if d else 'no'} |" for a, b, c, d in goals(found)]
    lines += [
        "",
        "| database, numbers, concurrency | one step s | before | rollback s | before |",
        "| --- | --- | --- | --- | --- |",
        f"| a bare client's {FLEET:,} PATCHes, 32 connections | | | {found['bare']['seconds']:.2f} | |",
    ]
    for key, value in found.items():
        if key != "bare":
            step, back = (f"{seconds:.2f}" for seconds in BEFORE[key])
            lines.append(
                f"| {key[0]}, {key[1]:,}, {key[2]} | {value['step_seconds']:.2f} | {step} | "
                f"{value['rollback_seconds']:.2f} | {back} |"
            )
    return "\n".join(lines)


def write(text: str) -> None:
    """Puts the tables into the document."""
    DOCUMENT.write_text(between(DOCUMENT.read_text(), "rollbacks", text))


def main() -> None:
    """Measures, prints, and on request writes the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    given = parser.parse_args()
    text = document(measure(given.repeats), given.repeats)
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
