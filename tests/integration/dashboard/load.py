"""`python -m tests.integration.dashboard.load`: how long the pages take with 300 live rollouts and 2,000 numbers.

It asks a service on this machine, one request after the other, and prints a table in Markdown: the median and the
slowest answer by the clock, and the processor time of the whole process (client, service and sandbox) per request.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.integration.dashboard.test_dashboard_states import keep_all, kept
from tests.integration.dashboard.world import World, world
from tests.support.values import plan

ROLLOUTS, NUMBERS, TIMES = 300, 2_000, 30
AGENTS = ("agent_reception", "agent_billing", "agent_support")
PHASES = (*["progressing"] * 5, "paused", "held", "pending", "rolling_back")
PATHS = {
    "the overview": "/",
    "sorted by name, grouped by agent": "/?sort=name&group=agent",
    "one agent": "/?agent=agent_billing",
    "the confirmation of stop the line": "/bulk/pause",
    "the account's numbers": "/numbers",
    "the journal": "/journal",
    "the calendars": "/calendars",
    "the system": "/system",
}


def seed(service: World) -> None:
    """The rollouts, in the phases that a busy account has, and their numbers at the sandbox."""
    numbers = [f"+1415{6_000_000 + i}" for i in range(NUMBERS)]
    for number in numbers:
        service.sandbox.add_number(
            number, inbound_agents=[{"agent_id": AGENTS[0], "agent_version": 6, "weight": 1}], nickname="Front desk"
        )
    each, made = NUMBERS // ROLLOUTS, []
    for i in range(ROLLOUTS):
        mine, agent = numbers[i * each : (i + 1) * each], AGENTS[i % len(AGENTS)]
        of = plan(mine, name=f"{agent[6:]}-{i:03d}", canary={"agent_id": agent, "agent_version": 7})
        made.append(kept(i, mine, of, phase=PHASES[i % len(PHASES)]))
    keep_all(service, made)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), ticking=False) as service:
        seed(service)
        cookie = service.session("admin")
        print(f"{ROLLOUTS} live rollouts, {NUMBERS:,} numbers, {TIMES} requests each\n")
        print("| page | median | slowest | processor |\n| --- | --- | --- | --- |")
        for name, path in PATHS.items():
            service.ask("GET", path, cookie=cookie)
            took, used = [], time.process_time()
            for _ in range(TIMES):
                began = time.perf_counter()
                answer = service.ask("GET", path, cookie=cookie)
                took.append((time.perf_counter() - began) * 1000)
                assert answer.status == 200, (path, answer.status)
            used = (time.process_time() - used) * 1000 / TIMES
            print(f"| {name} | {statistics.median(took):.0f} ms | {max(took):.0f} ms | {used:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
