"""The whole way over real HTTP: the sandbox's callers, the fetch of their calls, the verdict, the PATCH."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from jobs.scheduler import Scheduler
from rollout.adapters.planfile import load_plan
from rollout.adapters.store import migrate
from rollout.app import App, build
from rollout.domain.lifecycle.commands import By
from rollout.sandbox import Sandbox
from rollout.settings import Settings

NUMBER, AGENT = "+14157774444", "agent_frontdesk"
QUICK = {"duration_s": 0.2, "analysis_delay_s": 0.1}
PLAN = """
version: 1
name: over-http
numbers: ["+14157774444"]
channels: [inbound]
canary: {{agent_id: agent_frontdesk, agent_version: {version}}}
steps: [{{weight: 0.1, hold: 1s}}, {{weight: 0.5, hold: 1s}}, {{weight: 1.0, hold: 1s}}]
gates: {{profile: low-traffic}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Sandbox, App]]:
    with Sandbox(seed=3) as sandbox:
        sandbox.add_agent(
            AGENT,
            versions=[
                {"version": 6, "success": 0.88, "hard_error": 0.01, **QUICK},
                {"version": 7, "success": 0.90, "hard_error": 0.01, **QUICK},
                {"version": 8, "success": 0.0, "hard_error": 1.0, **QUICK},
            ],
        )
        entry = {"agent_id": AGENT, "agent_version": 6, "weight": 1}
        sandbox.add_number(NUMBER, inbound_agents=[entry], calls_per_hour=108_000)
        settings = Settings(
            database_url=f"sqlite:///{tmp_path / 'gates.db'}",
            retell_api_key=SecretStr("key_of_a_test"),
            retell_base_url=sandbox.url,
            tick_seconds=0.2,
            observe_seconds=0.4,
            watch_seconds=0.4,
            send_window=0.5,
            request_deadline=3.0,
            lease=6.0,
            provider_idle=2.0,
            provider_apply=1.0,
            horizon_margin=1.0,
        )
        app = build(settings)
        migrate.upgrade(app.database)
        scheduler = Scheduler(app)
        scheduler.start()
        try:
            yield sandbox, app
        finally:
            scheduler.stop()
            app.close()


def ends(app: App, id_: str, seconds: float = 150.0) -> str:
    """The phase in which the rollout comes to rest, or is held."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, _ = app.store.load(id_)
        if found.phase.is_final or found.phase == "held":
            return str(found.phase)
        time.sleep(0.1)
    raise AssertionError(f"not at rest: {app.store.load(id_)[0].why}")


@pytest.mark.slow
def test_a_good_version_is_promoted_and_a_dead_one_rolled_back(world: tuple[Sandbox, App]) -> None:
    sandbox, app = world
    good = app.commands.start(load_plan(PLAN.format(version=7)), By("test")).id
    assert ends(app, good) == "promoted"
    bad = app.commands.start(load_plan(PLAN.format(version=8)), By("test")).id
    assert ends(app, bad) == "rolled_back"
    history = sandbox.history(NUMBER)
    assert [e["agent_version"] for e in history[-1]["inbound_agents"]] == [7]
    judged = app.store.load(bad)[0].verdict
    assert judged is not None
    # Decided on a handful of the canary's calls; a machine under load may see a few more arrive together.
    assert 3 <= judged.arms["canary"].evidence.figures.counts["hard_error"][0] <= 12


@pytest.mark.slow
def test_a_webhook_that_overrides_the_weights_is_alarmed(world: tuple[Sandbox, App]) -> None:
    sandbox, app = world
    sandbox.edit(NUMBER, bypass={"agent_id": AGENT, "agent_version": 6, "share": 1.0})
    id_ = app.commands.start(load_plan(PLAN.format(version=7)), By("test")).id
    assert ends(app, id_) == "held"
    found, _ = app.store.load(id_)
    assert found.reason == "split"
    assert [e["agent_version"] for e in sandbox.number(NUMBER).state.fields["inbound_agents"]] == [7, 6]
