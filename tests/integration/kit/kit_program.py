"""A rollout as the store would have it, and its kit run as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState
from rollout.domain.plan.plan import Plan

KEY = "key_canary_91b7c2f0"
AGENT = "agent_frontdesk"
ONE = "+14155550100"
BASELINE: list[dict[str, Any]] = [
    {"agent_id": AGENT, "agent_version": 6, "weight": 0.6667},
    {"agent_id": AGENT, "agent_version": "prod", "weight": 0.3333},
]
OUTBOUND: list[dict[str, Any]] = [{"agent_id": AGENT, "agent_version": 5, "weight": 1}]
FORWARD: list[dict[str, Any]] = [
    {"agent_id": AGENT, "agent_version": 7, "weight": 0.5},
    {"agent_id": AGENT, "agent_version": 6, "weight": 0.5},
]
LISTS = {"inbound": "inbound_agents", "outbound": "outbound_agents"}


def make_rollout(
    numbers: list[str],
    channels: tuple[str, ...] = ("inbound",),
    base_url: str = "",
    baseline: list[dict[str, Any]] = BASELINE,
    **changes: Any,
) -> Rollout:
    """A rollout at position 1.1 that has confirmed FORWARD on each number."""
    plan = Plan.model_validate(
        {
            "version": 1,
            "name": "frontdesk-v7",
            "numbers": numbers,
            "channels": list(channels),
            "canary": {"agent_id": AGENT, "agent_version": 7},
            "steps": [{"weight": 0.5, "hold": "30m"}, {"weight": 1.0, "hold": "1d"}],
            "gates": [],
        }
    )
    all_lists = {"inbound_agents": baseline, "outbound_agents": OUTBOUND}
    served: dict[str, Any] = {LISTS[channel]: all_lists[LISTS[channel]] for channel in channels}
    targets = [
        Target(number, order, 1, served, dict.fromkeys(served, FORWARD), 1, 1, "", TargetState.CONFIRMED, True)
        for order, number in enumerate(numbers)
    ]
    at = datetime(2026, 11, 3, 12, tzinfo=UTC)
    given: dict[str, Any] = {"id": "k7m2p4r6t8", "name": plan.name, "targets": targets, **changes}
    return Rollout(
        plan=plan,
        phase=Phase.PROGRESSING,
        reason=None,
        position=Position(1, 1),
        epoch=3,
        created_at=at,
        updated_at=at,
        base_url=base_url,
        **given,
    )


@dataclass
class Ran:
    """How a kit ended."""

    code: int
    out: str
    err: str


@dataclass
class Kit:
    """A kit on disk. `start` begins it, `run` also waits for its end."""

    path: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.path.with_suffix(".log")

    def start(
        self, *options: str, key: str | None = KEY, flags: str = "-I", env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "TZ": "UTC", **(env or {})}
        if key is not None:
            environment["RETELL_API_KEY"] = key
        process = subprocess.Popen(
            [sys.executable, *flags.split(), self.path.name, *options],
            cwd=self.path.parent,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.running.append(process)
        return process

    def run(self, *options: str, **how: Any) -> Ran:
        out, err = (process := self.start(*options, **how)).communicate(timeout=30)
        return Ran(process.returncode, out, err)

    def change(self, old: str, new: str) -> None:
        """Shorten a constant of the program, so that a test need not wait for it."""
        text = self.path.read_text()
        assert text.count(old) == 1
        self.path.write_text(text.replace(old, new))
