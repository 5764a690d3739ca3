"""A sandbox, a database and the product around them; everything a test of processes acts on."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from rollout.app import App, build, new_id
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.plan import Plan
from rollout.sandbox import Sandbox
from rollout.settings import Settings
from tests.processes.nursery import Child, Nursery

AGENT = "agent_frontdesk"
BASELINE, CANARY = 6, 7
SPLIT: list[dict[str, Any]] = [{"agent_id": AGENT, "agent_version": BASELINE, "weight": 1}]
WEIGHTS = (0.1, 0.5, 1.0)
KEY = "key_of_the_processes"
TESTER = By("test", "as the test wants it")

# The bounds of the protocol, scaled down together. H = K + D + margin = 2 s; the sandbox keeps K and D.
BOUNDS: dict[str, Any] = {
    "tick_seconds": 0.1,
    "send_window": 0.3,
    "request_deadline": 1.0,
    "lease": 2.0,
    "provider_idle": 0.5,
    "provider_apply": 0.8,
    "horizon_margin": 0.7,
    "drift_seconds": 1.0,
    "watch_seconds": 0.3,
    "observe_seconds": 30.0,
}
HORIZON = 2.0
LEASE: float = BOUNDS["lease"]


@dataclass(frozen=True)
class Done:
    """How a command ended, and the seconds it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Stage:
    """The world of one run. `app` is the product in the test's own process: to start rollouts and to look."""

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        database_url: str,
        sandbox: Sandbox,
        prefix: str = "+1415555",
        network: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`network`: variables that every process has besides; the test's own has them in its environment."""
        self.network = {"ROLLOUT_RETELL_BASE_URL": sandbox.url, **network}
        self.nursery, self.folder, self.database_url, self.sandbox = nursery, folder, database_url, sandbox
        self._prefix = prefix
        self._numbers = itertools.count(100)
        self._names = itertools.count(1)
        self.services: list[Child] = []
        self.app: App = build(
            Settings(
                database_url=database_url,
                retell_api_key=SecretStr(KEY),
                retell_base_url=self.network["ROLLOUT_RETELL_BASE_URL"],
                **BOUNDS,
            )
        )

    # ---------------------------------------------------------- processes

    def environ(self, **more: str) -> dict[str, str]:
        """The whole environment of a process of the product."""
        bounds = {f"ROLLOUT_{name.upper()}": f"{value:g}" for name, value in BOUNDS.items()}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "TZ": "UTC",
            "COLUMNS": "200",
            "OPENBLAS_NUM_THREADS": "1",
            **bounds,
            "ROLLOUT_DATABASE_URL": self.database_url,
            **self.network,
            "RETELL_API_KEY": KEY,
            **more,
        }

    def serve(self, failpoint: str = "", *args: str, stop: bool = False, **more: str) -> Child:
        """A service; with a failpoint it kills (or stops) itself there."""
        hooks = {"FAILPOINT": failpoint, "FAILACTION": "stop" if stop else "kill"} if failpoint else {}
        name = f"serve-{next(self._names)}"
        child = self.nursery.start(["serve", "--no-http", *args], self.environ(**hooks, **more), self.folder, name)
        self.services.append(child)
        return child

    def cli_beside(self, *args: str, **more: str) -> Child:
        """A command as a process, not waited for."""
        return self.nursery.start(list(args), self.environ(**more), self.folder, f"cli-{next(self._names)}")

    def cli(self, *args: str, timeout: float = 60, **more: str) -> Done:
        """A command as a process, to its end."""
        began = time.monotonic()
        child = self.cli_beside(*args, **more)
        code = child.wait(timeout)
        if code is None:
            child.kill()
            raise RuntimeError(f"{args} took longer than {timeout} s; it said: {child.said()}")
        return Done(code, child.printed(), child.said(), time.monotonic() - began)

    def close(self) -> None:
        """Kills the services and lets go of the database."""
        for service in self.services:
            if service.poll() is None:
                service.kill()
        self.app.close()

    # ---------------------------------------------------------- rollouts

    def numbers(self, count: int = 1) -> list[str]:
        """New numbers that serve the baseline."""
        made = [f"{self._prefix}{next(self._numbers):04d}" for _ in range(count)]
        for number in made:
            self.sandbox.add_number(number, inbound_agents=SPLIT)
        return made

    def plan(self, numbers: Sequence[str], hold: str = "1s", **more: Any) -> Plan:
        """Three steps without gates; `more` replaces keys of the plan."""
        document = {
            "version": 1,
            "name": f"plan-{next(self._names)}",
            "numbers": list(numbers),
            "channels": ["inbound"],
            "canary": {"agent_id": AGENT, "agent_version": CANARY},
            "steps": [{"weight": weight, "hold": hold} for weight in WEIGHTS],
            "gates": {"profile": "none"},
        }
        return Plan.model_validate({**document, **more})

    def start(self, count: int = 1, hold: str = "1s", **more: Any) -> str:
        """Starts a rollout on new numbers; returns its id."""
        return self.app.commands.start(self.plan(self.numbers(count), hold, **more), TESTER).id

    def start_many(self, count: int, hold: str, like: Rollout | None = None, **more: Any) -> list[str]:
        """Many at once, on one number each: one pre-flight, and the others recorded after its pattern.

        Where services run, `like` is a pattern of before, of the same plan: they drive one that is started now before
        it can be read.
        """
        first = like or self.load(self.start(1, hold, **more))
        ids = [] if like else [first.id]
        for number in self.numbers(count - len(ids)):
            plan = self.plan([number], hold, **more)
            target = replace(first.targets[0], number=number, modified=self.sandbox.number(number).timestamp)
            made = replace(first, id=new_id(), name=plan.name, plan=plan, targets=(target,), epoch=0)
            ids.append(self.app.store.create(partial(_recorded, made), None).id)
        return ids

    def load(self, id_: str) -> Rollout:
        """The rollout as the store has it."""
        return self.app.store.load(id_)[0]

    def answer_poison(self, id_: str) -> None:
        """A person's answer to a rollout whose drivers died too often: continue, or begin if it had not begun."""
        self.app.commands.restore(id_, TESTER)
        if self.load(id_).started_at is None:
            self.app.commands.resume(id_, TESTER)  # nothing else starts a rollout that was held before its start

    def phase(self, id_: str) -> str:
        return str(self.app.store.phase(id_))

    def until_phase(self, id_: str, *phases: str, timeout: float = 60) -> Rollout:
        """Returns the rollout once it is in one of these phases."""
        self.until(lambda: self.phase(id_) in phases, timeout, lambda: f"{id_} is {self.load(id_)}")
        return self.load(id_)

    def until_confirmed(self, id_: str, step: int, timeout: float = 60) -> None:
        """Returns once every number of the rollout is confirmed at this step (or a later one)."""
        self.until(
            lambda: all(t.step >= step for t in self.load(id_).targets),
            timeout,
            lambda: f"{id_} did not reach step {step}: {self.load(id_).why}",
        )

    def until(self, true: Callable[[], object], timeout: float = 60, why: Callable[[], str] = lambda: "") -> None:
        """Polls; fails after `timeout` seconds with what `why` says and what the services logged."""
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end:
                logs = "\n".join(s.said()[-1500:] for s in self.services[-3:])
                raise AssertionError(f"not reached within {timeout} s: {why()}\n{logs}")
            time.sleep(0.02)

    def read_back_seconds(self, id_: str) -> float:
        """From the order of a rollback to its read-back, by the journal."""
        entries = self.app.store.history(id_)
        ordered = next(e.at for e in entries if e.kind in ("rollback", "failed"))
        return (next(e.at for e in entries if e.kind == "read_back") - ordered).total_seconds()


def _recorded(rollout: Rollout, now: datetime) -> tuple[Rollout, JournalEntry]:
    made = replace(rollout, created_at=now, updated_at=now, due_at=now)
    return made, JournalEntry("created", TESTER.actor, TESTER.reason)


@contextmanager
def new_sandbox(latency: float = 0.0) -> Iterator[Sandbox]:
    """A sandbox with one agent, that closes silent connections as early as the bounds say."""
    with Sandbox(idle_timeout=BOUNDS["provider_idle"], latency=latency) as sandbox:
        sandbox.add_agent(AGENT, [BASELINE, CANARY])
        yield sandbox


@contextmanager
def new_stage(
    nursery: Nursery,
    database_url: str,
    sandbox: Sandbox,
    prefix: str = "+1415555",
    network: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Stage]:
    """A stage in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="rollout-processes-") as folder:
        stage = Stage(nursery, Path(folder), database_url, sandbox, prefix, network)
        try:
            yield stage
        finally:
            stage.close()
