"""Real `rollout serve` processes at work: several replicas on one PostgreSQL, and a thousand rollouts due at once.

Used by benchmarks.speed. What happened is read from the server's own log of requests, not from us.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from benchmarks.job import log, numbers_of, plan_of, wired
from rollout.adapters.store import signals
from rollout.adapters.store.journal import GENESIS
from rollout.adapters.store.rows import from_rollout
from rollout.adapters.store.tables import rollouts
from rollout.adapters.telemetry import logs
from rollout.app import App, new_id
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import Phase

QUICK = ({"weight": 0.1}, {"weight": 0.5}, {"weight": 1.0})
_MOST_SECONDS = 240.0


@contextlib.contextmanager
def serving(count: int, url: str, database_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many services without HTTP on one database, ended by their ids."""
    environ = {
        "PATH": os.environ["PATH"],
        "ROLLOUT_DATABASE_URL": database_url,
        "ROLLOUT_RETELL_BASE_URL": url,
        "RETELL_API_KEY": "key_bench",
        "ROLLOUT_LOG_LEVEL": "error",
        "PYTHONPATH": str(Path.cwd()),
    }
    command = [sys.executable, "-m", "rollout", "serve", "--no-http"]
    started = [subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def forget_log(url: str) -> None:
    """Empties the server's log."""
    request = urllib.request.Request(f"{url}/sandbox/log", method="DELETE")
    urllib.request.urlopen(request, timeout=30).read()


def replicas(url: str, database_url: str, services: int, fleet: int, each: int) -> dict[str, Any]:
    """`fleet` rollouts of `each` numbers, three steps without holds, by so many services."""
    app = wired(url, database_url)
    numbers = numbers_of(fleet * each)
    for i in range(fleet):
        mine = numbers[i * each : (i + 1) * each]
        app.commands.start(plan_of(mine, f"fleet-{i}", QUICK), By("bench"))
    _due_at(app, app.store.now() + timedelta(days=1))
    forget_log(url)
    with serving(services, url, database_url):
        # All become due once every service is up: its start is no part of what is measured.
        until = time.monotonic() + 60
        while len(app.store.heartbeats.services(timedelta(seconds=30))) < services:
            if time.monotonic() > until:
                raise SystemExit("not all services came up")
            time.sleep(0.1)
        time.sleep(3)
        _due_at(app, app.store.now())
        _until_done(app)
        entries = [e for e in log(url) if e["method"] == "PATCH"]
    app.close()
    per_number: dict[str, list[str]] = {}
    for entry in entries:
        per_number.setdefault(entry["path"], []).append(entry["body"])
    twice = sum(len(bodies) - len(set(bodies)) for bodies in per_number.values())
    seconds = entries[-1]["wall"] - entries[0]["wall"]
    return {
        "steps_per_second": len(entries) / seconds,
        "written_twice": float(twice),
        "missing": float(len(QUICK) * fleet * each - len(entries) + twice),
    }


def _due_at(app: App, moment: datetime) -> None:
    with app.database.write() as connection:
        connection.execute(update(rollouts).values(due_at=moment))
        signals.send(connection, signals.WAKE)


def due(url: str, database_url: str, waiting: int, count: int) -> dict[str, Any]:
    """`count` rollouts of one number become due in one second among `waiting` that do not."""
    app = wired(url, database_url)
    at = app.store.now() + timedelta(seconds=45)
    numbers = numbers_of(count)
    first = app.commands.start(plan_of(numbers[:1], "due-0", QUICK), By("bench"), at=at).id
    base = app.store.load(first)[0]
    row = {**from_rollout(base), "journal_seq": 0, "journal_hash": GENESIS, "phase": str(Phase.PENDING)}
    far = app.store.now() + timedelta(days=30)
    with app.database.write() as connection:
        for begin in range(0, waiting, 5000):
            rows = [
                {**row, "id": f"w{i}", "name": f"waits-{i}", "start_at": far, "due_at": far}
                for i in range(begin, min(waiting, begin + 5000))
            ]
            connection.execute(insert(rollouts), rows)
        some = []
        for i in range(1, count):
            moment = at + timedelta(seconds=i / count)
            plan = plan_of(numbers[i : i + 1], f"due-{i}", QUICK)
            one = {
                **row,
                "id": new_id(),
                "name": plan.name,
                "plan": plan.canonical(),
                "plan_digest": plan.digest(),
                "start_at": moment,
                "due_at": moment,
            }
            some.append(one)
        connection.execute(insert(rollouts), some)
    forget_log(url)
    left = (at - app.store.now()).total_seconds()
    if left < 5:
        raise SystemExit(f"the machine is too slow: {left:.1f} s are left before the first is due")
    with serving(1, url, database_url):
        until = time.monotonic() + _MOST_SECONDS
        while time.monotonic() < until:
            time.sleep(2)
            if app.store.now() > at and _written(url) >= count:
                break
        entries = log(url)
    app.close()
    first_request = min(e["wall"] for e in entries if e["wall"] >= at.timestamp() - 0.001)
    patched = {e["path"] for e in entries if e["method"] == "PATCH"}
    early = sum(1 for e in entries if e["method"] == "PATCH" and e["wall"] < at.timestamp() - 0.001)
    last = max(e["wall"] for e in entries if e["method"] == "PATCH")
    return {
        "first_ms": 1000 * (first_request - at.timestamp()),
        "lost": float(count - len(patched)),
        "early": float(early),
        "all_begun_seconds": last - at.timestamp(),
    }


def _written(url: str) -> int:
    return len({e["path"] for e in log(url) if e["method"] == "PATCH"})


def _until_done(app: App) -> None:
    until = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < until:
        time.sleep(0.5)
        if not app.store.summaries(live=True, limit=1):
            return
    raise SystemExit(f"not all came to their end within {_MOST_SECONDS:.0f} s")


def main() -> None:
    """python -m benchmarks.services replicas URL DATABASE SERVICES FLEET EACH | due URL DATABASE WAITING COUNT"""
    logs.set_up("error", json_lines=False)
    kind, url, database_url, *counts = sys.argv[1:]
    job = {"replicas": replicas, "due": due}[kind]
    print(json.dumps(job(url, database_url, *(int(c) for c in counts))))


if __name__ == "__main__":
    main()
