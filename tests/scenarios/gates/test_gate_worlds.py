"""The worlds that fooled the gates, end to end: the sandbox's callers, its lists of calls, verdicts, requests.

Both clocks stand still until the test moves them together, so days pass in seconds and nothing hangs on chance or load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobs.observe import Observe
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.gates.replay import replay
from rollout.domain.gates.verdict import Figures
from rollout.domain.notices.events import of_entry
from rollout.engine.gate_check import GateCheck
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.backend.plan_text import PlanText
from rollout.sandbox import Sandbox
from tests.support.clock import START
from tests.support.scene import Scene
from tests.support.values import entry
from tests.support.values import plan as make_plan

pytestmark = pytest.mark.slow
ONE, TWO = "+14157774444", "+14157774445"
QUIET, LOUD = "agent_quiet", "agent_loud"
QUICK = {"duration_s": 60.0, "duration_sigma": 0.1, "analysis_delay_s": 20.0}
LADDER = [{"weight": 0.1, "hold": "30m"}, {"weight": 0.5, "hold": "30m"}, {"weight": 1.0, "hold": "1h"}]


class Worlds(Scene):
    """A scene whose sandbox has callers, by the scene's clock."""

    def __enter__(self) -> Worlds:
        self.sandbox = Sandbox(seed=5, speed=0, epoch=START.timestamp())
        super().__enter__()
        self.gates = GateCheck(StoredGateRecords(self.app.database))
        self.restart()
        assert self.app.calls is not None
        self.observe = Observe(self.app, self.app.calls)
        return self

    def __exit__(self, *error: Any) -> None:
        self.observe.stop()
        super().__exit__(*error)

    def number(self, number: str, agent: str, calls_per_hour: float, **more: Any) -> None:
        split = [{**entry(6), "agent_id": agent}]
        self.sandbox.add_number(number, inbound_agents=split, calls_per_hour=calls_per_hour, **more)

    def pass_time(
        self, length: timedelta, every: timedelta = timedelta(minutes=2), until: Callable[[], bool] = lambda: False
    ) -> None:
        """Calls come in, are fetched and judged, and what is due is done."""
        end = self.clock.now() + length
        while self.clock.now() < end and not until():
            # Requests take no time on either clock, and pauses of the product move the first one alone.
            self.clock.to(self.clock.now() + every)
            behind = self.clock.now().timestamp() - self.sandbox.clock()["now"] / 1000
            self.sandbox.clock(advance=max(0.0, behind))
            self.observe.tick()
            self.app.store.wake([self.id], read_numbers=False)
            self.drive()

    def rested(self) -> bool:
        return self.rollout.phase.is_final or self.phase == "held"

    def figures(self) -> Figures:
        """The figures of the newest look."""
        verdict = self.rollout.verdict
        assert verdict is not None
        return verdict.arms["canary"].evidence.figures

    def replays(self) -> bool:
        return bool(replay(StoredGateRecords(self.app.database).looks(self.id)).same)


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[Worlds]:
    with Worlds(sqlite_url) as made:
        yield made


def test_a_harmless_canary_with_one_number_overridden_is_held_and_never_rolled_back(scene: Worlds) -> None:
    """A number of base 10 % sends 70 % of the calls to the baseline by its webhook; another of base 40 % does not."""
    scene.sandbox.add_agent(
        QUIET, versions=[{"version": 6, "success": 0.9, **QUICK}, {"version": 7, "success": 0.6, **QUICK}]
    )
    scene.sandbox.add_agent(LOUD, versions=[{"version": 6, "success": 0.6, **QUICK}])
    scene.number(ONE, QUIET, 280, bypass={"agent_id": QUIET, "agent_version": 6, "share": 1.0})
    scene.number(TWO, LOUD, 120)
    scene.given(make_plan(numbers=[ONE, TWO], canary={"agent_id": QUIET, "agent_version": 7}, steps=LADDER, gates={}))
    scene.drive()
    scene.pass_time(timedelta(hours=6), timedelta(minutes=6), until=scene.rested)
    scene.stands("held", 1, reason="split")
    assert f"The calls on {ONE} do not follow the weights: 0 of" in scene.rollout.why
    scene.pass_time(timedelta(hours=12), timedelta(hours=2))  # the failing side is watched while it is held
    scene.stands("held", 1, reason="split")
    assert scene.weight(ONE) == scene.weight(TWO) == 0.1
    assert scene.figures().by_strata
    assert scene.figures().e_gate < 10
    assert scene.replays()


def test_a_wave_that_is_bad_alone_is_never_promoted_on_the_proof_of_the_first(scene: Worlds) -> None:
    scene.sandbox.add_agent(QUIET, versions=[{"version": v, "success": 0.85, **QUICK} for v in (6, 7)])
    scene.number(ONE, QUIET, 600)
    scene.number(TWO, QUIET, 0)
    ladder = [{"weight": 0.3, "hold": "10m"}, {"weight": 1.0, "hold": "10m"}]
    scene.given(
        make_plan(
            numbers=[ONE, TWO],
            waves=[1],
            canary={"agent_id": QUIET, "agent_version": 7},
            steps=ladder,
            gates={"profile": "low-traffic"},
        )
    )
    scene.drive()
    scene.pass_time(timedelta(hours=12), until=lambda: scene.rollout.position.wave == 2 or scene.rested())
    assert scene.rollout.position.wave == 2, scene.rollout.why
    # Its callers are others, and the canary does badly with them.
    scene.sandbox.edit(ONE, calls_per_hour=0)
    scene.sandbox.add_agent(QUIET, versions=[{"version": 7, "success": 0.60, **QUICK}])
    scene.sandbox.edit(TWO, calls_per_hour=600)
    scene.pass_time(timedelta(hours=8), until=scene.rested)
    scene.stands("rolled_back")
    assert max(e.data["position"] for e in scene.app.store.history(scene.id) if e.kind == "confirmed") == "2.1"
    assert scene.replays()


def test_results_lost_on_one_side_are_held_and_told(scene: Worlds) -> None:
    scene.sandbox.add_agent(
        QUIET,
        versions=[{"version": 6, "success": 0.85, **QUICK}, {"version": 7, "success": 0.85, "unjudged": 0.4, **QUICK}],
    )
    scene.number(ONE, QUIET, 240)
    scene.given(make_plan(numbers=[ONE], canary={"agent_id": QUIET, "agent_version": 7}, steps=LADDER, gates={}))
    scene.drive()
    scene.pass_time(timedelta(hours=14), until=scene.rested)
    scene.stands("held", 1, reason="labels")
    held = next(e for e in scene.app.store.history(scene.id) if e.kind == "held")
    told = of_entry(scene.rollout, held)
    assert told is not None
    assert "missing more often for one version" in told.body
    assert scene.figures().e_labels["success"] >= 100
    assert scene.replays()


def test_an_outage_on_the_ninth_day_at_full_weight_is_told_while_it_is_watched(scene: Worlds) -> None:
    """Three days of bake at weight 1 and six good ones after the promotion; then every call breaks down."""
    scene.sandbox.add_agent(QUIET, versions=[{"version": v, "success": 0.85, **QUICK} for v in (6, 7)])
    scene.number(ONE, QUIET, 240)
    ladder = [{"weight": 0.5, "hold": "1h"}, {"weight": 1.0, "hold": "3d"}]
    scene.given(
        make_plan(
            numbers=[ONE],
            canary={"agent_id": QUIET, "agent_version": 7},
            steps=ladder,
            gates={"profile": "low-traffic"},
        )
    )
    scene.drive()
    scene.pass_time(timedelta(days=1), timedelta(minutes=4), until=lambda: scene.rollout.position.step == 2)
    scene.sandbox.edit(ONE, calls_per_hour=2)
    scene.pass_time(timedelta(days=4), timedelta(hours=2), until=scene.rested)
    scene.stands("promoted")
    full = next(e.at for e in scene.app.store.history(scene.id) if e.kind == "completed") - timedelta(days=3)
    to_day_9 = (full + timedelta(days=9)).replace(hour=0, minute=0) - scene.clock.now()
    scene.pass_time(to_day_9, timedelta(hours=3))
    assert scene.journal({"watched"}) == []
    writes = len(scene.patches(ONE))
    before = len(scene.sandbox.calls(ONE))
    scene.sandbox.add_agent(QUIET, versions=[{"version": 7, "hard_error": 1.0, "success": 0.0, **QUICK}])
    scene.pass_time(timedelta(days=1), timedelta(minutes=10), until=lambda: bool(scene.journal({"watched"})))
    assert scene.journal({"watched"}) == ["watched"]
    assert len(scene.sandbox.calls(ONE)) - before <= 10
    watched = next(e for e in scene.app.store.history(scene.id) if e.kind == "watched")
    told = of_entry(scene.rollout, watched)
    assert told is not None
    assert f"To intervene: rollout rollback {scene.id}" in told.body
    assert len(scene.patches(ONE)) == writes
    assert scene.replays()


PLAN = """
version: 1
name: jump
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: agent_quiet, agent_version: 7}
steps: [{weight: 0.1, hold: 30m}, {weight: 1.0, hold: 1h}]
"""


def checked(scene: Worlds, success: float, calls_per_hour: float, text: str = PLAN, **more: Any) -> dict[str, Any]:
    """What `check` says of a number that took calls for ten days."""
    scene.sandbox.add_agent(
        QUIET, versions=[{"version": v, "success": success, "hard_error": 0.0, **QUICK} for v in (6, 7)]
    )
    scene.number(ONE, QUIET, calls_per_hour)
    scene.clock.to(scene.clock.now() + timedelta(days=10))
    scene.sandbox.clock(advance=timedelta(days=10).total_seconds())
    return LocalBackend(scene.app).check(PlanText.read(text, "plan.yaml"), **more)


def test_check_holds_the_margin_against_the_baselines_own_rate(scene: Worlds) -> None:
    report = checked(scene, 0.995, 20)
    assert next(w for w in report["warnings"] if w.startswith("success:")).endswith("write margins: [0.25, 0.05]")
    assert report["ok"]
    assert not LocalBackend(scene.app).check(PlanText.read(PLAN, "plan.yaml"), strict=True)["ok"]
    mended = PLAN + "gates: {metrics: [{name: success, margins: [0.25, 0.05]}, {name: hard_error}]}"
    assert not any("margin" in w for w in LocalBackend(scene.app).check(PlanText.read(mended, "plan.yaml"))["warnings"])


def test_check_proposes_a_ladder_that_decides_at_the_numbers_own_traffic(scene: Worlds) -> None:
    report = checked(scene, 0.85, 2.0)
    assert not any("margin" in w for w in report["warnings"])
    better = report["proposal"]
    assert "{weight: 0.5, hold: 30m}" in better["yaml"]
    assert better["then"]["days"] < better["now"]["days"]
    written = PLAN[: PLAN.index("steps:")] + better["yaml"]
    assert LocalBackend(scene.app).check(PlanText.read(written, "plan.yaml"))["proposal"] is None


def test_check_proposes_nothing_where_the_plan_decides(scene: Worlds) -> None:
    assert checked(scene, 0.85, 30.0)["proposal"] is None


def test_a_backup_model_behind_one_version_is_told_and_changes_nothing(scene: Worlds) -> None:
    scene.sandbox.add_agent(QUIET, versions=[{"version": 6, **QUICK}, {"version": 7, "backup_model": 0.5, **QUICK}])
    scene.number(ONE, QUIET, 120)
    steps = [{"weight": 0.5, "hold": "6h"}, {"weight": 1.0, "hold": "1h"}]
    scene.given(make_plan(canary={"agent_id": QUIET, "agent_version": 7}, steps=steps, gates={}))
    scene.drive()
    scene.pass_time(timedelta(hours=2), timedelta(minutes=5))
    scene.stands("progressing", 1)
    [noted] = [e for e in scene.app.store.history(scene.id) if e.kind == "backup_models"]
    assert "of the canary and 0 of" in noted.reason
    notice = of_entry(scene.rollout, noted)
    assert notice is not None
    assert "a backup model answers one version's calls more often" in notice.title
