"""The full campaign: `python -m tests.processes --kills 500`. Prints its figures; exit 1 on any violation."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from tests.processes import replicas, rollbacks
from tests.processes.campaign import Tally, choose, kills, pauses
from tests.processes.company import new_company, with_a_kill
from tests.processes.judge import judge
from tests.processes.nursery import Nursery
from tests.processes.stage import Stage, new_sandbox, new_stage
from tests.support import postgres

BATCH = 28
PAUSE = (1.0, 60.0)  # seconds; half to thirty horizons, as the bounds are scaled
MOST_PAUSING = 1500.0  # no pause begins on a database after so many seconds


class Campaign:
    """The databases and processes of one run."""

    def __init__(self, nursery: Nursery, server: postgres.Server | None, seed: int) -> None:
        self.nursery, self.server, self.seed = nursery, server, seed
        self._migrating = threading.Lock()
        self.databases = ["sqlite"] + (["postgres"] if server is not None else [])

    @contextmanager
    def stage(self, kind: str) -> Iterator[Stage]:
        """A stage on a new database with a sandbox of its own."""
        with ExitStack() as stack:
            with self._migrating:  # alembic keeps what it migrates in a global variable
                url = self._database(kind, stack)
            sandbox = stack.enter_context(new_sandbox())
            yield stack.enter_context(new_stage(self.nursery, url, sandbox))

    def _database(self, kind: str, stack: ExitStack) -> str:
        if kind == "postgres":
            assert self.server is not None
            url = self.server.copy()
            stack.callback(self.server.drop, url)
            return url
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollout-campaign-"))
        url = f"sqlite:///{Path(folder) / 'rollout.db'}"
        database = Database(url, SystemClock())
        migrate.upgrade(database)
        database.close()
        return url

    def kills(self, count: int, workers: int) -> Tally:
        """Batches on both databases in turn, `workers` at a time."""
        points = choose(random.Random(self.seed), count)
        batches = [points[i : i + BATCH] for i in range(0, count, BATCH)]

        def one(i: int) -> Tally:
            kind = self.databases[i % len(self.databases)]
            with self.stage(kind) as stage:
                tally = kills(stage, random.Random(self.seed * 1000 + i), batches[i])
            said(
                f"kills, batch {i + 1} of {len(batches)} on {kind}: {sum(tally.kills.values())}, {dict(tally.ends)}",
                tally,
            )
            return tally

        total = Tally()
        with ThreadPoolExecutor(workers) as pool:
            for tally in pool.map(one, range(len(batches))):
                total.add(tally)
        return total

    def pauses(self, count: int) -> Tally:
        """Nine of ten on PostgreSQL among replicas, the others on SQLite."""
        alone = count // 10 if len(self.databases) > 1 else count
        points = choose(random.Random(self.seed + 1), count)
        total = Tally()
        for kind, mine, width in (("sqlite", points[:alone], 1), ("postgres", points[alone:], 6)):
            if not mine:
                continue
            with self.stage(kind) as stage:
                tally = pauses(stage, random.Random(self.seed + 2), mine, PAUSE, width, MOST_PAUSING)
            said(f"pauses on {kind}: {sum(tally.pauses.values())}, {dict(tally.ends)}", tally)
            total.add(tally)
        return total

    def company(self, rollouts: int) -> Tally:
        """Rollouts whose only ways out are a proxy with a private authority, and PgBouncer; one service is killed."""
        assert self.server is not None
        with ExitStack() as stack:
            url = self._database("postgres", stack)
            made = stack.enter_context(new_company(self.nursery, url))
            tally = with_a_kill(made, random.Random(self.seed + 4), rollouts)
            said(f"{rollouts} rollouts, {len(made.proxy.asked)} tunnels: {dict(tally.ends)}", tally)
        return tally

    def rollbacks(self, count: int, overdue: int) -> list[str]:
        """Every condition `count` times on each database; prints the seconds from order to read-back."""
        faults: list[str] = []
        for name, bring in rollbacks.CONDITIONS.items() if count else ():
            seconds: list[float] = []
            for kind in self.databases:
                with self.stage(kind) as stage:
                    for _ in range(count):
                        id_ = bring(stage)
                        rollbacks.finish(stage, id_)
                        seconds.append(stage.read_back_seconds(id_))
                        faults += judge(stage, [id_])
            print(f"rollback, {name}: {_figures(seconds)}", flush=True)
        if overdue:
            with self.stage(self.databases[-1]) as stage:
                ids, seconds = rollbacks.overdue(stage, overdue, asked=10)
                faults += judge(stage, ids)
            print(f"rollback, {overdue} overdue rollouts: {_figures(seconds)}", flush=True)
        return faults


def _figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s of {len(seconds)}"


def said(text: str, tally: Tally) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}; violations: {len(tally.faults)}", flush=True)
    for fault in tally.faults[:20]:
        print(f"  {fault}", flush=True)


def main() -> int:
    """Runs what is asked for and prints the figures."""
    arguments = argparse.ArgumentParser(prog="python -m tests.processes")
    arguments.add_argument("--kills", type=int, default=500)
    arguments.add_argument("--pauses", type=int, default=100, help="of 1 to 60 s, six at a time")
    arguments.add_argument("--rollbacks", type=int, default=10, help="of each kind, on each database")
    arguments.add_argument("--overdue", type=int, default=5000)
    arguments.add_argument("--rollouts", type=int, default=200, help="for three replicas with kills")
    arguments.add_argument(
        "--company", type=int, default=200, help="rollouts through a proxy and PgBouncer, with a kill"
    )
    arguments.add_argument("--workers", type=int, default=2, help="batches of kills at a time")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.server())
        except postgres.NoServer as reason:
            server = None
            print(f"without PostgreSQL: {reason}")
        campaign = Campaign(stack.enter_context(Nursery()), server, asked.seed)
        return _run(campaign, asked)


def _run(campaign: Campaign, asked: argparse.Namespace) -> int:
    total = Tally()
    parts: list[tuple[str, Callable[[], Tally | list[str]]]] = []
    if asked.kills:
        parts.append(("kills", lambda: campaign.kills(asked.kills, asked.workers)))
    if asked.pauses:
        parts.append(("pauses", lambda: campaign.pauses(asked.pauses)))
    if asked.rollouts and campaign.server is not None:

        def replicate() -> Tally:
            with campaign.stage("postgres") as stage:
                tally = replicas.with_kills(stage, random.Random(asked.seed + 3), asked.rollouts, (1.0, 3.0))
            said(f"three replicas, {asked.rollouts} rollouts: {dict(tally.ends)}", tally)
            return tally

        parts.append(("replicas", replicate))
    if asked.company and campaign.server is not None:
        parts.append(("a company's network", lambda: campaign.company(asked.company)))
    if asked.rollbacks or asked.overdue:
        parts.append(("rollbacks", lambda: campaign.rollbacks(asked.rollbacks, asked.overdue)))
    for name, run in parts:
        began = time.monotonic()
        found = run()
        if isinstance(found, Tally):
            total.add(found)
        else:
            total.faults += found
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    _report(total)
    return 1 if total.faults else 0


def _report(total: Tally) -> None:
    print(f"\nkills {sum(total.kills.values())} at {len(total.kills)} points: {dict(total.kills.most_common())}")
    print(
        f"pauses {sum(total.pauses.values())} at {len(total.pauses)} points, {total.paused_seconds:.0f} s in all: "
        f"{dict(total.pauses.most_common())}"
    )
    print(f"rollouts {sum(total.ends.values())}: {dict(total.ends)}; held as poison on the way: {total.poisoned}")
    if total.rest_seconds:
        print(f"to rest after the last kill: {_figures(total.rest_seconds)} batches")
    print(f"violations: {len(total.faults)}")
    for fault in total.faults[:50]:
        print(f"  {fault}")


if __name__ == "__main__":
    sys.exit(main())
