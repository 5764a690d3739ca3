"""What users have: open pages and webhooks beside a fleet that steps: `python -m tests.integration.api.load`.

Starts the sandbox and `rollout serve` as processes on loopback and a rollout of 100 numbers with short holds. 30 pages
are open on it, each with its event stream, and reload when an event comes, as a browser does; 20 webhooks a second
come beside them, signed calls and alerts. Exit 1 when a step began more than a second late, when the median reload
took 100 ms or more, or when anything was answered by an error.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.interfaces.auth.roles import create_token
from tests.integration.api.crowd import Crowd, Group, OpenPage, Seen, processor_seconds, request
from tests.support import postgres
from tests.support.command_line import PASSED_ON, PYTHON, REPOSITORY
from tests.support.loops import run_apart
from tests.support.service import service

KEY = "key_of_the_load"
AGENT = "agent_frontdesk"
RELOADS = ("reload, rollout", "reload, overview")
HOOKS = ("call", "call", "call", "alert")  # in turn
PEOPLE = 6  # sessions that the open pages share
LATE_SECONDS = 1.0
MEDIAN_SECONDS = 0.1


@dataclass
class Result:
    """What a load found."""

    seconds: float
    processor: float
    seen: dict[str, Seen]
    events: int
    late: list[float]
    moves: list[float]

    @property
    def faults(self) -> list[str]:
        """Why it did not pass; empty when it did."""
        found = self.wrong
        found += [f"a step began {late:.1f} s late" for late in self.late if late > LATE_SECONDS]
        if (median := self.median()) >= MEDIAN_SECONDS:
            found.append(f"the median reload took {1000 * median:.0f} ms")
        return found

    @property
    def wrong(self) -> list[str]:
        """What no slow machine excuses: an answer that is an error, no event, no step."""
        found = []
        for kind, seen in self.seen.items():
            wrong = {status: n for status, n in seen.statuses.items() if status != 200}
            if wrong or seen.broken:
                found.append(f"{kind}: answers {wrong}, connections {dict(seen.broken)}")
        if not self.late:
            found.append("no step was left")
        if not self.events:
            found.append("no page was told of an event")
        return found

    def median(self) -> float:
        """Of all reloads, in seconds."""
        every = Seen(seconds=[s for kind in RELOADS if kind in self.seen for s in self.seen[kind].seconds])
        return every.at(0.5)

    def table(self) -> str:
        """The figures as a Markdown table and a sentence."""
        lines = ["| requests | a second | answers | median | 99 % | worst |", "| --- | --- | --- | --- | --- | --- |"]
        for kind, seen in self.seen.items():
            answers = ", ".join(f"{status}: {n}" for status, n in sorted(seen.statuses.items()))
            figures = [f"{1000 * v:.0f} ms" for v in (seen.at(0.5), seen.at(0.99), seen.at(1))]
            rate = sum(seen.statuses.values()) / self.seconds
            lines.append(f"| {kind} | {rate:.0f} | {answers} | {' | '.join(figures)} |")
        sentence = (
            f"Pages were told of {self.events} events. {len(self.late)} steps were left, the latest "
            f"{max(self.late, default=0):.2f} s after its hold; moving all numbers took at most "
            f"{max(self.moves, default=0):.1f} s; `rollout serve` used {self.processor / self.seconds:.0%} of a "
            f"processor over {self.seconds:.0f} s."
        )
        lines += ["", sentence]
        return "\n".join(lines)


class Scene:
    """The sandbox, the service and the rollout of one load."""

    def __init__(self, url: str, port: int, pid: int, numbers: list[str]) -> None:
        self.port, self.pid, self.numbers = port, pid, numbers
        self.database = Database(url, SystemClock())
        self.store = Store(self.database)
        self.tokens = {
            role: create_token(self.store, role, f"{role} of the load", actor="tests", expires=None, numbers=None)[1]
            for role in ("viewer", "operator", "trigger")
        }
        self.id = ""

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            got = connection.getresponse()
            return got.status, got.headers, got.read()
        finally:
            connection.close()

    def start(self, hold: float, steps: int) -> None:
        """Starts the rollout and waits until its first step is confirmed."""
        plan = {
            "version": 1,
            "name": "load",
            "numbers": self.numbers,
            "channels": ["inbound"],
            "canary": {"agent_id": AGENT, "agent_version": 7},
            "gates": [],
            "steps": [{"weight": round((i + 1) / steps, 3), "hold": f"{hold:g}s"} for i in range(steps - 1)]
            + [{"weight": 1.0, "hold": "1h"}],
            "alerts": [{"match": {"alertname": "NeverFires"}, "action": "pause"}],
        }
        status, _, answer = self.ask(
            "POST",
            "/api/v1/rollouts",
            json.dumps({"plan": plan}),
            **self._bearer("operator"),
            **{"Content-Type": "application/json"},
        )
        assert status == 201, answer
        self.id = json.loads(answer)["id"]
        until(lambda: self.store.load(self.id)[0].confirmed_at is not None)

    def _bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    def cookie(self) -> str:
        """A browser's session."""
        status, headers, _ = self.ask(
            "POST",
            "/sign-in",
            urllib.parse.urlencode({"token": self.tokens["viewer"], "next": "/"}),
            **{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
        )
        assert status == 303, status
        return headers["Set-Cookie"].partition(";")[0]

    def hooks(self) -> list[tuple[str, Callable[[int], bytes]]]:
        """Signed calls, and alerts that no plan listens to."""
        alert = json.dumps({"status": "firing", "labels": {"alertname": "Another"}, "summary": "x"}).encode()
        made: dict[str, Callable[[int], bytes]] = {
            "call": self._call,
            "alert": lambda n: request("POST", "/hooks/alerts/generic", self._bearer("trigger"), alert),
        }
        return [(kind, made[kind]) for kind in HOOKS]

    def _call(self, n: int) -> bytes:
        now = int(time.time() * 1000)
        call = {
            "call_id": f"call_{n}",
            "agent_id": AGENT,
            "agent_version": 6 + n % 2,
            "call_type": "phone_call",
            "direction": "inbound",
            "to_number": self.numbers[n % len(self.numbers)],
            "call_status": "ended",
            "start_timestamp": now - 60_000,
            "end_timestamp": now - 1000,
            "disconnection_reason": "user_hangup",
        }
        body = json.dumps({"event": "call_ended", "call": call}).encode()
        made = hmac.new(KEY.encode(), body + str(now).encode(), hashlib.sha256).hexdigest()
        return request("POST", "/hooks/retell", {"X-Retell-Signature": f"v={now},d={made}"}, body)

    def steps(self, since: datetime, until: datetime, hold: float) -> tuple[list[float], list[float]]:
        """Seconds that each step ended after its hold, and seconds that the move to the next one took.

        By the journal, and by the clock for a hold that is over and whose step was not left.
        """
        late, moves, confirmed, advanced = [], [], None, None
        for entry in self.store.history(self.id):
            if entry.kind == "confirmed":
                confirmed = entry.at
                if advanced is not None and entry.at > since:
                    moves.append((entry.at - advanced).total_seconds())
            elif entry.kind == "advanced" and confirmed is not None:
                advanced = entry.at
                if entry.at > since:
                    late.append((entry.at - confirmed).total_seconds() - hold)
                confirmed = None
        rollout = self.store.load(self.id)[0]
        if confirmed is not None and rollout.position.step < rollout.plan.last_step:
            overdue = (until - confirmed).total_seconds() - hold
            late += [overdue] if overdue > LATE_SECONDS else []
        return late, moves


@contextmanager
def scene(folder: Path, numbers: int, url: str | None = None) -> Iterator[Scene]:
    """The processes of one load, on the database `url` or a file; they are gone when the block ends."""
    url = url or f"sqlite:///{folder}/rollout.db"
    with ExitStack() as stack:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {"PYTHONPATH": str(REPOSITORY)}
        sandbox = subprocess.Popen(
            [PYTHON, "-m", "rollout", "sandbox", "--port", "0"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(end, sandbox)
        assert sandbox.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", sandbox.stdout.readline())
        assert found is not None
        listed = [f"+1415200{i:04}" for i in range(numbers)]
        split = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        for number in listed:
            connection.request("POST", "/sandbox/numbers", json.dumps({"number": number, "inbound_agents": split}))
            assert connection.getresponse().read()
        connection.close()
        database = Database(url, SystemClock())
        migrate.upgrade(database)
        database.close()
        environment |= {"ROLLOUT_RETELL_BASE_URL": found[0], "RETELL_API_KEY": KEY}
        environment |= {"ROLLOUT_PORT": "0", "ROLLOUT_DATABASE_URL": url}
        running = stack.enter_context(service(folder, environment))
        where = re.search(r"http://127\.0\.0\.1:(\d+)", running.text())
        assert where is not None
        made = Scene(url, int(where[1]), running.process.pid, listed)
        stack.callback(made.database.close)
        yield made


def load(
    folder: Path,
    *,
    seconds: float = 30,
    pages: int = 30,
    hooks: float = 20,
    numbers: int = 100,
    hold: float = 2,
    url: str | None = None,
) -> Result:
    """One load. `hooks` are requests a second; every third page is the overview."""
    with scene(folder, numbers, url) as made:
        made.start(hold, steps=40)
        cookies = [made.cookie() for _ in range(PEOPLE)]
        crowd = Crowd(made.port)
        opened = [OpenPage(made.port, crowd, cookies[i % PEOPLE], "" if i % 3 == 2 else made.id) for i in range(pages)]
        began, used = made.store.now(), processor_seconds(made.pid)

        async def all_of_it() -> float:
            async with asyncio.TaskGroup() as tasks:
                for page in opened:
                    tasks.create_task(page.stay(seconds))
                return await crowd.run([Group(hooks, 8, made.hooks())], seconds)

        took = run_apart(all_of_it())
        used = processor_seconds(made.pid) - used
        ended = made.store.now()
        late, moves = made.steps(began, ended, hold)
        return Result(took, used, crowd.seen, sum(page.events for page in opened), late, moves)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Polls until it is true."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.1)


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM to this one process, SIGKILL if it does not listen."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def main() -> int:
    """Runs one load and prints its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.api.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pages", type=int, default=30)
    parser.add_argument("--hooks", type=float, default=20, help="a second")
    parser.add_argument("--numbers", type=int, default=100)
    parser.add_argument("--hold", type=float, default=2, help="of each step, in seconds")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own, not SQLite")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollout-load-"))
        url = stack.enter_context(postgres.server()).make() if given.postgres else None
        result = load(
            Path(folder),
            seconds=given.seconds,
            pages=given.pages,
            hooks=given.hooks,
            numbers=given.numbers,
            hold=given.hold,
            url=url,
        )
    print(result.table())
    for fault in result.faults:
        print(fault)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
