"""A rollout whose numbers live in a sandbox, and its kit beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rollout.kit.build import write_kit
from rollout.sandbox import Sandbox
from tests.integration.kit.kit_program import AGENT, BASELINE, FORWARD, KEY, ONE, OUTBOUND, Kit, make_rollout


@pytest.fixture
def world() -> Iterator[Sandbox]:
    """A sandbox that takes KEY alone and has the agent; numbers are added by `kit`."""
    with Sandbox(key=KEY) as sandbox:
        sandbox.add_agent(AGENT, [5, 6, 7], tags={"prod": 6})
        yield sandbox


@pytest.fixture
def kit(world: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Kit]]:
    """Puts numbers that serve FORWARD into the sandbox and writes a kit for them."""
    made: list[Kit] = []

    def make(
        numbers: list[str] | None = None,
        channels: tuple[str, ...] = ("inbound",),
        *,
        lease: float = 0.1,
        horizon: float = 0.2,
        base_url: str = "",
        baseline: list[dict[str, Any]] = BASELINE,
    ) -> Kit:
        for number in numbers or [ONE]:
            world.add_number(
                number, nickname="Front", inbound_agents=FORWARD, outbound_agents=FORWARD, inbound_sms_agents=OUTBOUND
            )
        rollout = make_rollout(numbers or [ONE], channels, base_url or world.url, baseline=baseline)
        now = datetime(2026, 11, 3, 12, 5, tzinfo=UTC)
        path = write_kit(rollout, tmp_path, base_url="", lease=lease, horizon=horizon, now=now)
        made.append(Kit(path))
        return made[-1]

    yield make
    for one in made:
        for process in one.running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        if one.log.is_file():
            unforeseen = [line for line in one.log.read_text().splitlines() if '"unexpected ' in line]
            assert unforeseen == [], "a mistake of the kit's own, which it survived"
