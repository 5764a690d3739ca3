"""The fetch of calls: how far back it asks, so that the gates know the baseline and see what comes late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from jobs.observe import HISTORY_CALLS, Observe
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.gates.replay import replay
from rollout.domain.notices.events import of_entry
from rollout.domain.writes.answers import Failure, Trouble
from tests.scenarios.gates.test_gate_scenarios import GateScene, judged, rebuild_differences

ONE = "+14157774444"
DAY = timedelta(days=1)


@dataclass
class Listed:
    """Retell's list of calls, oldest first; remembers from when on it was asked."""

    calls: list[CallRecord] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    taken: int = 0
    broken: bool = False
    read: list[str] = field(default_factory=list)

    def details(self, call_id: str) -> CallDetails | Failure:
        if self.broken:
            return Failure(Trouble.UNREACHABLE, "down")
        self.read.append(call_id)
        return CallDetails(False, {})

    def since(
        self, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
    ) -> Iterator[CallRecord | Failure]:
        self.asked.append(since)
        for call in sorted(self.calls, key=lambda c: str(c.started_at)):
            if (
                call.started_at is not None
                and call.started_at >= since
                and (call.agent_id, call.agent_version) in agents
            ):
                self.taken += 1
                yield call


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[GateScene]:
    with GateScene(sqlite_url) as made:
        made.given(judged())
        made.drive()
        yield made


def earlier(scene: GateScene, count: int, days: float) -> list[CallRecord]:
    """Calls of the baseline, a fifth of them bad, spread over so many days before the start."""
    start = scene.rollout.started_at
    assert start is not None
    return [
        replace(
            scene.call(6, bad=i % 5 == 0), call_id=f"old_{i:05}", started_at=start - days * DAY + i * days * DAY / count
        )
        for i in range(count)
    ]


def test_a_quiet_number_is_asked_for_the_calls_of_a_month_and_its_rates_are_known(scene: GateScene) -> None:
    listed = Listed(earlier(scene, 240, days=29))
    observe = Observe(scene.app, listed)
    observe.tick()
    start = scene.rollout.started_at
    assert start is not None
    assert listed.asked == [start - DAY, start - 30 * DAY]
    scene.gates.look(scene.rollout, scene.app.store.now())
    assert scene.rollout.history is not None and scene.rollout.history.rates["success"] == 0.2
    observe.tick()
    assert len(listed.asked) == 3, "read once"
    observe.stop()


def test_a_busy_number_is_asked_for_its_last_day_only(scene: GateScene) -> None:
    listed = Listed(earlier(scene, 240, days=0.9))
    observe = Observe(scene.app, listed)
    observe.tick()
    assert len(listed.asked) == 1
    observe.stop()


def test_no_more_calls_are_read_back_than_the_limit(scene: GateScene) -> None:
    listed = Listed(earlier(scene, HISTORY_CALLS + 500, days=29.9)[: HISTORY_CALLS + 300])
    observe = Observe(scene.app, listed)
    observe.tick()
    assert listed.taken == HISTORY_CALLS
    observe.stop()


def test_once_an_hour_a_day_is_read_again_for_analyses_that_come_late(scene: GateScene) -> None:
    listed = Listed(earlier(scene, 200, days=0.5))
    observe = Observe(scene.app, listed)
    for _ in range(3):
        observe.tick()
    scene.clock.to(scene.clock.now() + timedelta(hours=1))
    observe.tick()
    now = scene.app.store.now()
    assert listed.asked[-1] == now - DAY
    assert listed.asked[-2] > now - DAY
    observe.tick()
    assert listed.asked[-1] > now - DAY
    observe.stop()


def test_the_wait_for_an_analysis_follows_the_delays_that_were_seen(scene: GateScene) -> None:
    """Two minutes are usual here: after ten, a call that nobody judged no longer holds back those behind it."""
    for _ in range(60):
        call = scene.call(6, bad=False)
        scene.app.store.calls.observe([replace(call, analyzed=False, successful=None, sentiment=None)])
        scene.clock.to(scene.clock.now() + timedelta(minutes=2))
        scene.app.store.calls.observe([call])
    lost = replace(scene.call(6, bad=False), analyzed=False, successful=None, sentiment=None)
    scene.app.store.calls.observe([lost])

    def counted() -> int:
        scene.polled()
        found = scene.gates.look(scene.rollout, scene.app.store.now()).verdict
        assert found is not None
        return sum(found.arms["canary"].evidence.figures.counts["success"])

    assert counted() == 60
    scene.clock.to(scene.clock.now() + timedelta(minutes=1))
    scene.app.store.calls.observe([scene.call(6, bad=False)])
    assert counted() == 60, "the call without a result may still get one"
    scene.clock.to(scene.clock.now() + timedelta(minutes=10))
    assert counted() == 61


@pytest.mark.slow
def test_calls_are_watched_for_a_week_after_the_promotion_told_and_nothing_is_done(sqlite_url: str) -> None:
    """A bake of two days, then promoted; on the ninth day at weight 1 every call begins to fail."""
    with GateScene(sqlite_url) as scene:
        steps = [{"weight": 0.5, "hold": "30m"}, {"weight": 1.0, "hold": "2d"}]
        scene.given(judged(steps=steps))
        scene.drive()
        scene.calls(700, share=None, canary_bad=0.15, look_every=50, every=360)
        scene.stands("promoted")
        full = next(e.at for e in scene.app.store.history(scene.id) if e.kind == "completed")
        listed = Listed()
        observe = Observe(scene.app, listed)

        def takes_a_call(after: timedelta, *, dead: bool, hard: bool = False) -> None:
            scene.clock.to(scene.clock.now() + after)
            listed.calls.append(scene.call(7, bad=dead, hard=hard))
            observe.tick()

        for i in range(6 * 24):  # until the end of the sixth day
            takes_a_call(timedelta(hours=1), dead=i % 7 == 0)
        assert scene.journal({"watched"}) == []
        writes = len(scene.patches(ONE))
        scene.clock.to((scene.clock.now() + DAY).replace(hour=0, minute=0))
        calls = 0
        while calls < 30 and not scene.journal({"watched"}):
            calls += 1
            takes_a_call(timedelta(minutes=2), dead=True, hard=True)
        assert calls <= 8
        entry = next(e for e in scene.app.store.history(scene.id) if e.kind == "watched")
        assert timedelta(days=6) < entry.at - full < timedelta(days=7)
        told = of_entry(scene.rollout, entry)
        assert told is not None
        assert f"rollout rollback {scene.id}" in told.body
        assert scene.phase == "promoted"
        assert len(scene.patches(ONE)) == writes
        for _ in range(5):
            observe.tick()
        assert scene.journal({"watched"}) == ["watched"], "once a day"
        asked = len(listed.asked)
        scene.clock.to(full + timedelta(days=7, minutes=1))
        observe.tick()
        assert len(listed.asked) == asked, "a week is over"
        assert replay(StoredGateRecords(scene.app.database).looks(scene.id)).same
        assert not rebuild_differences(scene)
        observe.stop()


@pytest.fixture
def reading(sqlite_url: str) -> Iterator[GateScene]:
    with GateScene(sqlite_url) as made:
        made.given(judged(gates={"metrics": [{"name": "success"}, {"name": "backup_model"}]}))
        made.drive()
        yield made


def finished(scene: GateScene, count: int) -> list[CallRecord]:
    """Calls that began with the rollout and ended a minute later, now."""
    calls = [scene.call(6, bad=False) for _ in range(count)]
    scene.clock.to(scene.clock.now() + timedelta(seconds=60))
    return calls


def test_calls_are_read_one_by_one_at_a_bounded_rate(reading: GateScene) -> None:
    """60 a minute by default, of which a minute's worth may be caught up."""
    listed = Listed(finished(reading, 100))
    observe = Observe(reading.app, listed)
    observe.tick()
    assert len(listed.read) == 60
    observe.tick()
    assert len(listed.read) == 60, "no time has passed"
    reading.clock.to(reading.clock.now() + timedelta(seconds=5))
    observe.tick()
    assert len(listed.read) == len(set(listed.read)) == 65, "each call once"
    observe.stop()


def test_a_call_that_could_not_be_read_is_read_at_the_next_round_and_given_up_ten_minutes_after_its_end(
    reading: GateScene,
) -> None:
    listed = Listed(finished(reading, 3), broken=True)
    observe = Observe(reading.app, listed)
    observe.tick()
    listed.broken = False
    reading.clock.to(reading.clock.now() + timedelta(seconds=5))
    observe.tick()
    assert len(listed.read) == 3
    listed.calls += finished(reading, 2)
    reading.clock.to(reading.clock.now() + timedelta(minutes=11))
    observe.tick()
    assert len(listed.read) == 3
    observe.stop()


def test_where_no_metric_asks_for_it_a_sample_is_read_to_tell_of_backup_models(
    scene: GateScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.call_details.SAMPLE", 2)
    listed = Listed(finished(scene, 3))
    observe = Observe(scene.app, listed)
    for _ in range(3):
        observe.tick()
        scene.clock.to(scene.clock.now() + timedelta(seconds=5))
    assert len(listed.read) == 2
    observe.stop()


def test_the_calls_of_the_lists_are_judged_before_single_calls_are_read(
    scene: GateScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that fails by the lists does not wait for Retell to answer for one call after the other."""
    done: list[str] = []
    listed = Listed([scene.call(7, bad=True)])
    wake, details = scene.app.store.wake, listed.details
    monkeypatch.setattr(scene.app.store, "wake", lambda ids, **how: done.append("woken") or wake(ids, **how))
    monkeypatch.setattr(listed, "details", lambda id_: done.append("read") or details(id_))
    observe = Observe(scene.app, listed)
    observe.tick()
    observe.stop()
    assert done[:2] == ["woken", "read"]


def test_a_rate_below_one_call_a_minute_reads_one_when_it_is_due(scene: GateScene) -> None:
    listed = Listed([scene.call(6, bad=False) for _ in range(5)])
    observe = Observe(scene.app, listed)
    observe._details.rate = 0.5
    for expected in (1, 1, 2):
        observe.tick()
        assert len(listed.read) == expected
        scene.clock.to(scene.clock.now() + timedelta(minutes=1))
    observe.stop()
