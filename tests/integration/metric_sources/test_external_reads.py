"""Many looks and few reads: what serves for how long, what a late or failed read means, and who waits how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.metric_sources import poller
from rollout.adapters.metric_sources.poller import ExternalMetrics
from rollout.domain.errors import SettingsError
from rollout.domain.plan.plan import Plan
from tests.integration.metric_sources.provider import Provider, drips, last_trouble, says, waits
from tests.support.clock import FakeClock
from tests.support.values import plan

Make = Callable[..., ExternalMetrics]


def metric(provider: Provider, name: str = "rate", **changes: Any) -> dict[str, Any]:
    return {"name": name, "http": {"url": f"{provider.url}/{name}", "field": "value", "max": 0.05, **changes}}


def watching(*metrics: dict[str, Any], **changes: Any) -> Plan:
    return plan(gates={"profile": "none", "metrics": list(metrics)}, **changes)


def test_a_read_serves_for_the_time_between_two_looks(provider: Provider, externals: Make, clock: FakeClock) -> None:
    read, made = externals(), watching(metric(provider))
    first = read(made)
    assert (first.values, first.repeated) == ({"rate": 0.01}, frozenset())
    provider.behaviour = says({"value": 0.5})
    for _ in range(20):
        clock.advance(0.49)
        again = read(made)
        assert (again.values, again.repeated) == ({"rate": 0.01}, {"rate"})
    assert len(provider.seen) == 1
    clock.advance(0.3)
    later = read(made)
    assert (later.values, later.repeated, len(provider.seen)) == ({"rate": 0.5}, frozenset(), 2)


def test_each_plan_has_values_of_its_own(provider: Provider, externals: Make) -> None:
    read = externals()
    assert read(watching(metric(provider))).values["rate"] == 0.01
    provider.behaviour = says({"value": 0.5})
    assert read(watching(metric(provider), name="another")).values["rate"] == 0.5
    assert len(provider.seen) == 2


def test_a_failed_read_is_unmeasurable_at_once_and_says_why(
    provider: Provider, externals: Make, clock: FakeClock
) -> None:
    read, made = externals(), watching(metric(provider))
    assert last_trouble(read, "rate") is None
    assert read(made).values["rate"] == 0.01
    provider.behaviour = says({"other": 1})
    clock.advance(10)
    found = read(made)
    assert (found.values, found.repeated) == ({"rate": None}, frozenset())
    assert last_trouble(read, "rate") == "its answer has no field value"
    read(made)
    assert len(provider.seen) == 2, "a provider in trouble is not asked more often"
    provider.behaviour = says({"value": 0.02})
    clock.advance(10)
    assert read(made).values["rate"] == 0.02
    assert last_trouble(read, "rate") is None


def test_while_an_answer_is_late_the_last_value_serves_for_a_minute(
    provider: Provider, externals: Make, clock: FakeClock
) -> None:
    read, made, gate = externals(short=0.05), watching(metric(provider)), threading.Event()
    assert read(made).values["rate"] == 0.01
    provider.behaviour = waits(gate, says({"value": 0.5}))
    clock.advance(10)
    begun = SystemClock().boot()
    late = read(made)
    assert (late.values, late.repeated) == ({"rate": 0.01}, {"rate"})
    clock.advance(49.9)
    assert read(made).values["rate"] == 0.01
    assert SystemClock().boot() - begun < 1, "nobody waits long for what has a value"
    clock.advance(0.2)
    assert len(provider.seen) == 2, "one read of a metric at a time"
    gate.set()
    assert read(made).values["rate"] == 0.5


def test_a_read_that_ran_out_of_time_counts_as_late(provider: Provider, externals: Make, clock: FakeClock) -> None:
    read, made = externals(within=0.15, short=1.0), watching(metric(provider))
    assert read(made).values["rate"] == 0.01
    provider.behaviour = drips
    clock.advance(10)
    late = read(made)
    assert (late.values["rate"], late.repeated) == (0.01, {"rate"})
    assert last_trouble(read, "rate") == "there was no whole answer in time"
    clock.advance(50)
    assert read(made).values["rate"] is None


def test_a_look_waits_for_all_its_reads_together(provider: Provider, externals: Make) -> None:
    gate = threading.Event()
    provider.behaviour = waits(gate, says({"value": 0.01}))
    read = externals(within=0.3)
    names = [f"m{i}" for i in range(2 * poller.THREADS)]
    begun = SystemClock().boot()
    found = read(watching(*(metric(provider, name) for name in names)))
    assert SystemClock().boot() - begun < 1.0
    assert found.values == dict.fromkeys(names)
    assert last_trouble(read, names[-1]) is not None
    gate.set()


def test_a_slow_plan_does_not_keep_another_waiting(externals: Make, provider: Provider) -> None:
    gate, slow = threading.Event(), Provider()
    slow.behaviour = waits(gate, says({"value": 0.01}))
    read = externals(hosts=(provider.host, slow.host), within=2.0)
    thread = threading.Thread(target=read, args=(watching(metric(slow, "other")),))
    thread.start()
    assert read(watching(metric(provider))).values["rate"] == 0.01
    gate.set()
    thread.join(5)
    slow.stop()


def test_a_host_that_is_not_allowed_sees_nothing(provider: Provider, externals: Make) -> None:
    read = externals(hosts=("metrics.example.com", "127.0.0.1"))
    made = watching(metric(provider))
    assert read(made).values == {"rate": None}
    assert "http works only for this machine" in str(last_trouble(read, "rate"))
    assert read.problems(made)[0].startswith("gates.metrics[0].http.url: http works only for this machine")
    assert provider.seen == []


def test_an_error_nobody_foresaw_is_unmeasurable(
    provider: Provider, externals: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> float:
        raise RuntimeError("broken")

    monkeypatch.setattr(poller, "read_value", broken)
    read = externals()
    assert read(watching(metric(provider))).values == {"rate": None}
    assert last_trouble(read, "rate") == "an unexpected error, RuntimeError"


def test_memory_is_bounded(
    provider: Provider, externals: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "MOST_KEPT", 3)
    read = externals()
    plans = [watching(metric(provider), name=f"plan-{i}") for i in range(6)]
    for made in plans:
        read(made)
        clock.advance(1)
    assert len(read._kept) == 3
    assert len(provider.seen) == 6
    read(plans[-1])
    assert len(provider.seen) == 6
    read(plans[0])
    assert len(provider.seen) == 7


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="ROLLOUT_METRIC_HOSTS"):
        ExternalMetrics(["http://metrics.example.com"], FakeClock(), fresh=1)


def test_after_the_end_nothing_is_read(provider: Provider, externals: Make) -> None:
    read = externals(within=0.1)
    read.close()
    assert read(watching(metric(provider))).values == {"rate": None}
    assert provider.seen == []
    assert read(plan()).values == {}
