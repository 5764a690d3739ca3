"""What a rollout's page says of it: what moves, what is missing, what a promotion overrides, and what it draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.gates.summary import summarise
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.interfaces.dashboard import evidence_charts, history_charts, rollout_page, rollout_sentences
from rollout.interfaces.dashboard.page_state import HistoryLine, line_of
from tests.integration.dashboard.world import World, _server
from tests.scenarios.gates.test_gate_scenarios import GateScene, judged
from tests.support.clock import START
from tests.support.values import confirmed, only, plan, rollout, target


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[GateScene]:
    """A rollout after thirty-one equal calls: nothing is decided, and a forecast is made."""
    with GateScene(sqlite_url) as made:
        made.given(judged())
        made.drive()
        made.calls(31, share=None, canary_bad=0.15, look_every=30)
        yield made


# ------------------------------------------------------------------ what moves


def test_one_agent_is_named_once_and_its_versions_around_an_arrow() -> None:
    moved = rollout_sentences.version_change(rollout())
    assert (moved.agent, moved.before, moved.after) == ("agent_frontdesk", "v6", "v7")


def test_several_baselines_are_all_named_and_other_agents_in_full() -> None:
    two = rollout(targets=(target(), target("+14157774445", baseline=only(5))))
    assert rollout_sentences.version_change(two).before == "v5, v6"
    other = rollout(plan=plan(canary={"agent_id": "agent_new", "agent_version": 1}))
    assert rollout_sentences.version_change(other) == rollout_sentences.VersionChange(
        "", "agent_frontdesk v6", "agent_new v1"
    )


def test_the_place_counts_steps_and_waves_where_there_are_several() -> None:
    assert rollout_sentences.step_text(rollout()) == "step 1 of 3"
    two = rollout(targets=(target(), target("+14157774445", wave=2)))
    assert rollout_sentences.step_text(two) == "wave 1 of 2, step 1 of 3"


# ------------------------------------------------------------------ what is missing


def test_missing_calls_come_first_and_are_told_once(scene: GateScene) -> None:
    r = replace(scene.rollout, waiting_for=WaitingFor.EVIDENCE)
    said = rollout_sentences.wait_sentence(r, summarise(r), scene.clock.now())
    assert said.missing.startswith("About ")
    assert "more call" in said.missing
    assert "more call" not in said.rest
    assert said.rest


def test_a_hold_says_when_it_ends_and_what_the_gates_say_meanwhile(scene: GateScene) -> None:
    r = scene.rollout
    assert r.waiting_for is WaitingFor.HOLD
    assert r.confirmed_at is not None
    said = rollout_sentences.wait_sentence(r, summarise(r), scene.clock.now())
    assert said.until == r.confirmed_at + timedelta(minutes=30)
    assert said.rest.startswith("The gates are undecided")


def test_a_start_to_come_is_a_moment() -> None:
    at = START + timedelta(hours=3)
    r = rollout(phase=Phase.PENDING, start_at=at, waiting_for=WaitingFor.START, why="waiting for its start")
    assert rollout_sentences.wait_sentence(r, None, START) == rollout_sentences.WaitSentence("It starts", at)


# ------------------------------------------------------------------ what a promotion overrides


def test_a_promotion_tells_the_hold_and_the_calls_that_it_does_not_wait_for(scene: GateScene) -> None:
    hold, gates = rollout_sentences.overridden(scene.rollout)
    assert hold.startswith("The hold of step 1 is not over")
    arm = summarise(scene.rollout)
    assert arm is not None
    calls = f"{arm.arms[0].canary_calls} of {arm.arms[0].floor} calls"
    assert gates.startswith(f"The gates are undecided: {calls}.")


def test_nothing_is_overridden_where_nothing_is_waited_for() -> None:
    assert rollout_sentences.overridden(rollout()) == []
    assert rollout_sentences.overridden(rollout(phase=Phase.HELD, waiting_for=WaitingFor.PERSON)) == []


# ------------------------------------------------------------------ bars and charts


@pytest.mark.parametrize(
    ("harm", "proof", "tone"),
    [(0.0, 0.0, "unknown"), (0.4, 0.0, "unknown"), (0.0, 0.7, "unknown"), (1.0, 0.0, "harmful"), (0.0, 1.0, "safe")],
)
def test_a_bar_lies_between_harmful_and_safe_and_reaches_a_line_where_it_decides(
    harm: float, proof: float, tone: str
) -> None:
    bar = evidence_charts.balance(harm, proof)
    assert bar.tone == tone
    assert bar.enough is not None
    assert 0 < bar.harmful <= bar.place <= bar.enough < bar.width
    assert (bar.place == bar.harmful) is (harm == 1.0)
    assert (bar.place == bar.enough) is (proof == 1.0)
    assert (bar.place < bar.middle) is (harm > proof)


def test_a_metric_that_is_only_watched_has_no_line_to_be_safe_at() -> None:
    assert evidence_charts.balance(0.2, None).enough is None


def lines_of(scene: GateScene) -> list[HistoryLine]:
    return [line_of(e) for e in scene.app.store.history(scene.id)]


def test_calls_and_rates_stand_on_the_time_axis_of_the_weights(scene: GateScene) -> None:
    r: Rollout = scene.rollout
    found = history_charts.history(r, lines_of(scene), scene.clock.now(), 1100)
    assert found is not None
    assert found.calls is not None
    assert [rate.name for rate in found.rates] == ["success", "hard error"]
    assert found.weights.now is not None
    assert all(found.weights.frame.left <= bar.x <= found.weights.now for bar in found.calls.bars)
    verdict = r.verdict
    assert verdict is not None
    canary, baseline = (sum(c.started[i] for c in verdict.arms["canary"].evidence.tally.cells) for i in (0, 1))
    assert [bar.text.split(",")[0] for bar in found.calls.bars] == [
        f"canary: {canary} calls",
        f"baseline: {baseline} calls",
    ]
    for rate in found.rates:
        assert len(rate.panel.marks) == 2
        assert all(mark.high <= mark.y <= mark.low for mark in rate.panel.marks)


def test_without_a_verdict_only_the_weights_are_drawn() -> None:
    assert history_charts.history(rollout(), [], START, 1100) is None
    line = HistoryLine(1, START, "service", "intended", "", "1.1", False)
    found = history_charts.history(rollout(targets=(confirmed(),)), [line], START, 350)
    assert found is not None
    assert (found.calls, found.rates) == (None, ())


def test_a_metric_that_is_judged_on_a_sample_says_on_how_many_calls(
    scene: GateScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.domain.gates.summary.sample", lambda _rule, _cells: (1_500, 9_000))
    shown = World(scene.app, scene.sandbox, None, _server(scene.app, None, 0))
    try:
        page = shown.ask("GET", f"/rollouts/{scene.id}").text
    finally:
        shown.server.stop()
    assert "judged on 1,500 of 9,000 calls" in page


# ------------------------------------------------------------------ journal


def test_entries_about_writes_are_folded_and_the_order_is_kept(scene: GateScene) -> None:
    lines = lines_of(scene)
    folds = rollout_page.folded(lines)
    assert [line for fold in folds for line in fold.lines] == lines
    assert [fold.writes for fold in folds] == [False, True, False]
    assert {line.kind for line in folds[1].lines} == {"intended", "settled"}


# ------------------------------------------------------------------ worst calls


def test_the_worst_calls_come_first_and_only_the_canarys(scene: GateScene) -> None:
    scene.clock.advance(60)
    calls = [
        scene.call(7, bad=False),
        scene.call(7, bad=True),
        scene.call(7, bad=True, hard=True),
        scene.call(6, bad=True, hard=True),
        scene.call(7, bad=False, sentiment="Negative"),
    ]
    scene.app.store.calls.observe(calls)
    found = scene.app.store.calls.worst(
        ["+14157774444"], [("agent_frontdesk", 7)], scene.clock.now(), {"error_llm_websocket_open"}, 8
    )
    assert [c.call_id for c in found] == [calls[2].call_id, calls[1].call_id, calls[4].call_id]
