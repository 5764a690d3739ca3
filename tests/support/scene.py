"""The whole product in process, its time in the test's hand, beside a sandbox: given, when, then.

Only the clock is a fake: the database is a file, Retell is a server on a socket.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from jobs.drift import Drift
from rollout.app import App, build
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.ports import GateReport
from rollout.sandbox import Sandbox
from rollout.sandbox.routes import Preconditions
from rollout.settings import Settings
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import entry
from tests.support.values import plan as make_plan


class ScriptedGates:
    """Gates that say what the test wrote down; nothing by default."""

    def __init__(self) -> None:
        self.verdict: GateVerdict | None = None
        self.canary_calls: int | None = None

    def look(self, rollout: Rollout, now: datetime) -> GateReport:
        return GateReport(self.verdict, self.canary_calls)


ME = By("cli:test", "a test asks")
PATCH, GET = "PATCH", "GET"


class Scene(AbstractContextManager["Scene"]):
    """A sandbox, a database and the product on it. Commands and passes run when the test says so."""

    def __init__(self, url: str, *, preconditions: Preconditions | None = None, **settings: Any) -> None:
        self.url = url
        self.settings = settings
        self.clock = FakeClock()
        self.gates = ScriptedGates()
        self.sandbox = Sandbox(preconditions=preconditions)
        self.id = ""

    def __enter__(self) -> Self:
        self.sandbox.start()
        self.sandbox.add_ready_world(calls_per_hour=0)
        self.app = self._build()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.app.close()
        self.sandbox.stop()

    def _build(self) -> App:
        settings = Settings(
            database_url=self.url,
            retell_api_key=SecretStr("key_of_a_test"),
            retell_base_url=self.sandbox.url,
            **{"watch_seconds": 1800, **self.settings},
        )
        return build(settings, clock=self.clock, gates=self.gates, owner=f"process-{id(self)}-{self.clock.boot()}")

    def restart(self) -> None:
        """The process ends and another one starts on the same database."""
        self.app.close()
        self.app = self._build()

    def add_numbers(self, count: int, channels: Iterable[str] = ("inbound",)) -> list[str]:
        """More numbers, each serving version 6 on these channels."""
        numbers = [f"+1415777{i:04d}" for i in range(count)]
        for number in numbers:
            lists: dict[str, Any] = {f"{c}_agents": [entry(6)] for c in channels}
            self.sandbox.add_number(number, **lists)
        return numbers

    # -------------------------------------------------------------- given

    def given(self, plan: Plan | None = None, at: datetime | None = None, **changes: Any) -> str:
        """A rollout is started; returns its id, and is the one that the rest is about."""
        self.id = self.app.commands.start(plan or make_plan(**changes), ME, at=at).id
        return self.id

    def given_at(self, step: int, **changes: Any) -> str:
        """A rollout whose step is confirmed."""
        self.given(**changes)
        self.drive()
        for _ in range(step - 1):
            self.app.commands.promote(self.id, ME)
            self.drive()
        found = self.rollout
        assert found.position.step == step
        assert found.confirmed_at is not None
        return self.id

    # -------------------------------------------------------------- when

    def drive(self, most: int = 200) -> int:
        """Drives what is due now until nothing is, as the scheduler does; returns the number of passes."""
        for passes in range(most):
            held = self.app.store.claim(self.app.owner, timedelta(seconds=self.app.timing.lease))
            if not held:
                return passes
            self.app.interrupts.clear(held[0])
            self.app.driver.drive(held[0])
        raise AssertionError(f"still something due after {most} passes")

    def after(self, seconds: float, most: int = 500) -> None:
        """This much time passes, and at each moment at which something is due it is driven."""
        end = self.clock.now() + timedelta(seconds=seconds)
        for _ in range(most):
            self.drive()
            due = Hand(self.app.store).next_due()
            if due is None or due > end:
                self.clock.to(end)
                return
            self.clock.to(due)
        raise AssertionError("something is due all the time")

    def scan(self) -> int:
        """The scan for drift, and what follows from it."""
        found = Drift(self.app).tick()
        self.drive()
        return found

    # -------------------------------------------------------------- then

    @property
    def rollout(self) -> Rollout:
        return self.app.store.load(self.id)[0]

    @property
    def phase(self) -> str:
        return str(self.rollout.phase)

    def stands(self, phase: str, step: int | None = None, reason: str | None = None) -> None:
        """The rollout is in this phase, at this step, for this reason."""
        found = self.rollout
        assert str(found.phase) == phase, found.why
        if step is not None:
            assert found.position == Position(found.position.wave, step), found.why
        if reason is not None:
            assert found.reason == reason, found.why

    def live(self, number: str, field: str = "inbound_agents") -> Any:
        """What the number serves at this moment."""
        return self.sandbox.number(number).state.fields.get(field)

    def weight(self, number: str, version: int = 7) -> float:
        """The share of one version among new inbound calls of a number."""
        return float(sum(e["weight"] for e in self.live(number) or [] if e.get("agent_version") == version))

    def requests(self, number: str | None = None) -> list[str]:
        """The methods of the requests about numbers, in the order received."""
        return [e["method"] for e in self.sandbox.log(number=number) if e["number"]]

    def patches(self, number: str | None = None) -> list[dict[str, Any]]:
        """The body of every PATCH, in the order received."""
        return [json.loads(e["body"]) for e in self.sandbox.log(number=number, method=PATCH)]

    def journal(self, kinds: Iterable[str] = ()) -> list[str]:
        """The kinds of the journal's entries, or those of them that are asked for."""
        wanted = set(kinds)
        found = [e.kind for e in self.app.store.history(self.id)]
        return [k for k in found if not wanted or k in wanted]
