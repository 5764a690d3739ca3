"""Reads and hooks in floods while a rollout steps: `python -m tests.integration.api.flood`.

Starts the sandbox and `rollout serve` as processes on loopback, starts a rollout of 100 numbers with short holds,
and asks 200 reads a second with one token (list, one rollout, journal, metrics, page) beside a flood of hooks,
signed and not. Exit 1 when a step began more than two seconds late, or anything was answered by an error.
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
from tests.integration.api.crowd import Crowd, Group, Seen, processor_seconds, request
from tests.support import postgres
from tests.support.command_line import PASSED_ON, PYTHON, REPOSITORY
from tests.support.service import service

KEY = "key_of_the_flood"
AGENT = "agent_frontdesk"
READS = ("list", "show", "history", "metrics", "page")
# Scripts ask often; Prometheus and people's browsers (which are told when to look again) ask less.
MIX = ("list", "show", "history", "list", "show", "metrics", "list", "show", "history", "page")
HOOKS = ("call, signed", "call, not signed", "alert, token", "alert, no token")
# 429 is an answer that docs/api.md promises, for hooks above their token's limit and for guesses without end.
RIGHT = {
    **{kind: {200} for kind in READS},
    "call, signed": {200, 429},
    "call, not signed": {401},
    "alert, token": {200, 429},
    "alert, no token": {401, 429},
}
LATE_SECONDS = 2.0


@dataclass
class Result:
    """What a flood found."""

    seconds: float
    processor: float
    seen: dict[str, Seen]
    late: list[float]
    moves: list[float]
    reads_asked: float

    @property
    def faults(self) -> list[str]:
        """Why it did not pass; empty when it did."""
        found = []
        for kind, seen in self.seen.items():
            wrong = {s: n for s, n in seen.statuses.items() if s not in RIGHT[kind]}
            if wrong or seen.broken:
                found.append(f"{kind}: answers {wrong}, connections {dict(seen.broken)}")
        if not self.late:
            found.append("no step was left during the flood")
        found += [f"a step began {late:.1f} s late" for late in self.late if late > LATE_SECONDS]
        return found

    def answered(self, kinds: tuple[str, ...]) -> int:
        return sum(sum(self.seen[k].statuses.values()) for k in kinds if k in self.seen)

    def table(self) -> str:
        """The figures as a Markdown table and a sentence."""
        lines = ["| requests | a second | answers | median | 99 % | worst |", "| --- | --- | --- | --- | --- | --- |"]
        for kind, seen in self.seen.items():
            answers = ", ".join(f"{status}: {n}" for status, n in sorted(seen.statuses.items()))
            figures = [f"{1000 * v:.0f} ms" for v in (seen.at(0.5), seen.at(0.99), seen.at(1))]
            rate = sum(seen.statuses.values()) / self.seconds
            lines.append(f"| {kind} | {rate:.0f} | {answers} | {' | '.join(figures)} |")
        late = max(self.late, default=0)
        reads = self.answered(READS) / self.seconds
        sentence = (
            f"{reads:.0f} of {self.reads_asked:.0f} reads a second were answered. {len(self.late)} steps were left, the "
            f"latest {late:.2f} s after its hold; moving all numbers took at most {max(self.moves, default=0):.1f} s; "
            f"`rollout serve` used {self.processor / self.seconds:.0%} of a processor over {self.seconds:.0f} s."
        )
        lines += ["", sentence]
        return "\n".join(lines)


class Scene:
    """The sandbox, the service and the rollout of one flood."""

    def __init__(self, url: str, port: int, pid: int, numbers: list[str]) -> None:
        self.port, self.pid, self.numbers = port, pid, numbers
        self.database = Database(url, SystemClock())
        self.store = Store(self.database)
        self.tokens = {
            role: create_token(self.store, role, f"{role} of the flood", actor="tests", expires=None, numbers=None)[1]
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
            "name": "flood",
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

    def readers(self) -> dict[str, Callable[[int], bytes]]:
        """The requests of READS."""
        bearer, cookie = self._bearer("viewer"), {"Cookie": self.cookie()}
        one = f"/api/v1/rollouts/{self.id}"
        made = {
            "list": request("GET", "/api/v1/rollouts?live=true", bearer),
            "show": request("GET", one, bearer),
            "history": request("GET", f"{one}/history", bearer),
            "metrics": request("GET", "/metrics", bearer),
        }
        pages = [request("GET", path, cookie) for path in ("/", f"/rollouts/{self.id}")]
        return {kind: (lambda _, r=r: r) for kind, r in made.items()} | {"page": lambda n: pages[(n // len(MIX)) % 2]}

    def hooks(self) -> dict[str, Callable[[int], bytes]]:
        """The requests of HOOKS."""
        alert = json.dumps({"status": "firing", "labels": {"alertname": "Another"}, "summary": "x"}).encode()
        return {
            "call, signed": self._call,
            "call, not signed": lambda n: request("POST", "/hooks/retell", {}, b'{"event": "call_ended", "call": {}}'),
            "alert, token": lambda n: request("POST", "/hooks/alerts/generic", self._bearer("trigger"), alert),
            "alert, no token": lambda n: request("POST", "/hooks/alerts/generic", {}, alert),
        }

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
    """The processes of one flood, on the database `url` or a file; they are gone when the block ends."""
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


def flood(
    folder: Path,
    *,
    seconds: float = 30,
    reads: float = 200,
    hooks: float = 300,
    numbers: int = 100,
    hold: float = 2,
    kinds: tuple[str, ...] = MIX,
    url: str | None = None,
) -> Result:
    """One flood. `reads` and `hooks` are requests a second."""
    with scene(folder, numbers, url) as made:
        made.start(hold, steps=40)
        readers, senders = made.readers(), made.hooks()
        groups = [Group(reads, 20, [(k, readers[k]) for k in kinds])]
        if hooks:
            groups.append(Group(hooks, 24, [(k, senders[k]) for k in HOOKS]))
        crowd = Crowd(made.port)
        began, used = made.store.now(), processor_seconds(made.pid)
        took = asyncio.run(crowd.run(groups, seconds))
        used = processor_seconds(made.pid) - used
        ended = made.store.now()
        late, moves = made.steps(began, ended, hold)
        return Result(took, used, crowd.seen, late, moves, reads)


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
    """Runs one flood and prints its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.api.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--reads", type=float, default=200, help="a second, by one token")
    parser.add_argument("--hooks", type=float, default=300, help="a second; 0: none")
    parser.add_argument("--numbers", type=int, default=100)
    parser.add_argument("--hold", type=float, default=2, help="of each step, in seconds")
    parser.add_argument("--only", choices=READS, help="one kind of reads, to see what it costs")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own, not SQLite")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollout-flood-"))
        url = stack.enter_context(postgres.server()).make() if given.postgres else None
        result = flood(
            Path(folder),
            seconds=given.seconds,
            reads=given.reads,
            hooks=given.hooks,
            numbers=given.numbers,
            hold=given.hold,
            kinds=(given.only,) if given.only else MIX,
            url=url,
        )
    print(result.table())
    for fault in result.faults:
        print(fault)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
