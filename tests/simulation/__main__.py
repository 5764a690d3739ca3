"""`python -m tests.simulation --seeds N [--start S] [--replicas N] [--jobs N] [--trace SEED] [--mutant NAME]`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from .database import folder
from .history import Result, play
from .quiet import quiet


def main() -> int:
    """Plays histories and prints what was found; 1 when an invariant is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--replicas", type=int, help="so many replicas in each; by default one to four")
    parser.add_argument("--trace", type=int, metavar="SEED", help="play this seed alone and print its log")
    parser.add_argument("--mutant", help="remove a guard of the protocol: see tests/simulation/mutants.py")
    parser.add_argument(
        "--preconditions", choices=("honoured", "ignored"), help="what Retell does with If-Match in each; else drawn"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many minutes")
    parser.add_argument("--most", type=int, default=10, help="stop after so many broken histories")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes play beside each other")
    given = parser.parse_args()
    quiet()
    if given.mutant:
        from .mutants import MUTANTS

        if given.mutant not in MUTANTS:
            parser.error(f"--mutant: {given.mutant} is not known; write one of {', '.join(MUTANTS)}")
        with MUTANTS[given.mutant].applied():
            return _play(given)
    return _play(given)


def _results(given: argparse.Namespace) -> Iterator[Result]:
    """The results of all seeds, in order."""
    seeds = range(given.start, given.start + given.seeds)
    one = partial(_one, given.replicas, given.preconditions)
    if given.jobs <= 1:
        yield from map(one, seeds)
        return
    folder()  # of the process that ends last, which removes it
    # Forked, so that a guard that was taken out is out there too; each process makes a database file of its own.
    with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
        yield from pool.imap(one, seeds, chunksize=4)


def _one(replicas: int | None, preconditions: str | None, seed: int) -> Result:
    result = play(seed, replicas, preconditions=preconditions)
    result.log = []
    return result


def _play(given: argparse.Namespace) -> int:
    if given.trace is not None:
        result = play(given.trace, given.replicas, preconditions=given.preconditions)
        for at, who, what in result.log:
            print(f"{at:12.3f}  {who:<14} {what}")
        return _tell([result])
    results: list[Result] = []
    began = time.perf_counter()
    bad = 0
    for result in _results(given):
        results.append(result)
        if result.broken:
            bad += 1
            print(f"seed {result.seed}: " + "; ".join(result.broken[:3]), flush=True)
            if bad >= given.most:
                break
        if time.perf_counter() - began > given.minutes * 60:
            break
    code = _tell(results)
    took = time.perf_counter() - began
    print(f"{len(results)} histories in {took:.1f} s ({len(results) / took:.1f} a second)")
    return code


def _tell(results: list[Result]) -> int:
    faults: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for result in results:
        faults += result.faults
        ends += result.ends
    for name, count in sorted(faults.items()):
        print(f"{count:8}  {name}")
    print("ends: " + ", ".join(f"{count} {name}" for name, count in sorted(ends.items())))
    seconds = sorted(s for r in results for s in r.rollback_seconds)
    if seconds:
        print(
            f"rollbacks: {len(seconds)}, from order to read-back: median {seconds[len(seconds) // 2]:.2f} s, "
            f"99 of 100 within {seconds[len(seconds) * 99 // 100]:.1f} s, longest {seconds[-1]:.1f} s"
        )
    events = sum(r.events for r in results) / max(1, len(results))
    broken = [r for r in results if r.broken]
    print(f"events: {events:.0f} a history; broken: {len(broken)} of {len(results)} histories")
    for result in broken:
        print(f"  seed {result.seed}")
        for fault in result.broken:
            print(f"    {fault}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
