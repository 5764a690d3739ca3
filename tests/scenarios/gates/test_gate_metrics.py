"""A canary that is worse in one metric alone, among fourteen, end to end: the sandbox's callers, its lists of calls and
the calls themselves, verdicts, requests. Time is the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.gates.summary import summarise
from rollout.interfaces.views import gates
from tests.scenarios.gates.test_gate_worlds import ONE, QUICK, QUIET, Worlds
from tests.support.values import plan as make_plan

pytestmark = pytest.mark.slow
GOOD: dict[str, Any] = {
    "success": 0.85,
    "early_hangup": 0.05,
    "transferred": 0.1,
    "custom": {"mood": [["calm", 0.9], ["angry", 0.1]], "rating": [[5, 0.9], [2, 0.1]]},
    **QUICK,
}
FOURTEEN: list[dict[str, Any]] = [
    {"name": "success"},
    {"name": "hard_error"},
    {"name": "slow"},
    {"name": "negative"},
    {"name": "voicemail"},
    {"name": "early_hangup"},
    {"name": "transferred"},
    {"name": "lookup", "tool_failed": "look_up"},
    {"name": "cost"},
    {"name": "duration", "duration": {"above": "2m"}},
    {"name": "latency", "latency": {"part": "llm", "quantile": "p90", "above": "p95"}},
    {"name": "backup_model"},
    {"name": "mood", "custom": "mood", "bad_values": ["angry", "furious"]},
    {"name": "rating", "custom": "rating", "bad_below": 3},
]
LADDER = [{"weight": 0.3, "hold": "30m"}, {"weight": 1.0, "hold": "1h"}]
EVERY = timedelta(minutes=10)


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[Worlds]:
    with Worlds(sqlite_url) as made:
        yield made


def given(scene: Worlds, metrics: list[dict[str, Any]], **worse: Any) -> None:
    """A number with half a day of its baseline's calls, and a rollout of a canary that is worse in this."""
    versions = [{"version": 6, **GOOD}, {"version": 7, **GOOD, **worse}]
    scene.sandbox.add_agent(QUIET, versions=versions)
    scene.number(ONE, QUIET, 600)
    scene.clock.to(scene.clock.now() + timedelta(hours=12))
    scene.sandbox.clock(advance=12 * 3600.0)
    canary = {"agent_id": QUIET, "agent_version": 7}
    judged = {"profile": "low-traffic", "metrics": metrics}
    scene.given(make_plan(numbers=[ONE], canary=canary, steps=LADDER, gates=judged))
    scene.drive()


def row(scene: Worlds, name: str) -> dict[str, Any]:
    [arm] = gates.arms(summarise(scene.rollout))
    return next(r for r in arm["metrics"] if r["name"] == name)


@pytest.mark.parametrize(
    ("worse", "sentence"),
    [
        ({"cents_per_minute": 20.0}, "more expensive than the baseline's usual 90 %"),
        ({"early_hangup": 0.5}, "hung up by the caller within 15 s"),
        ({"custom": {**GOOD["custom"], "mood": [["calm", 0.5], ["furious", 0.5]]}}, "with mood = angry or furious"),
        ({"tool_failed": 0.4}, "with a failed call of look_up"),
    ],
    ids=["cost", "early_hangup", "custom", "tool"],
)
def test_a_canary_worse_in_one_of_fourteen_metrics_is_rolled_back_for_it(
    scene: Worlds, worse: dict[str, Any], sentence: str
) -> None:
    given(scene, FOURTEEN, **worse)
    scene.pass_time(timedelta(hours=12), EVERY, until=scene.rested)
    scene.stands("rolled_back")
    failed = next(e for e in scene.app.store.history(scene.id) if e.kind == "failed")
    assert sentence in failed.reason or sentence in str(failed.data)
    assert scene.replays()


def test_a_canary_as_good_in_fourteen_metrics_is_promoted(scene: Worlds) -> None:
    given(scene, FOURTEEN)
    scene.pass_time(timedelta(hours=36), EVERY, until=scene.rested)
    scene.stands("promoted")
    assert scene.replays()


def test_where_more_calls_end_than_may_be_read_a_sample_is_judged_and_the_verdict_says_so(scene: Worlds) -> None:
    scene.settings["call_details_per_minute"] = 10.0
    scene.restart()
    scene.observe.stop()
    scene.observe = type(scene.observe)(scene.app, scene.app.calls)
    given(scene, [{"name": "success"}, {"name": "lookup", "tool_failed": "look_up", "share": 0.5}], tool_failed=0.5)
    scene.pass_time(timedelta(hours=12), EVERY, until=scene.rested)
    scene.stands("rolled_back")
    sample = row(scene, "lookup")["sample"]
    assert 0 < sample["judged"] < sample["of"] / 2
    failed = next(e for e in scene.app.store.history(scene.id) if e.kind == "failed")
    assert "lookup is judged on a sample: " in failed.reason + str(failed.data)


def test_text_of_the_analysis_is_kept_of_the_fields_that_a_gate_names_alone(scene: Worlds) -> None:
    custom = {"mood": [["calm", 1.0]], "name": [["Ann Example", 1.0]], "score": [[4, 1.0]]}
    given(scene, [{"name": "success"}, {"name": "mood", "custom": "mood", "bad_values": ["angry"]}], custom=custom)
    scene.pass_time(timedelta(minutes=30), EVERY)
    stored = scene.gates.records.stored_calls(scene.rollout).calls
    [kept] = {tuple(sorted(c.custom.items())) for c in stored if c.agent_version == 7 and c.analyzed}
    assert dict(kept) == {"mood": "calm", "score": 4.0}
