"""What a soak does to the service: starts, rollbacks, callers with their webhooks, streams, pages and scrapes."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.soak.stage import AGENT, KEY, Stage
from tests.soak.verdict import Findings, Sample

HOLD = 6  # seconds of a step
STEPS = [{"weight": 0.1, "hold": f"{HOLD}s"}, {"weight": 0.5, "hold": f"{HOLD}s"}, {"weight": 1.0, "hold": "0s"}]
NUMBERS = 400
CALLS_PER_HOUR = 90  # of each number: ten a second of them all
STREAMS = 10
SAMPLE_SECONDS = 10.0


class Load:
    """Threads that act until they are told to stop."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self.stage, self.rate = stage, rate
        self.found = Findings()
        self.began = time.monotonic()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._random = random.Random(1)
        self._recent: deque[tuple[str, str]] = deque(maxlen=120)  # (rollout, number) under way
        self._moved_on: deque[tuple[str, str]] = deque(maxlen=2000)  # of numbers that others took over since
        self._newest: dict[str, str] = {}
        self._threads: list[threading.Thread] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything at once, until the block ends."""
        numbers = [f"+1415{3_000_000 + i}" for i in range(NUMBERS)]
        for number in numbers:
            served = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]
            self.stage.sandbox.add_number(number, calls_per_hour=CALLS_PER_HOUR, inbound_agents=served)
        self.stage.sandbox.webhook(f"http://127.0.0.1:{self.stage.port}/hooks/retell", KEY)
        work: list[Callable[[], None]] = [
            lambda: self._start(numbers),
            self._undo,
            self._read,
            self._read,
            self._scrape,
            self._sample,
            *[self._stream] * STREAMS,
        ]
        self._threads = [threading.Thread(target=self._guarded, args=(each,)) for each in work]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self.stage.sandbox.webhook(None)
            for thread in self._threads:
                thread.join(60)
            self.found.answers = dict(self._answers)

    def alive(self) -> bool:
        return self.stage.process.poll() is None and not self.found.failed

    # -------------------------------------------------------------- what they do

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.found.failed.append(f"{type(error).__name__}: {error}")

    def _every(self, seconds: float) -> Iterator[int]:
        """Counts on, once in so many seconds, until it is time to stop; never faster to make up for lost time."""
        for i in itertools.count():
            due = time.monotonic() + seconds
            yield i
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return

    def _note(self, kind: str, status: int, words: bytes = b"") -> None:
        with self._lock:
            self._answers[kind, status] += 1
        if status == 0 and not self._stopping.is_set():
            self.found.failed.append(f"{kind}: {words.decode(errors='replace')[:200]}")

    def _get(self, kind: str, path: str) -> None:
        answer = self.stage.ask("GET", path, page=kind.endswith("page"))
        self._note(kind, answer.status, answer.body)

    def _start(self, numbers: list[str]) -> None:
        serves = dict.fromkeys(numbers, 6)
        for i in self._every(1 / self.rate):
            number = numbers[i % len(numbers)]
            canary = 13 - self._served(number, serves)
            plan = {
                "version": 1,
                "name": f"soak-{i}",
                "numbers": [number],
                "channels": ["inbound"],
                "canary": {"agent_id": AGENT, "agent_version": canary},
                "steps": STEPS,
                "gates": {"profile": "standard"} if i % 5 == 4 else [],
            }
            answer = self.stage.ask("POST", "/api/v1/rollouts", {"plan": plan})
            self._note("start", answer.status, answer.body)
            if answer.status == 201:
                id_ = str(answer.json["id"])
                with self._lock:
                    if number in self._newest:
                        self._moved_on.append((self._newest[number], number))
                    self._newest[number] = id_
                    self._recent.append((id_, number))

    def _served(self, number: str, serves: dict[str, int]) -> int:
        """The version that a number serves whole: another one is the canary."""
        entries = self.stage.sandbox.number(number).inbound_agents or []
        if len(entries) == 1:
            serves[number] = int(entries[0]["agent_version"])
        return serves[number]

    def _undo(self) -> None:
        """A fifth of the rollouts have gates that see too few calls to let them pass: they are rolled back."""
        done: set[str] = set()
        for _ in self._every(1.0):
            live = self.stage.ask("GET", "/api/v1/rollouts?live=true&limit=200")
            self._note("list", live.status, live.body)
            if live.status != 200:
                continue
            waits = [r for r in live.json["items"] if r["position"]["step"] == 1 and r["id"] not in done]
            old = [r for r in waits if "calls" in r["why"] or "evidence" in r["why"]]
            for r in old:
                done.add(r["id"])
                answer = self.stage.ask("POST", f"/api/v1/rollouts/{r['id']}/rollback", {})
                self._note("rollback", answer.status, answer.body)

    def _read(self) -> None:
        """What people with open pages do, and what a program asks: the newest and those that moved on."""
        for _ in self._every(1.0):
            self._get("overview page", "/")
            with self._lock:
                some = self._random.sample(list(self._recent), min(1, len(self._recent)))
                old = self._random.sample(list(self._moved_on), min(1, len(self._moved_on)))
            for id_, number in [*some, *old]:
                self._get("rollout page", f"/rollouts/{id_}")
                self._get("number page", f"/numbers/{number.replace('+', '%2B')}")
                self._get("show", f"/api/v1/rollouts/{id_}")
                self._get("history", f"/api/v1/rollouts/{id_}/history")

    def _scrape(self) -> None:
        for _ in self._every(5.0):
            self._get("metrics", "/metrics")
            self._get("ready", "/readyz")

    def _stream(self) -> None:
        """Follows one rollout's events for a while, then another's."""
        for _ in self._every(0.5):
            with self._lock:
                chosen = self._random.choice(list(self._recent)) if self._recent else None
            if chosen is None:
                continue
            connection = http.client.HTTPConnection("127.0.0.1", self.stage.port, timeout=20)
            try:
                headers = {"Authorization": f"Bearer {self.stage.token}"}
                connection.request("GET", f"/api/v1/rollouts/{chosen[0]}/events", headers=headers)
                got = connection.getresponse()
                self._note("stream", got.status)
                end = time.monotonic() + 15
                while not self._stopping.is_set() and time.monotonic() < end and got.readline():
                    pass
            except (OSError, http.client.HTTPException) as error:
                if not self._stopping.is_set() and not isinstance(error, TimeoutError):
                    self._note("stream", 0, repr(error).encode())
            finally:
                connection.close()

    def _sample(self) -> None:
        for i in self._every(SAMPLE_SECONDS):
            at = time.monotonic() - self.began
            begun = sum(n for (kind, status), n in self._answers.items() if (kind, status) == ("start", 201))
            self.found.samples.append(Sample(at, self.stage.memory(), self.stage.processor(), begun))
            if i % 6 == 5:
                self.stage.sandbox.clear_log()
