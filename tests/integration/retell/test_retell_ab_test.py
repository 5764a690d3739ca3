"""An A/B test of three versions on a server of other hands: what it serves after the decision, whoever takes it.

Every request, those of the kit too, is held against Retell's document.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rollout.domain.errors import Refused
from rollout.domain.lifecycle.commands import By
from rollout.kit.build import write_kit
from tests.integration.retell.foreign_retell import AGENT, ME, ForeignCase
from tests.integration.retell.retell_peer import KEY
from tests.support.verdicts import ENOUGH, ab_verdict

DAY = 86_400
BEFORE = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]


def serving(**weights: float) -> dict[int, float]:
    return {{"a": 6, "b": 7, "c": 8}[arm]: weight for arm, weight in weights.items()}


def served(case: ForeignCase) -> dict[int, float]:
    """What the foreign server has, not what the product thinks."""
    return {entry["agent_version"]: entry["weight"] for entry in case.retell.agents}


def begin(case: ForeignCase, **plan_changes: Any) -> ForeignCase:
    """The last step is confirmed: 40 % of the calls stay with version 6, 30 % each have 7 (b) and 8 (c)."""
    variants = {arm: {"agent_id": AGENT, "agent_version": version} for arm, version in (("b", 7), ("c", 8))}
    steps = [{"weights": {"b": share, "c": share}, "hold": hold} for share, hold in ((0.1, "30m"), (0.3, "1d"))]
    case.start(canary=None, variants=variants, steps=steps, **plan_changes)
    case.after(0)
    assert served(case) == serving(a=0.8, b=0.1, c=0.1)
    case.app.commands.promote(case.id, ME)
    case.after(0)
    assert served(case) == serving(a=0.4, b=0.3, c=0.3)
    return case


@pytest.fixture
def ab(case: ForeignCase) -> ForeignCase:
    return begin(case)


def ship_c(case: ForeignCase) -> None:
    with pytest.raises(Refused, match="no gate has judged c yet"):
        case.app.commands.ship(case.id, ME, variant="c")
    case.app.commands.ship(case.id, By("cli:test", "c books more"), variant="c", anyway=True)
    case.after(0)
    assert served(case) == serving(c=1)


def test_a_version_that_is_shipped_by_hand_has_every_call_and_keeps_them(ab: ForeignCase) -> None:
    ship_c(ab)
    ab.restart()
    ab.after(DAY, every=3_600)
    assert str(ab.rollout.phase) == "promoted"
    assert served(ab) == serving(c=1)
    assert [len(body["inbound_agents"]) for body in ab.patches()] == [3, 3, 1]


def test_a_version_that_the_plan_ships_has_every_call_and_keeps_them(case: ForeignCase) -> None:
    case.gates.verdict = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)})
    begin(case, gates={"profile": "standard"}, decide={"after": "7d"})
    case.after(7 * DAY - 1, every=3_600)
    assert served(case) == serving(a=0.4, b=0.3, c=0.3)
    case.after(1)
    assert served(case) == serving(c=1)
    case.after(DAY, every=3_600)
    assert str(case.rollout.phase) == "promoted"
    assert served(case) == serving(c=1)


def test_weights_set_by_hand_are_served_until_the_decision(ab: ForeignCase) -> None:
    ab.app.commands.set_weights(ab.id, ME, weights={"b": 0.05, "c": 0.6})
    ab.after(0)
    assert served(ab) == serving(a=0.35, b=0.05, c=0.6)
    ship_c(ab)


def test_where_nothing_is_shipped_the_number_serves_again_what_it_did_before(ab: ForeignCase) -> None:
    ab.app.commands.rollback(ab.id, ME)
    ab.after(0)
    assert str(ab.rollout.phase) == "rolled_back"
    assert ab.retell.agents == BEFORE


def test_where_the_test_is_stopped_the_number_keeps_its_split(ab: ForeignCase) -> None:
    ab.app.commands.stop(ab.id, ME)
    ab.after(0)
    assert str(ab.rollout.phase) == "stopped"
    assert served(ab) == serving(a=0.4, b=0.3, c=0.3)


def run(kit: Path, *options: str) -> dict[str, Any]:
    environment = {"PATH": "/usr/bin:/bin", "RETELL_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-I", kit, *options], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return {"code": done.returncode, "said": done.stdout + done.stderr}


def test_the_kit_takes_a_shipped_version_back_without_the_service(ab: ForeignCase, tmp_path: Path) -> None:
    ship_c(ab)
    url, now = ab.peer.url, ab.clock.now()
    kit = write_kit(ab.rollout, tmp_path, base_url=url, lease=0.1, horizon=0.1, now=now)
    ran = run(kit)
    assert ran["code"] == 0, ran["said"]
    assert ab.retell.agents == BEFORE
