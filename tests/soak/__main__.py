"""`python -m tests.soak [--minutes N] [--rate N] [--ended N --calls N] [--database URL] [--folder DIR]`.

Without --ended: a real `rollout serve` beside a sandbox, for so many minutes, with so many starts a second, callers,
webhooks, event streams, page reloads and scrapes. With --ended: a database with a long history, and how long people
wait for what they ask. Prints what it found and exits with 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.lateness import lateness
from tests.soak.load import Load
from tests.soak.speed import MOST, measure
from tests.soak.stage import made, stage
from tests.soak.verdict import Line, judge

MOST_MINUTES, MOST_RATE, MOST_ROLLOUTS, MOST_CALLS = 240.0, 20.0, 100_000, 5_000_000
WARM_MINUTES = 5.0


def main() -> int:
    """One run; 0 when everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (0.5 to 240)")
    parser.add_argument("--rate", type=float, default=2.0, help="starts a second (0.1 to 20)")
    parser.add_argument("--ended", type=int, default=0, help="measure answers with so many ended rollouts")
    parser.add_argument("--calls", type=int, default=300_000, help="and so many calls")
    parser.add_argument("--database", help="an empty PostgreSQL database; by default a SQLite file")
    parser.add_argument("--folder", help="where files go and stay; by default a folder that is removed")
    given = parser.parse_args()
    if not (0.5 <= given.minutes <= MOST_MINUTES and 0.1 <= given.rate <= MOST_RATE):
        parser.error(f"--minutes: 0.5 to {MOST_MINUTES:g}; --rate: 0.1 to {MOST_RATE:g}")
    if not (0 <= given.ended <= MOST_ROLLOUTS and 0 <= given.calls <= MOST_CALLS):
        parser.error(f"--ended: up to {MOST_ROLLOUTS}; --calls: up to {MOST_CALLS}")
    with tempfile.TemporaryDirectory(prefix="rollout-soak-") as temporary:
        folder = Path(given.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        url = given.database or f"sqlite:///{folder / 'rollout.db'}"
        if given.ended:
            return _speed(folder, url, given.ended, given.calls)
        return _soak(folder, url, given.minutes, given.rate)


def _soak(folder: Path, url: str, minutes: float, rate: float) -> int:
    warm = min(WARM_MINUTES, minutes / 4) * 60
    print(f"{minutes:g} minutes with {rate:g} starts a second; what counts begins after {warm:.0f} s", flush=True)
    with made(folder, url) as database:
        with stage(folder, database) as running:
            load = Load(running, rate)
            with load.running():
                end = time.monotonic() + minutes * 60
                while time.monotonic() < end and load.alive():
                    time.sleep(min(30.0, max(0.0, end - time.monotonic())))
                    _progress(load)
            if running.process.poll() is not None:
                load.found.failed.append("the service ended by itself")
            written = running.log.stat().st_size
        load.found.lateness = lateness(database)
    print(f"the service wrote {written / 1024:.0f} KiB of log")
    _counts(load)
    return _verdict(judge(load.found, warm))


def _progress(load: Load) -> None:
    if load.found.samples:
        s = load.found.samples[-1]
        each = 0.0 if not s.begun else s.processor / s.begun * 1000
        print(
            f"{s.at:7.0f} s  {s.begun:6} rollouts  {s.memory:7.1f} MB  {s.processor:7.1f} s of processor time"
            f" ({each:.0f} ms a rollout)",
            flush=True,
        )


def _counts(load: Load) -> None:
    for (kind, status), count in sorted(load.found.answers.items()):
        print(f"{count:8}  {kind}: {status}")


def _speed(folder: Path, url: str, ended: int, calls: int) -> int:
    lines = []
    for each in measure(folder, url, ended, calls, lambda words: print(words, flush=True)):
        words = (
            f"{each.median * 1000:.0f} ms in the middle, first {each.first * 1000:.0f}, "
            f"slowest {each.slowest * 1000:.0f} (at most {MOST * 1000:.0f})"
        )
        lines.append(Line(each.name, each.good, words))
        print(f"  {each.name}: {words}", flush=True)
    return _verdict(lines)


def _verdict(lines: list[Line]) -> int:
    for line in lines:
        print(f"{'good' if line.good else 'BAD ':4}  {line.name}: {line.words}")
    bad = [line.name for line in lines if not line.good]
    load = os.getloadavg()[0]
    print(f"verdict: {'FAILED: ' + ', '.join(bad) if bad else 'good'} (load of the machine {load:.1f})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
