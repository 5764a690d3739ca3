"""`rollout demo`: the main job, live: a good version is promoted, a bad one is rolled back by its callers.

Everything is real but the telephone network: the sandbox answers over HTTP, the database is a file, the
scheduler ticks. Exit 0 only if the sandbox's own record shows both ends.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from jobs.scheduler import Scheduler
from rollout.adapters.planfile import load_plan
from rollout.adapters.store import migrate
from rollout.adapters.telemetry import logs
from rollout.app import App, build
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import IntendedBatch, parse
from rollout.domain.lifecycle.state import Kind, WriteOutcome
from rollout.interfaces.cli.screen import console, percent, table
from rollout.interfaces.cli.show_commands import picture
from rollout.interfaces.views import rollout as views
from rollout.sandbox import Sandbox
from rollout.settings import Settings

NUMBER = "+14157774444"
AGENT = "agent_frontdesk"
CALLS_PER_HOUR = 144_000  # forty calls a second: a month of a small company in a minute
QUICK = {"duration_s": 0.2, "analysis_delay_s": 0.1}
GOOD = {"version": 7, "success": 0.90, "hard_error": 0.01, **QUICK}
BAD = {"version": 8, "success": 0.05, "hard_error": 0.80, **QUICK}
OLD = {"version": 6, "success": 0.88, "hard_error": 0.01, **QUICK}
LONGEST = 75.0  # seconds for one rollout; the usual is a third

PLAN = """\
version: 1
name: {name}
numbers: ["{number}"]
channels: [inbound]
canary: {{agent_id: {agent}, agent_version: {version}}}
steps:
  - {{weight: 0.1, hold: 3s, min_calls: 20}}
  - {{weight: 0.5, hold: 3s, min_calls: 60}}
  - {{weight: 1.0, hold: 3s}}
gates: {{profile: low-traffic}}
"""


def run(keep: Path | None = None) -> int:
    """Play both rollouts and compare; return the exit code."""
    folder = keep or Path(tempfile.mkdtemp(prefix="rollout-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    out = console()
    began = time.perf_counter()
    try:
        with _world(folder) as (sandbox, app):
            out.print(f"a Retell sandbox on {sandbox.url}, a database in {folder}; {NUMBER} serves {AGENT} v6\n")
            out.print("version 7 is as good as version 6: it should be promoted, 10 % -> 50 % -> 100 %", style="bold")
            good = _play(app, sandbox, "frontdesk-v7", 7)
            out.print("\nversion 8 drops its calls: it should be rolled back at 10 %", style="bold")
            bad = _play(app, sandbox, "frontdesk-v8", 8)
            _account(app, sandbox, good, bad)
            faults = _faults(app, sandbox, good, bad)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    took = time.perf_counter() - began
    for fault in faults:
        out.print(f"this went wrong: {fault}", style="bold red")
    if not faults:
        out.print(f"\nthe sandbox's own record agrees on every step; {took:.0f} s", style="bold green")
    return 1 if faults else 0


@contextmanager
def _world(folder: Path) -> Iterator[tuple[Sandbox, App]]:
    logs.set_up("error", json_lines=False)
    with Sandbox() as sandbox:
        sandbox.add_agent(AGENT, versions=[OLD, GOOD, BAD])
        entry = {"agent_id": AGENT, "agent_version": 6, "weight": 1}
        sandbox.add_number(NUMBER, inbound_agents=[entry], nickname="Front desk", calls_per_hour=CALLS_PER_HOUR)
        settings = Settings(
            database_url=f"sqlite:///{folder / 'rollout.db'}",
            retell_api_key="key_demo",
            retell_base_url=sandbox.url,
            tick_seconds=0.2,
            observe_seconds=0.5,
            watch_seconds=0.5,
            drift_seconds=2.0,
            # the protocol's bounds, all scaled down together: the sandbox answers in milliseconds
            send_window=0.5,
            request_deadline=2.0,
            lease=4.0,
            provider_idle=1.0,
            provider_apply=1.0,
            horizon_margin=0.5,
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


def _play(app: App, sandbox: Sandbox, name: str, version: int) -> str:
    plan = load_plan(PLAN.format(name=name, number=NUMBER, agent=AGENT, version=version))
    id_ = app.commands.start(plan, By("demo")).id
    out = console()
    end = time.perf_counter() + LONGEST
    if out.is_terminal:
        with Live(console=out, refresh_per_second=8) as live:
            _until_final(app, id_, end, lambda document: live.update(_scene(document, sandbox)))
    else:
        said: set[tuple[Any, ...]] = set()

        def say(document: dict[str, Any]) -> None:
            at = document["position"]
            line = (document["phase"], at["step"], percent(document["weight"]))
            if line not in said:
                said.add(line)
                out.print(
                    f"  {document['phase']:<12} at {at['wave']}.{at['step']}  confirmed {percent(document['weight'])}"
                )

        _until_final(app, id_, end, say)
    rollout, _ = app.store.load(id_)
    out.print(f"  {rollout.phase}: {rollout.why if rollout.phase == 'promoted' else rollout.reason}")
    return id_


def _until_final(app: App, id_: str, end: float, see: Callable[[dict[str, Any]], None]) -> None:
    while time.perf_counter() < end:
        rollout, _ = app.store.load(id_)
        see(views.show(rollout))
        if rollout.phase.is_final:
            return
        time.sleep(0.1)


def _scene(document: dict[str, Any], sandbox: Sandbox) -> Any:
    served = sandbox.history(NUMBER)[-1]["served"].get("inbound", {})
    calls = ", ".join(f"v{agent.rpartition('@')[2]}: {count}" for agent, count in sorted(served.items()))
    return Group(picture(document), Text(f"calls served with this split   {calls or 'none yet'}", style="dim"))


def _account(app: App, sandbox: Sandbox, *ids: str) -> None:
    """One line per step: what the journal says beside what the sandbox saw."""
    out = console()
    out.print("\nthe journal and the sandbox's own record:", style="bold")
    shown = table(
        "rollout",
        "position",
        "asked",
        "read back",
        "sandbox had",
        "calls served by the canary",
        keys=("rollout", "position"),
    )
    seen = [h for h in sandbox.history(NUMBER) if h["by"] == "patch"]
    for wrote, had in zip(_writes(app, ids), seen, strict=False):
        served = had["served"].get("inbound", {})
        total = sum(served.values())
        share = served.get(f"{AGENT}@{wrote['version']}", 0)
        shown.add_row(
            wrote["name"],
            wrote["position"],
            wrote["asked"],
            wrote["outcome"],
            _split(had["inbound_agents"]),
            f"{share} of {total}" + (f" ({100 * share / total:.1f} %)" if total else ""),
        )
    out.print(shown)


def _writes(app: App, ids: tuple[str, ...]) -> list[dict[str, str]]:
    found = []
    for id_ in ids:
        rollout, _ = app.store.load(id_)
        results: dict[str, WriteOutcome | None] = {}
        asked = []
        for e in app.store.history(id_):
            change, said = Change.from_json(e.data.get("change", {})), parse(e.kind, e.data)
            if isinstance(said, IntendedBatch):
                asked += [(write, said) for write in change.new_writes]
            results |= {write_id: result.outcome for write_id, result in change.writes.items()}
        for write, batch in asked:
            outcome = results.get(write.id)
            found.append(
                {
                    "name": rollout.name,
                    "version": str(next(iter(rollout.plan.arms.values())).agent_version),
                    "position": str(batch.position) if batch.kind is Kind.FORWARD else "rollback",
                    "asked": _split(write.lists["inbound_agents"] or []),
                    "outcome": "yes" if outcome is WriteOutcome.APPLIED else str(outcome or "unknown"),
                }
            )
    return found


def _faults(app: App, sandbox: Sandbox, good: str, bad: str) -> list[str]:
    """Objections of the sandbox's own record to a success; empty when it agrees."""
    faults = []
    for id_, wanted in ((good, "promoted"), (bad, "rolled_back")):
        rollout, _ = app.store.load(id_)
        if rollout.phase != wanted:
            faults.append(f"{rollout.name} is {rollout.phase}, not {wanted}: {rollout.why}")
    had = [_split(h["inbound_agents"]) for h in sandbox.history(NUMBER) if h["by"] == "patch"]
    wanted_splits = ["v7 10 %, v6 90 %", "v7 50 %, v6 50 %", "v7 100 %", "v8 10 %, v7 90 %", "v7 100 %"]
    if had != wanted_splits:
        faults.append(f"the sandbox had {had}, not {wanted_splits}")
    during = next((h for h in sandbox.history(NUMBER) if "v8" in _split(h["inbound_agents"] or [])), None)
    if during is not None and not during["served"].get("inbound", {}).get(f"{AGENT}@8"):
        faults.append("no call reached version 8, so its rollback proves nothing")
    return faults


def _split(entries: list[dict[str, Any]]) -> str:
    return ", ".join(f"v{e['agent_version']} {percent(e['weight'])}" for e in entries)
