"""What a command costs whose service is stopped: processor time of `list` and of `rollback`, the number read back.

`python -m benchmarks.commands` prints it beside `python -c "import sqlalchemy"`, each in turns, as medians.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rollout.app import build
from rollout.sandbox import Sandbox
from rollout.settings import load_settings

ROOT = Path(__file__).parents[1]
PLAN = """\
version: 1
name: NAME
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: agent_frontdesk, agent_version: 7}
steps: [{weight: 0.1, hold: 1h}, {weight: 1.0}]
gates: []
"""
BASE = "import sqlalchemy"


def processor(environment: dict[str, str], *words: str) -> float:
    """Seconds of processor time that one Python process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(repeats: int = 10) -> dict[str, list[float]]:
    """Seconds of processor time of each: the import, `list` of one rollout, and its `rollback`."""
    found: dict[str, list[float]] = {BASE: [], "list": [], "rollback": []}
    with tempfile.TemporaryDirectory() as folder, Sandbox() as retell:
        retell.add_ready_world(calls_per_hour=0)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROLLOUT_", "PYTHON"))}
        ours = {
            "ROLLOUT_DATABASE_URL": f"sqlite:///{folder}/rollout.db",
            "ROLLOUT_RETELL_BASE_URL": retell.url,
            "RETELL_API_KEY": "key_of_a_benchmark",
            "PYTHONPYCACHEPREFIX": f"{folder}/compiled",  # as an installed package is: compiled once
        }
        environment = {**kept, **ours}
        processor(environment, "-m", "rollout", "db", "upgrade")
        plan = Path(folder, "plan.yaml")
        for turn in range(repeats + 1):
            name = f"frontdesk-{turn}"
            plan.write_text(PLAN.replace("NAME", name), encoding="utf-8")
            processor(environment, "-m", "rollout", "start", str(plan))
            _first_step(environment, name)
            took = {
                BASE: processor(environment, "-c", BASE),
                "list": processor(environment, "-m", "rollout", "list"),
                "rollback": processor(environment, "-m", "rollout", "rollback", name),
            }
            if turn:  # the first one compiles
                for command, seconds in took.items():
                    found[command].append(seconds)
    return found


def _first_step(environment: dict[str, str], name: str) -> None:
    """Puts a rollout's first step in force, in this process."""
    app = build(
        load_settings(
            database_url=environment["ROLLOUT_DATABASE_URL"],
            retell_base_url=environment["ROLLOUT_RETELL_BASE_URL"],
            retell_api_key=environment["RETELL_API_KEY"],
        )
    )
    try:
        assert app.drive(app.store.resolve(name), until=lambda r: r.confirmed_at is not None)
    finally:
        app.close()


def document(found: dict[str, list[float]]) -> str:
    """The table of docs/performance.md."""
    base = statistics.median(found[BASE])
    rows = ["| process | processor time | beside the import |", "| --- | --- | --- |"]
    for command, seconds in found.items():
        words = f'python -c "{command}"' if command == BASE else f"rollout {command}"
        middle = statistics.median(seconds)
        rows.append(f"| `{words}` | {middle * 1000:.0f} ms | {middle / base:.2f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(document(measure()))
