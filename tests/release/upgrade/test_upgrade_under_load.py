"""Upgrade under load: rollouts that start on the first schema end as promoted on the last, and no step is lost or doubled.

The first version is this program's core with its ticks alone, on revision 0001 and the columns that this core names
(`tests/release/upgrade/drill.py`): later jobs need later tables. It is
replaced by a whole service in this process, and that one by `rollout serve` as a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from jobs.advance import Advance
from jobs.scheduler import Scheduler
from rollout.adapters.store.audit import audit
from rollout.app import App, build
from rollout.domain.errors import Refused, RolloutError
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.plan.plan import Plan
from rollout.sandbox import Sandbox
from rollout.settings import Settings
from tests.release.upgrade.drill import Place, first_with_columns, upgrade_with_columns
from tests.support.command_line import CommandLine
from tests.support.service import service, wait_until
from tests.support.values import AGENT, entry

ROLLOUTS, NUMBERS = 4, 2
WEIGHTS = (0.1, 0.5, 1.0)
BY = By("test", "upgrade under load")
BOUNDS: dict[str, float] = {
    "tick_seconds": 0.1,
    "send_window": 0.5,
    "request_deadline": 1.0,
    "lease": 2.0,
    "provider_idle": 1.0,
    "provider_apply": 0.5,
    "horizon_margin": 0.5,
    "watch_seconds": 0.3,
    "observe_seconds": 0.5,
    "drift_seconds": 0.5,
}


class World:
    """A sandbox with numbers for each rollout, and what every version of the service is told."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox, self.url = sandbox, url
        self.numbers = {i: [f"+1415555{i}{n:03d}" for n in range(NUMBERS)] for i in range(1, ROLLOUTS + 1)}
        sandbox.add_agent(AGENT, versions=[6, 7])
        for number in (n for numbers in self.numbers.values() for n in numbers):
            sandbox.add_number(number, inbound_agents=[entry(6)])

    def app(self) -> App:
        return build(
            Settings(database_url=self.url, retell_api_key=SecretStr("key"), retell_base_url=self.sandbox.url, **BOUNDS)
        )

    def plan(self, i: int) -> Plan:
        return Plan.model_validate(
            {
                "version": 1,
                "name": f"plan-{i}",
                "numbers": self.numbers[i],
                "channels": ["inbound"],
                "canary": {"agent_id": AGENT, "agent_version": 7},
                "gates": {"profile": "none"},
                "steps": [{"weight": w, "hold": f"{1.5 + i / 2}s"} for w in WEIGHTS],
            }
        )

    def written(self) -> dict[str, list[Any]]:
        """Every split that was sent to each number, in order."""
        return {
            number: [json.loads(e["body"])["inbound_agents"] for e in self.sandbox.log(number=number, method="PATCH")]
            for numbers in self.numbers.values()
            for number in numbers
        }


@contextmanager
def repeated(act: Callable[[], object], pause: float) -> Iterator[list[str]]:
    """Does something again and again beside the block; yields what went wrong."""
    troubles: list[str] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause):
            try:
                act()
            except RolloutError as error:
                troubles.append(f"{type(error).__name__}: {error.message}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield troubles
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.slow
def test_rollouts_of_the_first_schema_end_as_promoted_on_the_last(place: Place, command_line: CommandLine) -> None:
    with Sandbox() as sandbox:
        world = World(sandbox, place.url)
        onlooker = world.app()
        try:
            first_with_columns(onlooker.database)
            ids = [onlooker.commands.start(world.plan(i), BY).id for i in world.numbers]
            load = Load(onlooker, ids[0])
            with repeated(load, 0.1) as troubles:
                _first_version(world, onlooker, sqlite=onlooker.database.is_sqlite)
                _second_version(world, onlooker, ids)
                _third_version(world, command_line, onlooker, ids)
            assert troubles == [], "no command was refused or lost on the way"
            assert load.commands > 5
            assert {r.name: str(r.phase) for r in onlooker.store.summaries()} == {
                f"plan-{i}": "promoted" for i in world.numbers
            }
            wanted = [[entry(7, 0.1), entry(6, 0.9)], [entry(7, 0.5), entry(6, 0.5)], [entry(7, 1.0)]]
            assert world.written() == dict.fromkeys(world.written(), wanted), "each step once, and in order"
            assert audit(onlooker.store.database)[0] == []
            for id_ in ids:
                kinds = [e.kind for e in onlooker.store.history(id_)]
                assert kinds.count("completed") == 1
        finally:
            onlooker.close()


class Load:
    """What people do meanwhile: they look at everything, and pause and resume one rollout."""

    def __init__(self, app: App, id_: str) -> None:
        self.app, self.id = app, id_
        self.commands = 0

    def __call__(self) -> None:
        self.app.store.summaries(live=True)
        rollout, _ = self.app.store.load(self.id)
        self.app.store.history(self.id)
        if rollout.phase is Phase.PROGRESSING and rollout.position.step < 3:
            with contextlib.suppress(Refused):  # it went on between the look and the command
                self.app.commands.pause(self.id, BY)
                self.app.commands.resume(self.id, BY)
        self.commands += 1


def _first_version(world: World, onlooker: App, *, sqlite: bool) -> None:
    """Ticks on the first schema until steps are confirmed; on PostgreSQL it goes on while the schema is upgraded."""
    app = world.app()
    advance = Advance(app)
    try:
        with repeated(advance.tick, 0.05) as troubles:
            wait_until(lambda: sum(bool(w) for w in world.written().values()) >= ROLLOUTS * NUMBERS)
            if not sqlite:
                upgrade_with_columns(onlooker.database)
                time.sleep(0.5)  # two versions side by side
        assert troubles == []
    finally:
        advance.stop()
        app.close()
    if sqlite:  # one service at a time: the next one upgrades before it starts
        upgrade_with_columns(onlooker.database)


def _second_version(world: World, onlooker: App, ids: list[str]) -> None:
    app = world.app()
    scheduler = Scheduler(app)
    scheduler.start()
    try:
        wait_until(lambda: max(len(w) for w in world.written().values()) >= 2)
    finally:
        scheduler.stop()
        app.close()
    assert any(not onlooker.store.phase(id_).is_final for id_ in ids), "nothing was left for the third version"


def _third_version(world: World, command_line: CommandLine, onlooker: App, ids: list[str]) -> None:
    bounds = {f"ROLLOUT_{name.upper()}": f"{value:g}" for name, value in BOUNDS.items()}
    environment = command_line.variables(
        **bounds, ROLLOUT_DATABASE_URL=world.url, ROLLOUT_RETELL_BASE_URL=world.sandbox.url, RETELL_API_KEY="key"
    )
    with service(command_line.folder, environment, "--no-http", "--migrate") as third:
        wait_until(lambda: all(onlooker.store.phase(id_).is_final for id_ in ids), 40)
        assert third.stop() == 0
