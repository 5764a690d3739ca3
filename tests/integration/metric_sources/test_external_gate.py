"""A whole rollout whose gate reads from elsewhere: it fails, it goes on, and it holds while nothing can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollout.adapters.metric_sources.poller import ExternalMetrics
from rollout.domain.calls import FetchMark
from rollout.domain.errors import PreflightRefused
from rollout.domain.lifecycle.commands import By
from rollout.engine.gate_check import GateCheck
from tests.integration.metric_sources.provider import Provider, last_trouble, sample, says
from tests.support.scene import ME, Scene
from tests.support.values import ONE, plan

MINUTE = 60.0


class Judged(Scene):
    """A scene with the product's own gates, as `build` wires them; calls are fetched and there are none."""

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **{"watch_seconds": 30.0, **settings})
        self.gates = None

    def minutes(self, count: float) -> None:
        """Time passes; every half minute somebody has fetched the calls."""
        for _ in range(int(count * 2)):
            self.fetched()
            self.after(MINUTE / 2)

    def fetched(self) -> None:
        now = self.app.store.now()
        self.app.store.calls.mark(FetchMark(ONE, "inbound", now, now))

    @property
    def verdict(self) -> Any:
        return self.rollout.verdict


@pytest.fixture
def judged(sqlite_url: str, provider: Provider) -> Iterator[Judged]:
    with Judged(sqlite_url, metric_hosts=(provider.host,)) as made:
        yield made


def gates(provider: Provider, looks: int = 1, kind: str = "http") -> dict[str, Any]:
    source: dict[str, Any] = {"url": provider.url, "max": 0.05, "for": looks}
    source |= {"field": "value"} if kind == "http" else {"query": "error_rate"}
    return {"profile": "none", "metrics": [{"name": "rate", kind: source}]}


STEPS = [{"weight": 0.1, "hold": "10m"}, {"weight": 1.0, "hold": "10m"}]


def begin(judged: Judged, provider: Provider, looks: int = 1, kind: str = "http") -> None:
    judged.given(plan(gates=gates(provider, looks, kind), steps=STEPS))
    judged.fetched()
    judged.drive()


@pytest.mark.parametrize("kind", ["http", "prometheus"])
def test_within_its_limit_it_goes_to_the_end(judged: Judged, provider: Provider, kind: str) -> None:
    provider.behaviour = says({"value": 0.01} if kind == "http" else sample("0.01"))
    begin(judged, provider, kind=kind)
    assert isinstance(judged.app.driver.facts.gates, GateCheck)
    assert isinstance(judged.app.external_metrics, ExternalMetrics)
    judged.minutes(25)
    judged.stands("promoted")
    assert judged.weight(ONE) == 1
    assert len(provider.seen) <= 25 * 2 + 4, "no more reads than one in each watch"


def test_beyond_its_limit_it_rolls_back(judged: Judged, provider: Provider) -> None:
    begin(judged, provider, looks=3)
    judged.minutes(2)
    judged.stands("progressing", 1)
    provider.behaviour = says({"value": 0.2})
    judged.minutes(10)
    judged.stands("rolled_back")
    assert judged.weight(ONE) == 0
    assert "rate was above 0.05 on 3 looks in a row (now 0.2)." in judged.verdict.reason


def test_one_reading_counts_once_however_often_it_is_looked_at(judged: Judged, provider: Provider) -> None:
    begin(judged, provider, looks=3)
    judged.clock.advance(30)
    provider.behaviour = says({"value": 0.2})
    rollout = judged.rollout
    reads = len(provider.seen)

    def look() -> Any:
        gates = judged.app.driver.facts.gates
        gates.look(judged.rollout, judged.app.store.now())
        return judged.verdict.arms["canary"].memory.beyond["rate"]

    assert [look() for _ in range(6)] == [1] * 6
    assert judged.verdict.outcome == "undecided"
    assert len(provider.seen) == reads + 1
    judged.clock.advance(30)
    assert [look(), look()] == [2, 2]
    provider.behaviour = says({"value": 0.01})
    judged.clock.advance(30)
    assert [look(), look()] == [0, 0]
    assert judged.rollout.id == rollout.id
    judged.stands("progressing", 1)


@pytest.mark.parametrize("looks", [1, 3])
def test_a_provider_that_is_down_for_an_hour_holds_and_nothing_else(
    judged: Judged, provider: Provider, looks: int
) -> None:
    begin(judged, provider, looks)
    judged.minutes(2)
    patches = len(judged.patches(ONE))
    provider.stop()
    judged.minutes(60)
    judged.stands("progressing", 1)
    assert judged.verdict.outcome == "unmeasurable"
    assert "rate could not be read; the rollout waits until it can." in judged.rollout.why
    assert "cannot be reached" in str(last_trouble(judged.app.external_metrics, "rate"))
    assert len(judged.patches(ONE)) == patches, "neither a step nor a rollback"
    assert judged.weight(ONE) == pytest.approx(0.1)
    provider.start()
    judged.minutes(1)
    judged.stands("progressing", 2)
    judged.minutes(12)
    judged.stands("promoted")


def test_a_person_may_still_roll_back_while_nothing_can_be_read(judged: Judged, provider: Provider) -> None:
    begin(judged, provider)
    provider.stop()
    judged.minutes(1)
    judged.app.commands.rollback(judged.id, ME)
    judged.after(300)
    judged.stands("rolled_back")


def test_a_plan_with_another_host_is_refused_at_check_and_start(judged: Judged) -> None:
    other = {
        "profile": "none",
        "metrics": [{"name": "rate", "http": {"url": "https://metrics.example.com/x", "field": "value", "max": 1}}],
    }
    made = plan(gates=other)
    problem = "gates.metrics[0].http.url: the host metrics.example.com is not in ROLLOUT_METRIC_HOSTS"
    assert [p for p in judged.app.commands.check(made).problems if p.startswith(problem)]
    with pytest.raises(PreflightRefused, match="ROLLOUT_METRIC_HOSTS"):
        judged.app.commands.start(made, ME)
    assert judged.app.store.summaries() == []


def test_a_host_that_is_taken_off_the_list_ends_a_scheduled_start(judged: Judged, provider: Provider) -> None:
    judged.given(plan(gates=gates(provider), steps=STEPS, start="2026-11-02T19:00:00Z"))
    judged.settings["metric_hosts"] = ()
    judged.restart()
    judged.after(3 * 3600)
    judged.stands("stopped")
    assert "ROLLOUT_METRIC_HOSTS" in str(judged.rollout.reason)
    assert judged.patches() == []


# ------------------------------------------------------------------ numbers that may be written


def test_a_number_outside_the_list_is_refused_before_anything_is_written(sqlite_url: str) -> None:
    with Scene(sqlite_url, allowed_numbers=("+14150000001",)) as scene:
        found = scene.app.commands.check(plan())
        assert found.problems == (
            (
                f"{ONE} is not in ROLLOUT_ALLOWED_NUMBERS: take it out of the plan, or have it added to the "
                "service's settings"
            ),
        )
        by_name = scene.app.commands.check(plan(numbers=[{"nickname": "*"}]))
        assert sum("ROLLOUT_ALLOWED_NUMBERS" in p for p in by_name.problems) == len(by_name.readings)
        with pytest.raises(PreflightRefused, match="ROLLOUT_ALLOWED_NUMBERS"):
            scene.app.commands.start(plan(), ME)


def test_a_number_on_the_list_is_written(sqlite_url: str) -> None:
    with Scene(sqlite_url, allowed_numbers=(ONE,)) as scene:
        scene.given_at(1)
        assert scene.weight(ONE) == pytest.approx(0.1)


def test_a_number_that_was_taken_off_the_list_is_not_written_again(sqlite_url: str) -> None:
    """Whoever took it off must put it back before the service can roll back; the rollout says so."""
    with Scene(sqlite_url) as scene:
        scene.given_at(1)
        written = len(scene.patches(ONE))
        scene.settings["allowed_numbers"] = ("+14150000001",)
        scene.restart()
        scene.app.commands.rollback(scene.id, ME)
        scene.after(600)
        scene.stands("rolling_back")
        assert "ROLLOUT_ALLOWED_NUMBERS" in scene.rollout.why
        assert len(scene.patches(ONE)) == written
        scene.settings["allowed_numbers"] = (ONE,)
        scene.restart()
        scene.after(3600)
        scene.stands("rolled_back")
        assert scene.weight(ONE) == 0


# ------------------------------------------------------------------ a start that is asked twice


def test_a_repeated_start_gives_the_same_answer(scene: Scene) -> None:
    scene.sandbox.number(ONE).state.fields["inbound_webhook_url"] = "https://hooks.example.com/in"
    by = By("cli:test", "a test asks", "request-1")
    first = scene.app.commands.start(plan(), by)
    assert "inbound webhook" in first.preflight.warnings[0]
    scene.restart()
    assert scene.app.commands.start(plan(), by) == first
    assert len(scene.app.store.summaries()) == 1
