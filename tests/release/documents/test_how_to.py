"""The plans and commands of the how-to guides, run in the order of the page against a sandbox with their numbers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rollout.sandbox import Sandbox
from tests.release.documents.shell import blocks, commands
from tests.support.command_line import REPOSITORY, CommandLine
from tests.support.plans import PLAN
from tests.support.service import service, wait_until

FOLDER = REPOSITORY / "docs" / "how-to"
# What needs a service or a terminal, or is run by a test of its own (test_tutorial.py).
NOT_RUN = {"serve", "watch", "doctor", "token"}
NEED_A_ROLLOUT = {"show", "history", "report", "replay", "promote", "pause", "resume", "rollback", "set", "ship"}
# A rehearsal of two runs says the same as one of a hundred, and two weeks of calls are not waited for.
BESIDES = {"rehearse": ("--runs", "2"), "ship": ("--anyway",)}
HOURS = 8  # of calls before the first command
GUIDES = [
    "ab-test",
    "agent-tests",
    "first-rollout",
    "fleet",
    "gates",
    "good-version-rolled-back",
    "on-call",
    "plans-in-git",
    "sms",
    "weights-and-holds",
]


@pytest.fixture
def retell() -> Iterator[Sandbox]:
    """A sandbox whose clock shows now, with calls of the last hours once it is told of numbers."""
    with Sandbox(epoch=time.time() - HOURS * 3600, speed=0) as server:
        yield server


def populate(retell: Sandbox, plan: dict[str, Any]) -> None:
    """The numbers and agents that a plan is about, and their calls."""
    refs = [plan["canary"]] if "canary" in plan else list(plan["variants"].values())
    baseline = min(ref["agent_version"] for ref in refs) - 1
    agent = refs[0]["agent_id"]
    versions = [
        {"version": v, "success": 0.85, "test_pass": 1, "test_s": 1}
        for v in (baseline, *(ref["agent_version"] for ref in refs))
    ]
    channel = "chat" if "inbound_sms" in plan["channels"] else "voice"
    retell.add_agent(agent, versions, channel=channel)
    if "tests" in plan:
        retell.add_test_case("case_booking", agent_id=agent, name="Books a table")
    lists = {f"{c}_agents": [{"agent_id": agent, "agent_version": baseline, "weight": 1}] for c in plan["channels"]}
    named = [n for n in plan["numbers"] if isinstance(n, str)]
    for i, number in enumerate(named or [f"+1415888{i:04}" for i in range(30)]):
        rates = dict.fromkeys(plan["channels"], 20.0)
        retell.add_number(number, nickname=f"Branch {i}", calls_per_hour=rates, **lists)
    retell.clock(advance=HOURS * 3600.0)
    retell.clock(speed=1)


def plan_of(page: Path) -> str:
    """The guide's plan, or the usual one where it is about a rollout that was there before."""
    whole = [b for b in blocks(page, "yaml") if {"version", "numbers", "steps"} <= set(_yaml(b))]
    return whole[0] if whole else PLAN.replace("{weight: 1.0}", "{weight: 1.0, hold: 1h}")


def _yaml(text: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_does_what_it_says(
    guide: str, command_line: CommandLine, retell: Sandbox, sqlite_template: Path
) -> None:
    page = FOLDER / f"{guide}.md"
    plan = _yaml(plan_of(page))
    populate(retell, plan)
    command_line.use(retell.url)
    shutil.copy(sqlite_template, command_line.folder / "rollout.db")
    (command_line.folder / "plans").mkdir()
    for file in (f"{plan['name']}.yaml", "plan.yaml", "plans/frontdesk.yaml"):
        command_line.write(file, plan_of(page))
    wanted = [c.words for c in commands(page) if c.whole and c.words[0] not in NOT_RUN]
    assert wanted, "a guide has commands"
    with service(command_line.folder, command_line.variables(), "--no-http"):
        for words in wanted:
            words = tuple(plan["name"] if word == "NAME" else word for word in words)
            prepare(command_line, plan["name"], words[0])
            done = command_line(*words, *BESIDES.get(words[0], ()))
            assert done.code == 0, f"rollout {' '.join(words)}: {done.err}"


def prepare(rollout: CommandLine, name: str, command: str) -> None:
    """What a reader has when the guide comes to this command: a live rollout, a paused one, or none of this name."""
    live = any(r["name"] == name for r in rollout("list", "--live", "--json").json)
    if command == "start" and live:
        assert rollout("rollback", name).code == 0
        wait_until(lambda: rollout("show", name, "--json").json["phase"] == "rolled_back")
    if command in NEED_A_ROLLOUT:
        if not live:
            assert rollout("start", "plan.yaml").code == 0
        wait_until(lambda: rollout("show", name, "--json").json["confirmed_at"])
    if command == "resume":
        assert rollout("pause", name).code == 0
