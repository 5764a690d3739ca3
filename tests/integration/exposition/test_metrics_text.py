"""The figures at scrape time: from the store, so that a restart loses none, and never with a phone number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.notify import Notify
from rollout.adapters.exposition.prometheus import _Rollbacks
from rollout.adapters.exposition.rollout_metrics import _asked, _confirmed
from rollout.adapters.store import gate_records
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import gate_config
from rollout.domain.gates.tally import Tally
from tests.integration.exposition.scrape import Scrape, Ticks
from tests.support import retreating
from tests.support.clock import START
from tests.support.scene import ME, Scene
from tests.support.values import ONE, THREE, TWO, said


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[Scene]:
    with Scene(sqlite_url) as made:
        yield made


def test_a_rollout_in_its_first_step(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO])
    scene.clock.advance(60)
    m = Scrape(scene)
    own = {"rollout": "frontdesk-v7", "id": scene.id}
    assert m("rollout_phase", phase="progressing", **own) == 1
    assert m("rollout_phase", phase="held", **own) == 0
    assert (m("rollout_position_wave", **own), m("rollout_position_step", **own), m("rollout_steps", **own)) == (
        1,
        1,
        3,
    )
    for name in ("asked", "confirmed", "observed"):
        assert m(f"rollout_weight_{name}", arm="canary", **own) == pytest.approx(0.1)
    assert m("rollout_step_seconds", **own) == 60
    assert m("rollout_late_seconds", **own) == 0
    assert m("rollout_waiting", waiting_for="hold", **own) == 1
    assert m("rollout_targets", state="confirmed", **own) == 2
    assert m("rollout_writes", kind="forward", outcome="applied", **own) == 2
    assert m("rollout_rollouts", phase="progressing") == 1
    assert m("rollout_store_up") == 1
    assert not m.has("rollout_rollback_pending_seconds")
    assert "_created" not in m.text


def test_asked_confirmed_and_observed_differ_when_they_should(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO])
    scene.sandbox.edit(ONE, inbound_agents=[{"agent_id": "agent_x", "agent_version": 1, "weight": 1}])
    scene.scan()
    m = Scrape(scene)
    assert m("rollout_weight_asked") == pytest.approx(0.1)
    assert m("rollout_weight_confirmed") == pytest.approx(0.1)
    assert m("rollout_weight_observed") == pytest.approx(0.05)
    assert m("rollout_held", reason="drift") == 1
    assert m("rollout_targets", state="drifted") == 1
    # A step that is asked for and cannot be written: what is confirmed stays.
    scene.app.commands.restore(scene.id, ME)
    scene.drive()
    scene.sandbox.fault("drop_before", times=None)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    m = Scrape(scene)
    assert (m("rollout_weight_asked"), m("rollout_weight_confirmed")) == (0.5, pytest.approx(0.1))
    assert m("rollout_waiting", waiting_for="retell") == 1


def test_variants_have_their_own_weights(scene: Scene) -> None:
    scene.sandbox.add_agent("agent_b", versions=[1])
    variants = {
        "b": {"agent_id": "agent_frontdesk", "agent_version": 7},
        "c": {"agent_id": "agent_b", "agent_version": 1},
    }
    scene.given(canary=None, variants=variants, steps=[{"weights": {"b": 0.2, "c": 0.3}, "hold": "1h"}])
    scene.drive()
    m = Scrape(scene)
    assert m("rollout_weight_observed", arm="b") == pytest.approx(0.2)
    assert m("rollout_weight_confirmed", arm="c") == pytest.approx(0.3)


def test_lateness_is_what_is_due_and_not_looked_at(scene: Scene) -> None:
    scene.given_at(1)
    due = scene.rollout.due_at
    assert due is not None
    scene.clock.to(due + timedelta(seconds=90))
    assert Scrape(scene)("rollout_late_seconds") == 90


def test_a_rollback_under_way_and_done(scene: Scene) -> None:
    scene.given_at(1)
    fault = {"status": 503, "times": None}
    scene.sandbox.fault("status", **fault)
    scene.app.commands.rollback(scene.id, ME)
    scene.after(42)
    m = Scrape(scene)
    assert m("rollout_rollback_pending_seconds", id=scene.id) == 42
    assert (m("rollout_weight_asked"), m("rollout_rollback_seconds_count")) == (0, 0)
    assert m("rollout_writes", kind="baseline", outcome="unknown") >= 1
    scene.sandbox.clear_faults()
    scene.after(30)
    m = Scrape(scene)
    assert m("rollout_rollback_seconds_count") == 1
    assert 42 <= m("rollout_rollback_seconds_sum") <= 72
    assert m("rollout_rollback_seconds_bucket", le="30.0") == 0
    assert m("rollout_rollback_seconds_bucket", le="120.0") == 1
    assert not m.has("rollout_rollback_pending_seconds")
    assert m("rollout_targets", state="restored") == 1


def test_rollbacks_are_counted_once_however_often_one_looks(scene: Scene) -> None:
    for number in (ONE, TWO, THREE):
        scene.given(numbers=[number])
        scene.drive()
        scene.app.commands.rollback(scene.id, ME)
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        Scrape(scene)
        scene.clock.advance(400)
    assert Scrape(scene)("rollout_rollback_seconds_count") == 3
    scene.restart()
    assert Scrape(scene)("rollout_rollback_seconds_count") == 3


def test_a_restart_loses_nothing_that_the_store_knows(scene: Scene) -> None:
    scene.given_at(2)
    scene.app.commands.pause(scene.id, ME)
    scene.drive()
    before = Scrape(scene)
    scene.restart()
    after = Scrape(scene)
    assert after.of_the_store() == before.of_the_store()
    assert len(after.of_the_store()) > 40
    assert before.has("rollout_retell_requests_total")
    assert not after.has("rollout_retell_requests_total")


def test_gates_show_their_evidence(scene: Scene) -> None:
    scene.given_at(1)
    kept = judge(gate_config("strict"), Tally((), 1, 1, 0.1))
    figures = replace(kept.evidence.figures, e_gate=3.5, canary_calls=12)
    arms = {"canary": replace(kept, evidence=replace(kept.evidence, figures=figures))}
    verdict = replace(said("unmeasurable"), arms=arms)
    with scene.app.database.write() as connection:
        gate_records.set_verdict(connection, scene.id, verdict)
    m = Scrape(scene)
    assert m("rollout_evidence_harm", arm="canary") == 3.5
    assert m("rollout_evidence_harm_limit", arm="canary") == pytest.approx(20)
    assert m("rollout_canary_calls", arm="canary") == 12
    assert m("rollout_gate_verdict", verdict="unmeasurable") == 1
    assert m("rollout_gate_verdict", verdict="pass") == 0


def test_what_ended_more_than_a_day_ago_is_left_out(scene: Scene) -> None:
    scene.given_at(1)
    scene.app.commands.stop(scene.id, ME)
    scene.drive()
    scene.clock.advance(3600)
    assert Scrape(scene)("rollout_phase", phase="stopped") == 1
    scene.clock.advance(86_400)
    m = Scrape(scene)
    assert not m.has("rollout_phase")
    assert m("rollout_rollouts", phase="stopped") == 1


def test_the_outbox_is_shown_by_address(scene: Scene) -> None:
    job = Notify(scene.app)
    scene.given_at(1, notify={"url": "gotifys://example.com/hunter2hunter2"})
    job.tick()
    job.wait_for_deliveries(10)
    scene.clock.advance(30)
    m = Scrape(scene)
    (address,) = {s.labels["address"] for s in m.samples if s.name == "rollout_outbox_waiting"}
    assert re.fullmatch("p[0-9a-f]{11}", address)
    assert m("rollout_outbox_waiting") == 1
    assert m("rollout_outbox_oldest_seconds") == 30
    assert m("rollout_notices_failing_seconds") == 30
    assert m("rollout_outbox_given_up") == 0
    assert "hunter2" not in m.text


def test_the_ticks_of_this_process(scene: Scene) -> None:
    ticks = Ticks(Counter(errors=2, drift_errors=1), scene.clock.boot())
    scene.clock.advance(12)
    m = Scrape(scene, ticks)
    assert m("rollout_tick_problems_total", kind="errors") == 2
    assert m("rollout_tick_problems_total", kind="drift_errors") == 1
    assert m("rollout_tick_problems_total", kind="missed") == 0
    assert scene.clock.now().timestamp() - m("rollout_last_good_tick_timestamp_seconds") == pytest.approx(12)
    assert not Scrape(scene, Ticks()).has("rollout_last_good_tick_timestamp_seconds")


def test_requests_to_retell_are_counted(scene: Scene) -> None:
    scene.given_at(1)
    m = Scrape(scene)
    assert m("rollout_retell_requests_total", operation="update-phone-number", method="PATCH", status="200") == 1
    assert m("rollout_retell_request_seconds_count", operation="update-phone-number") == 1
    scene.sandbox.fault("drop_before", times=1)
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    assert Scrape(scene).has("rollout_retell_requests_total", status="none")


def test_no_phone_number_is_a_label(scene: Scene) -> None:
    scene.given_at(1, numbers=[ONE, TWO])
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    text = Scrape(scene).text
    assert not re.search(r"\+?1415777", text)


def test_without_the_database_the_process_still_answers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.adapters.store import metrics_queries
    from rollout.domain.errors import NotReachable

    def gone(*_: Any) -> None:
        raise NotReachable("the database cannot be read")

    monkeypatch.setattr(metrics_queries, "read", gone)
    m = Scrape(scene, Ticks(last_good=scene.clock.boot()))
    assert m("rollout_store_up") == 0
    assert m.has("rollout_build_info")
    assert not m.has("rollout_rollouts")


def test_targets_are_read_again_only_when_something_was_recorded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.adapters.store import metrics_queries

    read: list[Any] = []
    real = metrics_queries.to_target
    monkeypatch.setattr(metrics_queries, "to_target", lambda row: (read.append(row), real(row))[1])
    scene.given_at(1, numbers=[ONE, TWO])
    Scrape(scene)
    Scrape(scene)
    assert len(read) == 2
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    assert Scrape(scene)("rollout_targets", state="restored") == 2
    assert len(read) == 4


def test_nothing_is_made_anew_of_a_rollout_that_did_not_change(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.adapters.exposition import prometheus
    from rollout.adapters.store import metrics_queries

    made: list[str] = []
    real, to_rollout = prometheus.of_each, metrics_queries.to_rollout
    monkeypatch.setattr(prometheus, "of_each", lambda r, writes: (made.append(r.id), real(r, writes))[1])
    rows: list[str] = []
    monkeypatch.setattr(metrics_queries, "to_rollout", lambda row: (rows.append(row.id), to_rollout(row))[1])
    ended = scene.given_at(1, numbers=[ONE])
    scene.app.commands.rollback(ended, ME)
    scene.drive()
    live = scene.given_at(1, name="second", numbers=[TWO])
    first = Scrape(scene)
    assert sorted(made) == sorted(rows) == sorted([ended, live])
    scene.clock.advance(30)
    second = Scrape(scene)
    assert len(made) == len(rows) == 2
    moved = {line.split("{")[0] for line in second.of_the_store() - first.of_the_store()}
    assert moved == {"rollout_step_seconds"}
    scene.app.commands.pause(live, ME)
    scene.drive()
    assert Scrape(scene)("rollout_phase", id=live, phase="paused") == 1
    assert made[2:] == [live]


def test_of_an_ended_rollout_its_end_is_shown_and_no_evidence(scene: Scene) -> None:
    scene.given_at(1)
    verdict = said("unmeasurable")
    with scene.app.database.write() as connection:
        gate_records.set_verdict(connection, scene.id, verdict)
    assert Scrape(scene).has("rollout_gate_verdict", id=scene.id)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    scene.after(600)
    m = Scrape(scene)
    own = {s.name for s in m.samples if s.labels.get("id") == scene.id}
    assert own == {
        "rollout_phase",
        "rollout_weight_asked",
        "rollout_weight_confirmed",
        "rollout_weight_observed",
        "rollout_targets",
        "rollout_writes",
    }
    assert m("rollout_phase", phase="rolled_back", id=scene.id) == 1


def test_live_rollouts_are_all_shown_and_how_many_ended_ones_are_not_is_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.adapters.store import metrics_queries

    live = scene.given_at(1, numbers=[ONE])
    for i in range(3):
        ended = scene.given_at(1, name=f"ended-{i}", numbers=[TWO])
        scene.app.commands.rollback(ended, ME)
        scene.after(300)
    assert Scrape(scene)("rollout_rollouts_not_shown") == 0
    monkeypatch.setattr(metrics_queries, "MOST_ENDED", 1)
    m = Scrape(scene)
    assert m("rollout_rollouts_not_shown") == 2
    assert {s.labels["id"] for s in m.samples if s.name == "rollout_phase"} == {live, ended}


def test_a_rollback_is_counted_once_and_not_remembered_for_ever(scene: Scene) -> None:
    rollbacks = _Rollbacks(scene.app.database)
    scene.given_at(1)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    for _ in range(3):
        assert rollbacks.read(scene.app.store.now()).total == pytest.approx(rollbacks._took.total)
        assert sum(rollbacks._took.counts) == 1
    assert len(rollbacks._counted) == 1
    scene.clock.advance(3600)
    rollbacks.read(scene.app.store.now())
    assert rollbacks._counted == set()


@pytest.mark.parametrize(
    ("retreated", "turning", "is_down"),
    [(None, None, False), (2000, START, False), (2000, None, True), (None, START, True)],
)
def test_the_retreat_weight_is_asked_at_closing_time_and_confirmed_by_its_read_back(
    retreated: int | None, turning: datetime | None, is_down: bool
) -> None:
    here = retreating.low() if is_down else retreating.at(2)
    r = retreating.standing(retreated=retreated, turning_since=turning, targets=(here,))
    assert _confirmed(r) == {"canary": 0.2 if is_down else 0.5}
    assert _asked(r) == {"canary": 0.5 if retreated is None else 0.2}
