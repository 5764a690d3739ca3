"""How long people wait for a list, a rollout, the overview, a number's page and the metrics of a long history."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rollout.sandbox import Sandbox
from tests.soak.filled import BUSY, fill, numbers_of
from tests.soak.stage import Answer, Stage, environment, made, stage
from tests.support.command_line import PYTHON

TRIES = 9
MOST = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Timed:
    """One thing that was asked several times, the first time after the service had begun."""

    name: str
    first: float
    median: float
    slowest: float

    @property
    def good(self) -> bool:
        return self.median < MOST


def measure(folder: Path, url: str, ended: int, calls: int, say: Callable[[str], None]) -> Iterator[Timed]:
    """Fills a database and asks for everything; the commands' times are those beyond the same on an empty one."""
    small = folder / "small"
    small.mkdir()
    empty_url = f"sqlite:///{small / 'rollout.db'}"
    with made(folder, url) as database:
        began = time.perf_counter()
        ids = fill(database, folder, ended, calls, now=database.now())
        say(f"{ended} ended rollouts and {calls} calls in {time.perf_counter() - began:.0f} s")
        numbers = numbers_of(200)
        with stage(folder, database) as running:
            for i, number in enumerate(numbers[BUSY : BUSY + 10]):
                served = [{"agent_id": "agent_frontdesk", "agent_version": 6, "weight": 1}]
                running.sandbox.add_number(number, inbound_agents=served)
                plan = {
                    "version": 1,
                    "name": f"live-{i}",
                    "numbers": [number],
                    "channels": ["inbound"],
                    "canary": {"agent_id": "agent_frontdesk", "agent_version": 7},
                    "steps": [{"weight": 0.1, "hold": "1h"}, {"weight": 1.0}],
                    "gates": {"profile": "standard"},
                }
                answer = running.ask("POST", "/api/v1/rollouts", {"plan": plan})
                assert answer.status == 201, answer.body
            time.sleep(3)
            # Each time something else is asked, so that what is kept of the answer before is of no help.
            busy = [number.replace("+", "%2B") for number in numbers[:BUSY]]
            asked: tuple[tuple[str, bool, Callable[[int], str]], ...] = (
                ("API list", False, lambda i: f"/api/v1/rollouts?limit={200 - i}"),
                ("API list, live", False, lambda i: f"/api/v1/rollouts?live=true&limit={200 - i}"),
                ("API show", False, lambda i: f"/api/v1/rollouts/{ids[i * 7 % len(ids)]}"),
                ("API number", False, lambda i: f"/api/v1/numbers/{busy[i]}"),
                ("overview page", True, lambda i: f"/?page={i}"),
                ("overview page, a search", True, lambda i: f"/?q=frontdesk-v7-1{i}2"),
                ("rollout page", True, lambda i: f"/rollouts/{ids[(i * 7 + 1) % len(ids)]}"),
                ("number page", True, lambda i: f"/numbers/{busy[i + TRIES]}"),
                ("metrics", False, lambda _i: "/metrics"),
            )
            for name, page, path in asked:
                yield _timed(name, _question(running, path, page))
            yield from _commands(folder, url, empty_url, running.sandbox, running.port, ids)


def _asked(answer: Answer) -> float:
    assert answer.status == 200, answer
    return answer.seconds


def _question(running: Stage, path: Callable[[int], str], page: bool) -> Callable[[int], float]:
    return lambda i: _asked(running.ask("GET", path(i), page=page))


def _timed(name: str, ask: Callable[[int], float]) -> Timed:
    taken = [ask(i) for i in range(TRIES)]
    return Timed(name, taken[0], median(taken), max(taken))


def _commands(folder: Path, url: str, empty_url: str, sandbox: Sandbox, port: int, ids: list[str]) -> Iterator[Timed]:
    """`rollout list` and `rollout show`, beyond what the same program takes with one rollout."""
    with made(folder, empty_url) as small:
        one = fill(small, folder / "small", 1, 0, now=small.now())
    full, empty = (environment(folder, each, port, sandbox.url) for each in (url, empty_url))
    pairs = (
        ("rollout list", ("list",), ("list",)),
        ("rollout list --live", ("list", "--live"), ("list", "--live")),
        ("rollout show", ("show", ids[0]), ("show", one[0])),
    )
    for name, args, as_small in pairs:
        start = _timed("", partial(_run, as_small, empty)).median
        whole = _timed("", partial(_run, args, full))
        beyond = [max(0.0, seconds - start) for seconds in (whole.first, whole.median, whole.slowest)]
        yield Timed(f"{name} (program start {start * 1000:.0f} ms)", *beyond)


def _run(args: tuple[str, ...], environ: dict[str, str], _try: int) -> float:
    began = time.perf_counter()
    done = subprocess.run([PYTHON, "-m", "rollout", *args], env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began
