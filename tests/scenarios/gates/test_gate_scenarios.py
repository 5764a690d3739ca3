"""The gate check on stored calls, with the clock in the test's hand: what it decides, and what it does not."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from rollout.adapters.planfile import load_plan
from rollout.adapters.store import gate_records, rebuild
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.errors import PlanError
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.replay import replay
from rollout.domain.gates.verdict import GateEvidence, GateVerdict
from rollout.domain.lifecycle.commands import By
from rollout.engine.gate_check import GateCheck
from tests.support.scene import Scene
from tests.support.values import plan as make_plan

ONE = "+14157774444"
AGENT = "agent_frontdesk"


class GateScene(Scene):
    """A scene with the real gates; calls come from the test."""

    def __enter__(self) -> GateScene:
        super().__enter__()
        self.gates = GateCheck(StoredGateRecords(self.app.database))
        self.app.close()
        self.app = self._build()
        self.random = random.Random(7)
        self.made = 0
        return self

    def call(self, version: int, *, bad: bool, hard: bool = False, **changes: object) -> CallRecord:
        """One finished, analysed call that started just now."""
        self.made += 1
        at = self.clock.now()
        record = CallRecord(
            f"call_{self.made}",
            AGENT,
            version,
            ONE,
            "inbound",
            at,
            at + timedelta(seconds=60),
            "ended",
            "error_llm_websocket_open" if hard else "user_hangup",
            800.0,
            not bad,
            "Negative" if bad else "Neutral",
            False,
            {},
            True,
        )
        return dataclasses.replace(record, **changes)

    def calls(
        self,
        count: int,
        *,
        share: float | None,
        canary_bad: float,
        baseline_bad: float = 0.15,
        every: float = 30.0,
        look_every: int = 1,
    ) -> None:
        """Calls, one every so many seconds, each driven for; a bad canary call is a hard error, too."""
        for i in range(count):
            self.clock.to(self.clock.now() + timedelta(seconds=every))
            canary = self.random.random() < (self.weight(ONE) if share is None else share)
            bad = self.random.random() < (canary_bad if canary else baseline_bad)
            self.app.store.calls.observe(
                [self.call(7 if canary else 6, bad=bad, hard=bad and canary and canary_bad > 0.5)]
            )
            if i % look_every:
                continue
            self.polled()
            self.app.store.wake([self.id], read_numbers=False)
            self.drive()
            if self.rollout.phase.is_final:
                return

    def polled(self) -> None:
        """The service has fetched the calls just now."""
        now = self.clock.now()
        self.app.store.calls.mark(FetchMark(ONE, "inbound", now - timedelta(seconds=60), now))


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[GateScene]:
    with GateScene(sqlite_url) as made:
        yield made


def evidence_of(scene: GateScene) -> GateEvidence:
    """What the newest verdict on the canary rests on."""
    verdict = scene.rollout.verdict
    assert verdict is not None
    return verdict.arms["canary"].evidence


def judged(**changes: object) -> object:
    steps = [{"weight": 0.1, "hold": "30m"}, {"weight": 0.5, "hold": "30m"}, {"weight": 1.0, "hold": "1h"}]
    return make_plan(**{"steps": steps, "gates": {"profile": "low-traffic"}, **changes})


def test_a_dead_canary_is_rolled_back_after_a_handful_of_its_calls(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(200, share=0.1, canary_bad=1.0)
    scene.stands("rolled_back")
    assert 3 <= sum(evidence_of(scene).figures.counts["hard_error"][:2]) <= 8
    failed = next(e for e in scene.app.store.history(scene.id) if e.kind == "failed")
    assert failed.data["verdict"]["outcome"] == "fail"
    assert failed.data["verdict"]["arms"]["canary"]["evidence"]["tally"]["cells"]


def test_an_equal_canary_is_promoted_by_the_same_calls(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(1500, share=None, canary_bad=0.15, look_every=6)
    scene.stands("promoted")
    assert scene.journal({"confirmed"}) == ["confirmed"] * 3


def test_calls_that_do_not_follow_the_weights_hold_and_never_roll_back(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(300, share=0.0, canary_bad=0.15, look_every=10)
    scene.stands("held", 1, reason="split")
    assert scene.weight(ONE) == 0.1


def test_no_calls_for_a_night_hold_with_an_estimate(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(60, share=0.1, canary_bad=0.15)
    scene.clock.to(scene.clock.now() + timedelta(hours=12))
    scene.polled()
    scene.app.store.wake([scene.id], read_numbers=False)
    scene.drive()
    scene.stands("progressing", 1)
    assert "more calls" in scene.rollout.why


def test_calls_that_cannot_be_fetched_for_an_hour_hold_and_change_nothing(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(40, share=0.1, canary_bad=0.15)
    writes = len(scene.patches(ONE))
    for _ in range(12):
        scene.app.store.calls.mark_trouble(ONE, "inbound", scene.clock.now(), "down")
        scene.clock.to(scene.clock.now() + timedelta(minutes=5))
        scene.app.store.wake([scene.id], read_numbers=False)
        scene.drive()
    scene.stands("progressing", 1)
    assert "cannot read the calls" in scene.rollout.why
    assert scene.rollout.verdict is not None and scene.rollout.verdict.outcome == "unmeasurable"
    assert len(scene.patches(ONE)) == writes


@pytest.mark.slow
def test_good_results_that_come_an_hour_late_for_one_arm_do_not_roll_back(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    late: list[CallRecord] = []
    for i in range(240):
        scene.clock.to(scene.clock.now() + timedelta(seconds=30))
        canary, bad = i % 10 == 0, scene.random.random() < 0.15
        record = scene.call(7 if canary else 6, bad=bad)
        if canary and not bad:
            late.append(record)
            record = dataclasses.replace(record, analyzed=False, successful=None, sentiment=None)
        scene.app.store.calls.observe([record])
        scene.polled()
        scene.app.store.wake([scene.id], read_numbers=False)
        scene.drive()
    assert scene.phase == "progressing"
    scene.app.store.calls.observe(late)
    scene.app.store.wake([scene.id], read_numbers=False)
    scene.drive()
    assert scene.phase == "progressing"


def test_calls_during_the_change_of_a_weight_belong_to_no_step(scene: GateScene) -> None:
    scene.given(judged())
    early = [scene.call(7, bad=True, hard=True) for _ in range(5)]
    scene.drive()
    for record in early:
        assert record.started_at is not None
        before = dataclasses.replace(record, started_at=scene.rollout.started_at)
        scene.app.store.calls.observe([before])
    confirmed = scene.rollout.confirmed_at
    assert confirmed is not None
    scene.clock.to(confirmed + timedelta(minutes=1))
    scene.polled()
    scene.app.store.wake([scene.id], read_numbers=False)
    scene.drive()
    cells = evidence_of(scene).tally.cells
    inside = [c for c in early if c.started_at is not None and c.started_at >= confirmed]
    assert sum(c.started[0] for c in cells) == len(inside)


@pytest.mark.slow
def test_every_stored_look_is_computed_again_to_the_same_figures(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(150, share=0.1, canary_bad=0.3)
    looks = StoredGateRecords(scene.app.database).looks(scene.id)
    assert len(looks) > 50
    again = replay(looks, {"profile": "strict"})
    assert again.same, again.different
    assert again.looks == len(looks)
    assert again.other is not None
    assert (again.decided, again.other["canary"].outcome) == ({}, "undecided")
    stored = looks[10].verdict.to_json()
    stored["arms"]["canary"]["evidence"]["numbers"]["e_gate"] += 1.0
    looks[10] = dataclasses.replace(looks[10], verdict=GateVerdict.from_json(stored))
    assert not replay(looks).same


def test_a_person_goes_on_after_a_failure_and_is_on_record(scene: GateScene) -> None:
    scene.given(judged(on_failure="pause"))
    scene.drive()
    scene.calls(120, share=0.1, canary_bad=1.0)
    scene.stands("paused", 1)
    assert "worse" in str(scene.rollout.reason)
    scene.app.commands.resume(scene.id, By("cli:maria", "a test number, not callers"))
    scene.drive()
    assert scene.phase == "progressing"  # the hold is long over: it goes on at once, as the person said
    resumed = next(e for e in scene.app.store.history(scene.id) if e.kind == "resume")
    assert resumed.actor == "cli:maria"
    assert scene.rollout.waived


def test_what_the_gates_bet_on_is_fixed_by_the_calls_before_the_start_and_never_again(scene: GateScene) -> None:
    now = scene.clock.now()
    before = [
        scene.call(6, bad=i % 4 == 0, call_id=f"old_{i}", started_at=now - timedelta(hours=i + 1)) for i in range(200)
    ]
    scene.app.store.calls.observe(before)
    scene.given(judged())
    scene.drive()
    assert scene.rollout.history is None, "no call has been fetched since it began"
    assert "being read" in str(scene.gates.look(scene.rollout, scene.app.store.now()).verdict)
    scene.calls(20, share=0.1, canary_bad=0.15)
    fixed = scene.rollout.history
    assert fixed is not None
    assert (fixed.edition, fixed.rates["success"], fixed.calls) == (2, 0.25, 200)
    late = [replace_start(c, now - timedelta(days=2), i) for i, c in enumerate(before)]
    scene.app.store.calls.observe(late)
    scene.calls(20, share=0.1, canary_bad=0.15)
    assert scene.rollout.history == fixed
    config = evidence_of(scene).config
    assert config.history == fixed.rates
    looks = StoredGateRecords(scene.app.database).looks(scene.id)
    assert replay(looks).same


def replace_start(call: CallRecord, at: datetime, i: int) -> CallRecord:
    return dataclasses.replace(call, call_id=f"late_{i}", started_at=at, successful=False)


def test_a_rollout_that_began_before_keeps_the_rules_it_began_under(scene: GateScene) -> None:
    scene.given(judged(gates={"profile": "standard"}))
    scene.drive()
    with scene.app.database.write() as connection:  # as the migration leaves it
        gate_records.set_history(connection, scene.id, BaselineHistory(edition=1))
    scene.calls(40, share=0.1, canary_bad=0.15)
    config = evidence_of(scene).config
    assert (config.edition, config.history) == (1, {})
    assert config.metrics[0].margins == (0.25, 0.10)
    assert replay(StoredGateRecords(scene.app.database).looks(scene.id)).same


def test_results_that_go_missing_on_one_side_hold_and_a_person_goes_on(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    for i in range(400):
        scene.clock.to(scene.clock.now() + timedelta(seconds=30))
        canary, bad = i % 10 == 0, scene.random.random() < 0.15
        record = scene.call(7 if canary else 6, bad=bad)
        if canary and i % 20 == 0:
            record = dataclasses.replace(record, successful=None, sentiment=None)
        scene.app.store.calls.observe([record])
        if i % 10 == 9:
            scene.polled()
            scene.app.store.wake([scene.id], read_numbers=False)
            scene.drive()
        if scene.phase == "held":
            break
    scene.stands("held", 1, reason="labels")
    assert "missing more often for one version" in scene.rollout.why
    assert scene.weight(ONE) == 0.1
    scene.app.commands.adopt(scene.id, By("cli:maria", "the analysis of the new agent was off on purpose"))
    assert scene.rollout.labels_waived
    scene.polled()
    scene.drive()
    assert scene.phase == "progressing"
    assert not rebuild_differences(scene)


def rebuild_differences(scene: GateScene) -> list[str]:
    with scene.app.database.read() as connection:
        return rebuild.differences(connection, scene.id)


def test_a_misnamed_metric_is_refused_with_the_nearest_name() -> None:
    text = """
version: 1
name: x
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: a, agent_version: 7}
steps: [{weight: 0.1}]
gates: {metrics: [{name: sucess}]}
"""
    with pytest.raises(PlanError, match="success"):
        load_plan(text)


@pytest.mark.slow
def test_calls_at_the_retreat_weight_are_evidence_at_that_weight_and_none_of_the_steps(scene: GateScene) -> None:
    steps = [{"weight": 0.5, "hold": "9h", "min_calls": 1000}, {"weight": 1.0, "hold": "1h"}]
    hours = {"zone": "UTC", "windows": [{"from": "09:00", "to": "18:00"}], "closing": {"retreat": 0.05}}
    scene.given(judged(steps=steps, **hours))
    scene.drive()  # it is 17:00
    scene.calls(100, share=None, canary_bad=0.15)
    scene.polled()
    scene.after(60 * 60 - 100 * 30)
    assert scene.weight(ONE) == 0.05
    scene.calls(40, share=None, canary_bad=0.15)
    look = scene.gates.look(scene.rollout, scene.app.store.now())
    assert look.verdict is not None
    evidence = look.verdict.arms["canary"].evidence
    cells = evidence.tally.cells
    started = {(c.position, c.weight): sum(c.started) for c in cells}
    assert started == {(1, 0.5): 100, (-1, 0.05): 40}
    by_day = sum(c.started[0] for c in cells if c.position == 1)
    assert look.canary_calls == by_day, "those of the night are none of this step's"
    assert evidence.figures.canary_calls <= by_day
    scene.clock.to(scene.app.store.now().replace(hour=9, minute=0) + timedelta(days=1))
    scene.polled()
    scene.drive()
    assert scene.weight(ONE) == 0.5
    scene.calls(10, share=None, canary_bad=0.15)
    look = scene.gates.look(scene.rollout, scene.app.store.now())
    assert look.verdict is not None
    cells = look.verdict.arms["canary"].evidence.tally.cells
    assert [(c.position, c.weight) for c in cells] == [(1, 0.5), (-1, 0.05), (1, 0.5)]
    assert look.canary_calls == sum(c.started[0] for c in cells if c.position == 1)


UNJUDGED = {"profile": "none"}


def test_calls_are_counted_where_nothing_else_is_asked_for(scene: GateScene) -> None:
    """Gates off, and one step of several that waits for its calls."""
    steps = [{"weight": 0.5, "hold": "10m", "min_calls": 5}, {"weight": 1.0, "hold": "1h"}]
    scene.given(make_plan(steps=steps, gates=UNJUDGED))
    scene.drive()
    scene.after(3_600)
    scene.stands("progressing", 1)
    assert scene.rollout.why == "0 of 5 canary calls seen"
    scene.app.store.calls.observe([scene.call(6, bad=False) for _ in range(9)])
    scene.app.store.calls.observe([scene.call(7, bad=False) for _ in range(4)])
    scene.after(1_801)
    assert scene.rollout.why == "4 of 5 canary calls seen"
    scene.app.store.calls.observe([scene.call(7, bad=False)])
    scene.after(1_801)
    scene.stands("progressing", 2)
    scene.after(3_700)
    scene.stands("promoted")


VARIANTS = {"b": {"agent_id": AGENT, "agent_version": 7}, "c": {"agent_id": AGENT, "agent_version": 8}}


def test_two_variants_are_judged_one_by_one_and_held_when_their_calls_do_not_follow_the_weights(
    scene: GateScene,
) -> None:
    scene.given(
        make_plan(
            canary=None,
            variants=VARIANTS,
            steps=[{"weights": {"b": 0.2, "c": 0.2}, "hold": "1d"}],
            gates={"profile": "low-traffic"},
        )
    )
    scene.drive()
    scene.polled()
    found = scene.gates.look(scene.rollout, scene.app.store.now()).verdict
    assert found is not None
    assert (found.outcome, found.alarm) == ("undecided", None)
    assert list(found.arms) == ["b", "c"]
    assert "of variant b. " in found.reason and "of variant c." in found.reason
    served = iter([6, 6, 6, 7] * 100)  # b has its share, and c has no call at all
    for version in served:
        scene.clock.to(scene.clock.now() + timedelta(seconds=30))
        scene.app.store.calls.observe([scene.call(version, bad=False)])
    scene.polled()
    scene.app.store.wake([scene.id], read_numbers=False)
    scene.drive()
    scene.stands("held", 1, reason="split")
    verdict = scene.rollout.verdict
    assert verdict is not None and verdict.alarm == "split"
    assert (verdict.arms["b"].alarm, verdict.arms["c"].alarm) == (None, "split")
    assert "0 of " in verdict.reason and "went to variant c, 25 % were expected" in verdict.reason


def test_a_bad_variant_beside_a_good_one_is_named_and_rolls_back_both(scene: GateScene) -> None:
    scene.given(
        make_plan(
            canary=None,
            variants=VARIANTS,
            steps=[{"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}],
            gates={"profile": "low-traffic"},
        )
    )
    scene.drive()
    for version in (6, 7, 8) * 40:
        scene.clock.to(scene.clock.now() + timedelta(seconds=30))
        scene.app.store.calls.observe([scene.call(version, bad=version == 8, hard=version == 8)])
    scene.polled()
    scene.app.store.wake([scene.id], read_numbers=False)
    scene.drive()
    scene.stands("rolled_back")
    assert str(scene.rollout.reason).startswith("Variant c is worse: ")
    assert scene.weight(ONE, 6) == 1


def test_a_rollout_of_the_first_edition_judges_slowness_by_the_baseline_calls_that_have_a_latency(
    scene: GateScene,
) -> None:
    """Calls of others, and calls of the baseline without a latency, do not count."""
    at = scene.clock.now()
    for i in range(300):
        scene.clock.to(at + timedelta(seconds=30 * i))
        latency = None if i % 3 == 0 else 1000.0
        others = scene.call(5, bad=False, e2e_p50_ms=9000.0)
        scene.app.store.calls.observe([scene.call(6, bad=False, e2e_p50_ms=latency), others])
    scene.given(judged())
    scene.drive()
    with scene.app.database.write() as connection:
        gate_records.set_history(connection, scene.id, BaselineHistory(edition=1))
    for version in (6, 7):
        scene.clock.to(scene.clock.now() + timedelta(seconds=30))
        scene.app.store.calls.observe([scene.call(version, bad=False, e2e_p50_ms=1001.0)])
    scene.polled()
    found = scene.gates.look(scene.rollout, scene.app.store.now()).verdict
    assert found is not None
    counts = found.arms["canary"].evidence.figures.counts
    assert counts["slow:p50"][:2] == (1, 0), "slower than the 1,000 ms of every call that counts"
