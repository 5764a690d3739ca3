"""A simulated installation under a test's control: nothing goes wrong unless the test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeVar

from rollout.adapters.store.journal import RecordedEntry
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.ports import GateReport
from tests.support.values import said

from .database import SimDatabase, shared_file
from .judge import judge
from .onlooker import Onlooker
from .plans import AGENT, BASE, CANARY, FOREIGN, OTHER, ScriptedCalendar, ScriptedGates
from .processes import Node, Replica, Simulation
from .remote import Message, Remote
from .weather import Bounds, Weather
from .world import Process, SimClock, World

T = TypeVar("T")
NUMBER = "+14157774444"
BASELINE = [{"agent_id": AGENT, "agent_version": BASE, "weight": 1}]


class Gates(ScriptedGates):
    """Gates that say what the test sets; None: the plan has no gates."""

    says: str | None = None

    def look(self, rollout: Rollout, now: Any) -> GateReport:
        if self.says is None:
            return GateReport()
        return GateReport(said(self.says, f"the gates say {self.says}"), 100)


class Scenario:
    """One installation: replicas, a workspace with a few numbers, and people."""

    def __init__(self, replicas: int = 1, numbers: tuple[str, ...] = (NUMBER,), bounds: Bounds | None = None) -> None:
        self.world = World(1, Weather(bounds=bounds or Bounds()))
        file = shared_file()
        file.renew()
        self.remote = Remote(self.world)
        self.remote.versions = {(AGENT, v) for v in (BASE, CANARY, OTHER, FOREIGN)}
        self.numbers = list(numbers)
        for number in numbers:
            self.remote.add(number, {"inbound_agents": BASELINE})
        self.gates = Gates(self.world, Random(1))
        self.sim = Simulation(self.world, self.remote, file, self.gates, ScriptedCalendar(self.world))
        self.onlooker = Onlooker(self.sim)
        clock = SimClock(self.world, Process("onlooker", can_crash=False))
        self.store = Store(SimDatabase(file, self.world, clock))  # asked outside of simulated time
        for _ in range(replicas):
            self.sim.start_replica()

    # -------------------------------------------------------------- people

    def ask(self, what: Callable[[Node, By], T], reason: str = "the test asks") -> T:
        """Runs a command in a process of its own until it has answered; its error is raised here."""
        name = self.sim.name("cli")
        answers: list[T] = []
        errors: list[Exception] = []

        def work() -> None:
            node = Node(self.sim, name, can_crash=False)
            try:
                answers.append(what(node, By(name, reason)))
            except Exception as error:
                errors.append(error)

        task = self.world.spawn(Process(name, can_crash=False), name, work)
        self.world.run(self.world.now + 600, lambda: task.done)
        if errors:
            raise errors[0]
        return answers[0]

    def start(self, *steps: tuple[float, str], **more: Any) -> str:
        """Starts a rollout of these (weight, hold) steps on every number; its id."""
        plan = Plan.model_validate(
            {
                "version": 1,
                "name": "frontdesk",
                "numbers": self.numbers,
                "channels": ["inbound"],
                "canary": {"agent_id": AGENT, "agent_version": CANARY},
                "steps": [{"weight": weight, "hold": hold} for weight, hold in steps],
                "gates": [],
                **more,
            }
        )
        return self.ask(lambda node, by: node.app.commands.start(plan, by).id)

    def command(self, name: str, id_: str, **how: Any) -> CommandGiven:
        return self.ask(lambda node, by: getattr(node.app.commands, name)(id_, by, **how))

    # -------------------------------------------------------------- time

    def run(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    def until(self, true: Callable[[], bool], within: float = 3600) -> None:
        """Runs until this is so; AssertionError when it is not in time."""
        self.world.run(self.world.now + within, true)
        assert true(), f"not within {within:g} s: {self.log()[-5:]}"

    def until_phase(self, id_: str, phase: str, within: float = 3600) -> None:
        self.until(lambda: self.phase(id_) == phase, within)

    def kill(self, replica: Replica) -> None:
        """kill -9; nobody starts it again."""
        replica.process.alive = False
        self.sim.replicas.remove(replica)

    # -------------------------------------------------------------- what is

    def phase(self, id_: str) -> str:
        return str(self.sim.file.one("SELECT phase FROM rollouts WHERE id = ?", id_)[0])

    def rollout(self, id_: str) -> Rollout:
        return self.store.load(id_)[0]

    def history(self, id_: str) -> list[RecordedEntry]:
        return self.store.history(id_)

    def kinds(self, id_: str) -> list[str]:
        return [entry.kind for entry in self.history(id_)]

    def at(self, id_: str, kind: str) -> list[float]:
        """When entries of this kind were recorded, in seconds."""
        return [self.world.seconds(e.at) for e in self.history(id_) if e.kind == kind]

    def weight(self, number: str = NUMBER) -> float:
        """The canary's share as callers of this number have it."""
        entries = self.remote.numbers[number].live.lists["inbound_agents"]
        return float(sum(e["weight"] for e in entries if e["agent_version"] == CANARY))

    def forward(self) -> list[Message]:
        return [m for m in self.remote.messages if m.forward]

    def lists(self, weight: float) -> Mapping[str, Any]:
        """A split of somebody else's."""
        return {
            "inbound_agents": [
                {"agent_id": AGENT, "agent_version": FOREIGN, "weight": weight},
                {"agent_id": AGENT, "agent_version": BASE, "weight": round(1 - weight, 2)},
            ]
        }

    def log(self) -> list[tuple[float, str, str]]:
        return self.world.log

    def check(self) -> None:
        """Every invariant on what happened; call it at rest."""
        found = [*self.world.broken, *judge(self.sim, self.onlooker)]
        assert not found, found

    def close(self) -> None:
        self.world.close()
