"""The line that `check` prints without playing anything."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rollout.engine.rehearse import quick_line
from tests.support.values import AGENT, plan

ERRORS = {"name": "errors", "http": {"url": "https://m.example.com/v", "field": "v", "max": 0.05}}
GATED: dict[str, Any] = {"gates": {"profile": "standard"}}


def test_each_step_that_serves_both_versions_says_the_calls_that_it_takes() -> None:
    said = quick_line(plan(**GATED), 500)
    found = re.fullmatch(
        r"at 500 calls a day an equal canary: 10 % takes about ([\d,]+) calls, 50 % takes about ([\d,]+) calls "
        r"\(([\d.]+) days in all\); one that fails every call is rolled back after about (\d+) of its calls",
        said,
    )
    assert found, said
    first, second = (int(n.replace(",", "")) for n in found.groups()[:2])
    assert float(found[3]) == pytest.approx((first + second) / 500, abs=0.06)
    assert int(found[4]) == 3


@pytest.mark.parametrize(("weight", "calls"), [(0.01, 3), (0.5, 5), (0.8, 10), (0.999, None)])
def test_the_larger_the_first_weight_the_later_a_dead_canary_is_seen(weight: float, calls: int | None) -> None:
    """There are fewer calls of the baseline to compare with; of nearly none, nothing is promised."""
    steps = [{"weight": weight, "hold": "30m"}, {"weight": 1.0, "hold": "1d"}]
    end = f"; one that fails every call is rolled back after about {calls} of its calls"
    said = quick_line(plan(steps=steps, **GATED), 500)
    assert said.endswith(" in all)" if calls is None else end), said


def test_days_become_hours_where_there_are_many_calls() -> None:
    assert " hours in all)" in quick_line(plan(**GATED), 100_000)
    assert "at 1 call a day" in quick_line(plan(**GATED), 1)
    assert "at 2 calls a day" in quick_line(plan(**GATED), 2)


def test_least_calls_are_part_of_what_a_step_takes() -> None:
    steps = [{"weight": 0.1, "hold": "30m", "min_calls": 5_000}, {"weight": 1.0, "hold": "1d"}]
    assert "10 % takes about 50,000 calls" in quick_line(plan(steps=steps, **GATED), 500)


def test_a_gate_that_asks_another_server_alone_still_waits_for_its_floor() -> None:
    source = {"url": "https://shop.example/v", "field": "v", "max": 1}
    asked = plan(gates={"metrics": [{"name": "errors", "http": source}]})
    assert quick_line(asked, 500) == (
        "at 500 calls a day an equal canary: 10 % takes about 300 calls, 50 % takes about 200 calls (1.0 days in all); "
        "the gates compare no calls: one that fails every call is not detected"
    )


def test_a_variant_that_comes_later_is_not_looked_for_in_the_first_step() -> None:
    variants = {name: {"agent_id": AGENT, "agent_version": v} for name, v in (("b", 7), ("c", 8))}
    steps = [{"weights": {"c": 0.3}, "hold": "1h"}, {"weights": {"b": 0.2, "c": 0.3}, "hold": "1h"}]
    said = quick_line(plan(canary=None, variants=variants, steps=steps, **GATED), 500)
    assert re.fullmatch(
        r"at 500 calls a day an equal canary: 20 % takes about [\d,]+ calls \([\d.]+ hours in all\)", said
    )


def test_after_a_first_step_with_every_call_no_dead_canary_is_spoken_of() -> None:
    steps = [{"weight": 1.0, "hold": "1h"}, {"weight": 0.5, "hold": "1h"}]
    assert quick_line(plan(steps=steps, **GATED), 500).endswith(" in all)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"gates": {"profile": "none"}},
            "no gates: every step follows when its hold is over, whatever happens to the calls",
        ),
        (
            {"gates": {"profile": "none", "metrics": [ERRORS]}},
            "the gates compare no calls: one that fails every call is not detected",
        ),
        (
            {"steps": [{"weight": 1.0, "hold": "1d"}], **GATED},
            "no step serves both versions, so nothing can be compared",
        ),
    ],
    ids=["no-gates", "outside-values", "full-at-once"],
)
def test_where_nothing_is_compared_it_says_so(changes: dict[str, Any], words: str) -> None:
    assert quick_line(plan(**changes), 500) == words
