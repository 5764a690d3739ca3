"""One measured job in a process of its own; prints one line of JSON. Run by benchmarks.speed.

python -m benchmarks.job rollout URL DATABASE_URL NUMBERS
python -m benchmarks.job back URL DATABASE_URL NUMBERS CONCURRENCY
python -m benchmarks.job bare URL - NUMBERS
python -m benchmarks.job fill|waiting - DATABASE_URL ROLLOUTS
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert

from rollout.adapters.store import migrate
from rollout.adapters.telemetry import logs
from rollout.app import App, build, many_threads_and_objects
from rollout.domain.errors import ClaimLost
from rollout.domain.lifecycle.commands import By
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.answers import Order
from rollout.settings import Settings

STEPS = ({"weight": 0.1}, {"weight": 0.5}, {"weight": 1.0, "hold": "1h"})


def numbers_of(count: int) -> list[str]:
    """The numbers that the server of benchmarks.speed has."""
    return [f"+1415{7_000_000 + i}" for i in range(count)]


def plan_of(numbers: list[str], name: str = "bench", steps: tuple[Any, ...] = STEPS) -> Plan:
    """A canary over these numbers, without gates."""
    return Plan.model_validate(
        {
            "version": 1,
            "name": name,
            "numbers": numbers,
            "channels": ["inbound"],
            "steps": list(steps),
            "canary": {"agent_id": "agent_a", "agent_version": 7},
            "gates": [],
        }
    )


def wired(url: str, database_url: str, **more: Any) -> App:
    """The product with its default settings but for `more`, on the benchmark's server and database."""
    settings = Settings(database_url=database_url, retell_api_key="key_bench", retell_base_url=url, **more)
    app = build(settings)
    migrate.upgrade(app.database)
    return app


def rollout(url: str, database_url: str, count: int) -> dict[str, Any]:
    """Three steps on every number, then a rollback of all: durable intent and outcome for each."""
    app = wired(url, database_url)
    commits = [0]
    event.listen(app.database.engine, "commit", lambda _connection: commits.__setitem__(0, commits[0] + 1))
    began = time.perf_counter()
    id_ = app.commands.start(plan_of(numbers_of(count)), By("bench")).id
    started = time.perf_counter()
    commits[0] = 0
    cpu = time.process_time()
    passes = 0
    r = None
    while r is None or r.confirmed_at is None or r.position.step < len(STEPS):
        r = app.drive(id_)
        passes += 1
        if passes > 200:
            raise SystemExit("the job did not come to its end")
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    per_record = commits[0] / (2 * len(STEPS) * count)
    ordered = time.time()
    app.commands.rollback(id_, By("bench"))
    app.drive(id_, lambda r: r.restored_at is not None)
    r, _ = app.store.load(id_)
    assert r.restored_at is not None and r.rollback_at is not None, r.why
    result = {
        "steps_per_second": len(STEPS) * count / seconds,
        "preflight_seconds": started - began,
        "cpu_ms_per_step": 1000 * cpu / (len(STEPS) * count),
        "commits_per_record": per_record,
        "rollback_seconds": (r.restored_at - r.rollback_at).total_seconds(),
        "first_patch_ms": 1000 * (first_baseline_patch(url, ordered) - ordered),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    app.close()
    return result


def back(url: str, database_url: str, count: int, concurrency: int) -> dict[str, Any]:
    """One step on every number and the rollback of all, while others ask for what Retell answers at once."""
    app = wired(url, database_url, concurrency=concurrency)
    id_ = app.commands.start(plan_of(numbers_of(count)), By("bench")).id
    over = threading.Event()
    others = threading.Thread(target=asks, args=(app, over))
    others.start()
    began = time.perf_counter()
    r = app.drive(id_, lambda r: r.confirmed_at is not None)
    stepped = time.perf_counter()
    assert r is not None and r.confirmed_at is not None, r
    app.commands.rollback(id_, By("bench"))
    app.drive(id_, lambda r: r.restored_at is not None)
    ended = time.perf_counter()
    over.set()
    others.join()
    assert app.store.load(id_)[0].restored_at is not None
    app.close()
    return {"step_seconds": stepped - began, "rollback_seconds": ended - stepped}


def asks(app: App, over: threading.Event) -> None:
    """Ten times a second an agent, and a number that is gone."""
    while not over.wait(0.1):
        app.agents.version("agent_a", 7)
        with app.numbers.session(["+14150000000"]) as session:
            session.read(["+14150000000"])


def interrupted(url: str, database_url: str, count: int) -> dict[str, Any]:
    """A rollback ordered while forward writes of the whole fleet are under way."""
    app = wired(url, database_url)
    id_ = app.commands.start(plan_of(numbers_of(count), "interrupted"), By("bench")).id
    forget = urllib.request.Request(f"{url}/sandbox/log", method="DELETE")
    urllib.request.urlopen(forget, timeout=30).read()
    forward = threading.Thread(target=lambda: quietly(app, id_), daemon=True)
    forward.start()
    while not any(r["method"] == "PATCH" for r in log(url, last=50)):
        time.sleep(0.005)
    ordered = time.time()
    app.commands.rollback(id_, By("bench"))
    app.drive(id_, lambda r: r.restored_at is not None)
    first = 1000 * (first_baseline_patch(url, ordered) - ordered)
    forward.join(30)
    app.close()
    return {"first_patch_ms": first}


def quietly(app: App, id_: str) -> None:
    """Drives until a command takes it away."""
    with contextlib.suppress(ClaimLost):
        app.drive(id_)


def bare(url: str, count: int) -> dict[str, Any]:
    """The same client on connections that are open, one PATCH per number, nothing recorded and nothing read."""
    from rollout.adapters.clock import SystemClock
    from rollout.adapters.retell import RetellClient

    clock = SystemClock()
    client = RetellClient(url, lambda: "key_bench", clock, concurrency=32)
    body = json.dumps({"inbound_agents": [{"agent_id": "agent_a", "agent_version": 6, "weight": 1}]})
    numbers = numbers_of(count)
    orders = [Order(n, body) for n in numbers]
    with client.session(numbers) as session:  # a rollback, too, begins on open connections
        began = time.perf_counter()
        answers = session.write(orders, send_by=clock.boot() + 60, stop=lambda: False)
        seconds = time.perf_counter() - began
    assert all(a.status == 200 for a in answers.values())
    client.close()
    return {"seconds": seconds, "per_second": count / seconds}


def fill(database_url: str, count: int) -> dict[str, Any]:
    """Puts `count` rollouts into the database that were made yesterday and wait for their start in a month."""
    from rollout.adapters.store.journal import GENESIS
    from rollout.adapters.store.rows import from_rollout
    from rollout.adapters.store.tables import rollouts
    from rollout.domain.lifecycle.machine import Phase
    from rollout.domain.lifecycle.state import Position, Rollout

    app = wired("http://127.0.0.1:1", database_url)
    now = app.store.now()
    made, far = now - timedelta(days=1), now + timedelta(days=30)
    plan = plan_of(["+14157000000"], "waiting")
    one = Rollout("w", "waiting", plan, Phase.PENDING, None, Position(1, 1), 0, made, made, start_at=far, due_at=far)
    row = {**from_rollout(one), "journal_seq": 0, "journal_hash": GENESIS}
    with app.database.write() as connection:
        for start in range(0, count, 5000):
            rows = [{**row, "id": f"w{i}"} for i in range(start, min(count, start + 5000))]
            connection.execute(insert(rollouts), rows)
    app.close()
    return {}


def waiting(database_url: str, count: int) -> dict[str, Any]:
    """Processor time and memory of a service beside `count` waiting rollouts, which `fill` has put there."""
    from jobs.scheduler import Scheduler

    app = wired("http://127.0.0.1:1", database_url)
    assert len(app.store.summaries(live=True, limit=100)) == min(count, 100)
    scheduler = Scheduler(app)
    scheduler.start()
    time.sleep(2.0)
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(20.0)
    idle = (time.process_time() - cpu) / (time.perf_counter() - wall)
    memory = _resident_mb()
    scheduler.stop()
    app.close()
    return {"idle_cpu_share": idle, "memory_mb": memory}


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def log(url: str, last: int = 100_000) -> list[dict[str, Any]]:
    """The server's own record of requests."""
    with urllib.request.urlopen(f"{url}/sandbox/log", timeout=30) as answer:
        document = json.load(answer)
    entries: list[dict[str, Any]] = document["entries"] if isinstance(document, dict) else document
    return entries[-last:]


def first_baseline_patch(url: str, since: float) -> float:
    """When the server got the first PATCH of the baseline after `since` (seconds since 1970)."""
    for entry in log(url):
        body = entry.get("body") or ""
        if entry["method"] == "PATCH" and entry["wall"] >= since - 0.001 and '"agent_version": 7' not in body:
            return float(entry["wall"])
    raise SystemExit("the server saw no baseline")


def main() -> None:
    """Runs the job that the command line names."""
    logs.set_up("error", json_lines=False)
    many_threads_and_objects()
    kind, url, database_url, count = sys.argv[1:5]
    jobs = {
        "rollout": lambda: rollout(url, database_url, int(count)),
        "interrupted": lambda: interrupted(url, database_url, int(count)),
        "back": lambda: back(url, database_url, int(count), int(sys.argv[5])),
        "bare": lambda: bare(url, int(count)),
        "fill": lambda: fill(database_url, int(count)),
        "waiting": lambda: waiting(database_url, int(count)),
    }
    print(json.dumps(jobs[kind]()))


if __name__ == "__main__":
    main()
