"""What people use instead, doing the same: for each number a durable record, one PATCH, a durable record.

As many steps as ours, on connections that are open, with a wait for the disk at each commit: SQLite in WAL mode with
synchronous=FULL, PostgreSQL with fsync.

Run by benchmarks.speed in an environment of its own: python rivals.py NAME URL DATABASE STEPS
Prints one line of JSON: {"steps_per_second": ...}.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS = 32
AGENTS = [
    {"agent_id": "agent_a", "agent_version": 7, "weight": 0.1},
    {"agent_id": "agent_a", "agent_version": 6, "weight": 0.9},
]


def client(url: str):
    """The official SDK, without its own resends: one call, one PATCH."""
    from retell import Retell

    return Retell(api_key="key_bench", base_url=url, max_retries=0, timeout=15)


def numbers(count: int) -> list[str]:
    return [f"+1415{7_000_000 + i % 1000}" for i in range(count)]


def warm(retell) -> None:
    """Opens the client's connections: THREADS PATCHes that are under way at the same time."""
    together = threading.Barrier(THREADS)

    def one(number: str) -> None:
        together.wait(60)
        retell.phone_number.update(number, inbound_agents=AGENTS)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, numbers(THREADS)))


def sqlite_file() -> str:
    """A new database that stays in WAL mode, whoever opens it; FULL is what SQLite does of itself."""
    path = str(Path(tempfile.mkdtemp()) / "bench.db")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()
    return path


def sdk_script(url: str, _database: str, count: int) -> float:
    """A thread pool around the SDK, an intent and an outcome row per step in SQLite."""
    retell = client(url)
    lock = threading.Lock()
    connection = sqlite3.connect(sqlite_file(), check_same_thread=False, isolation_level=None)
    connection.execute("CREATE TABLE steps (number TEXT, state TEXT)")

    def record(number: str, state: str) -> None:
        with lock:
            connection.execute("INSERT INTO steps VALUES (?, ?)", (number, state))

    def step(number: str) -> None:
        record(number, "intent")
        retell.phone_number.update(number, inbound_agents=AGENTS)
        record(number, "done")

    step(numbers(1)[0])
    warm(retell)
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(step, numbers(count)))
    return count / (time.perf_counter() - began)


def dbos(url: str, _database: str, count: int) -> float:
    """DBOS: a workflow per number with one durable step, on its SQLite."""
    from dbos import DBOS, DBOSConfig

    retell = client(url)
    DBOS(
        config=DBOSConfig(
            name="bench", system_database_url=f"sqlite:///{sqlite_file()}", log_level="ERROR", run_admin_server=False
        )
    )

    @DBOS.step()
    def patch(number: str) -> int:
        retell.phone_number.update(number, inbound_agents=AGENTS)
        return 200

    @DBOS.workflow()
    def step(number: str) -> int:
        return patch(number)

    DBOS.launch()
    queue = DBOS.register_queue("bench", concurrency=THREADS)
    queue.enqueue(step, numbers(1)[0]).get_result()
    warm(retell)
    began = time.perf_counter()
    handles = [queue.enqueue(step, n) for n in numbers(count)]
    for handle in handles:
        handle.get_result()
    seconds = time.perf_counter() - began
    DBOS.destroy()
    return count / seconds


def procrastinate(url: str, database: str, count: int) -> float:
    """procrastinate: a job per number on PostgreSQL, a worker with concurrency 32."""
    from procrastinate import App, PsycopgConnector

    retell = client(url)
    app = App(connector=PsycopgConnector(conninfo=database, min_size=THREADS, max_size=THREADS))

    @app.task(name="step")
    def step(number: str) -> None:
        retell.phone_number.update(number, inbound_agents=AGENTS)

    async def run() -> float:
        # Tasks that are no coroutines run in the loop's own pool: as many threads as processors, and four.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await asyncio.to_thread(warm, retell)
            began = time.perf_counter()
            await step.batch_defer_async(*[{"number": n} for n in numbers(count)])
            await app.run_worker_async(concurrency=THREADS, wait=False)
            return time.perf_counter() - began

    return count / asyncio.run(run())


def apscheduler(url: str, _database: str, count: int) -> float:
    """APScheduler: a stored one-shot job per number, 32 threads."""
    from apscheduler.executors.pool import ThreadPoolExecutor as Pool
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    global _retell, _left, _done
    _retell, _left, _done = client(url), count, threading.Event()
    warm(_retell)
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{sqlite_file()}")},
        executors={"default": Pool(THREADS)},
        job_defaults={"misfire_grace_time": None},
    )
    scheduler.start()
    began = time.perf_counter()
    for number in numbers(count):
        scheduler.add_job(_apscheduler_step, args=[number])
    if not _done.wait(1000):
        raise SystemExit(f"{_left} steps were not done")
    seconds = time.perf_counter() - began
    scheduler.shutdown(wait=False)
    return count / seconds


_retell = None
_left = 0
_done = threading.Event()
_lock = threading.Lock()


def _apscheduler_step(number: str) -> None:
    global _left
    _retell.phone_number.update(number, inbound_agents=AGENTS)
    with _lock:
        _left -= 1
        if _left == 0:
            _done.set()


if __name__ == "__main__":
    name, url, database, count = sys.argv[1:5]
    rivals = {"sdk": sdk_script, "dbos": dbos, "procrastinate": procrastinate, "apscheduler": apscheduler}
    rate = rivals[name](url, database, int(count))
    print(json.dumps({"steps_per_second": rate}), flush=True)
    os._exit(0)
