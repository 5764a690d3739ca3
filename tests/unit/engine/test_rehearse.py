"""A rehearsal: what it refuses, what it plays, its words, and the line that `check` prints without playing anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.domain.errors import InputError
from rollout.domain.plan.plan import Plan
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import _days, _flow, parse_canary, proposal, quick_line, rehearse
from tests.support.clock import START
from tests.support.values import AGENT, plan


@pytest.mark.parametrize(
    ("calls", "text"), [(10, "2.4 hours"), (99, "23.8 hours"), (100, "1.0 days"), (250, "2.5 days")]
)
def test_a_time_is_in_hours_below_a_day(calls: float, text: str) -> None:
    assert _days(calls, 100) == text


def test_a_proposed_step_is_written_as_yaml() -> None:
    step = {"approve": True, "hold": "1h", "weight": 0.1, "min_calls": 20}
    assert _flow(step) == "weight: 0.1, hold: 1h, min_calls: 20, approve: true"
    assert _flow({"weight": 1, "approve": False}) == "weight: 1, approve: false"


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        (None, None),
        ("success=0.75", {"success": 0.75}),
        ("success=0, hard_error=1", {"success": 0.0, "hard_error": 1.0}),
    ],
)
def test_rates_of_a_canary_are_shares(text: str | None, rates: dict[str, float] | None) -> None:
    assert parse_canary(text) == rates


@pytest.mark.parametrize("part", ["success=1.01", "success=-0.01", "success=many", "success", "=0.5", ""])
def test_what_is_no_share_is_refused_and_named(part: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_canary(f"hard_error=0.1,{part}")
    assert caught.value.message == f"--canary: {part} is not a rate; write for example success=0.75,hard_error=0.05"


@pytest.mark.parametrize(
    ("played", "option"),
    [
        ((0.0, 1), "--calls-per-day"),
        ((10_000_001.0, 1), "--calls-per-day"),
        ((1.0, 0), "--runs"),
        ((1, 100_001), "--runs"),
    ],
)
def test_what_cannot_be_played_is_refused(played: tuple[float, int], option: str) -> None:
    calls, runs = played
    with pytest.raises(InputError, match=option):
        rehearse(plan(), calls, calendars=Calendars(), now=START, runs=runs)


def test_the_least_that_can_be_played_is_one_rollout() -> None:
    found = rehearse(plan(), 0.1, calendars=Calendars(), now=START, runs=1)
    assert (found["runs"], found["calls_per_day"], found["plan"]) == (1, 0.1, "frontdesk-v7")


def test_a_canary_of_ones_own_is_played_with_the_rates_that_were_given() -> None:
    """`success` is the share of good calls, and every other metric the share of bad ones."""
    played: dict[str, Any] = {"calendars": Calendars(), "now": START, "runs": 2}
    variant = {"b": {"agent_id": AGENT, "agent_version": 7}}
    half = [{"weights": {"b": 0.5}, "hold": "30m"}]
    gated = plan(canary=None, variants=variant, steps=half, gates={"profile": "standard"}, deadline="1d")
    good = rehearse(gated, 150, canary={"success": 0.99, "hard_error": 0.0}, **played)
    bad = rehearse(gated, 150, canary={"success": 0.99, "hard_error": 0.5}, **played)
    assert [s["name"] for s in good["scenarios"]][-1] == "as given"
    assert (good["scenarios"][-1]["rolled_back"], bad["scenarios"][-1]["rolled_back"]) == (0.0, 1.0)


OFFICE = {"from": "09:00", "to": "17:00"}


@pytest.mark.parametrize(
    ("calendar", "when"),
    [
        ({"windows": OFFICE, "zone": "America/New_York"}, "daily 09:00-17:00 America/New_York"),
        ({"holidays": "US", "zone": "America/New_York"}, "outside its holidays and freezes"),
    ],
)
def test_the_days_of_a_calendar_are_counted_from_a_moment_in_its_zone(calendar: dict[str, Any], when: str) -> None:
    begin = datetime(2026, 11, 26, 12, tzinfo=UTC)  # Thanksgiving Day
    found = rehearse(plan(**calendar), 800, calendars=Calendars(), now=begin, runs=1)
    opens = "Thu 09:00" if "windows" in calendar else "Fri 00:00"
    note = f"Steps advance only while the plan's calendar is open ({when}); days count from {opens}."
    assert note in found["notes"]


# ------------------------------------------------------------------ proposals

JUMP = [{"weight": 0.1, "hold": "30m", "min_calls": 20, "approve": True}, {"weight": 1.0, "hold": "1h"}]
LADDER = [
    {"weight": 0.05, "hold": "30m"},
    {"weight": 0.1, "hold": "1h"},
    {"weight": 0.5, "hold": "3h"},
    {"weight": 1.0, "hold": "1h"},
]
LOW = "gates: {profile: low-traffic}"


def gated(steps: list[dict[str, Any]], **changes: Any) -> Plan:
    return plan(steps=steps, **{"gates": {"profile": "standard"}, **changes})


@pytest.mark.parametrize(
    ("of", "per_day", "yaml"),
    [
        (gated(JUMP), 50, ["0.1, hold: 30m, min_calls: 20, approve: true", "0.5, hold: 30m", "1, hold: 1h"]),
        (gated([{"weight": 0.1}, {"weight": 1.0}]), 50, ["0.1, hold: 0s", "0.5, hold: 0s", "1, hold: 0s"]),
        (gated(JUMP), 9, ["0.3, hold: 30m, min_calls: 20, approve: true", "1, hold: 1h", LOW]),
        (
            gated(JUMP, deadline="20d"),
            2,
            ["0.5, hold: 30m, min_calls: 20, approve: true", "1, hold: 1h", LOW, "deadline: 96d"],
        ),
        (gated(LADDER), 40, ["0.05, hold: 30m", "0.1, hold: 1h", "0.5, hold: 3h", "1, hold: 1h", LOW]),
        (gated(LADDER), 20, ["0.2, hold: 1h", "0.5, hold: 3h", "1, hold: 1h", LOW]),
        (gated(LADDER), 7, ["0.5, hold: 3h", "1, hold: 1h", LOW]),
        (
            gated(LADDER, gates={"metrics": [{"name": "success", "margins": [0.2, 0.08]}]}),
            40,
            [
                *("0.05, hold: 30m", "0.1, hold: 1h", "0.5, hold: 3h", "1, hold: 1h"),
                f"{LOW}  # (and the metrics as they are, without their margins)",
            ],
        ),
    ],
    ids=[
        "half step",
        "no holds",
        "first weight",
        "deadline",
        "profile",
        "a first weight of two steps",
        "first of one half",
        "metrics",
    ],
)
def test_a_proposal_is_written_as_the_entries_of_the_plan_that_change(
    of: Plan, per_day: float, yaml: list[str]
) -> None:
    found = proposal(of, per_day)
    assert found is not None
    steps = [f"  - {{weight: {line}}}" for line in yaml if line[0].isdigit()]
    assert found["yaml"].splitlines() == ["steps:", *steps, *(line for line in yaml if not line[0].isdigit())]


def test_a_proposal_says_the_calls_and_days_of_both_ladders() -> None:
    found = proposal(gated(JUMP), 50)
    assert found is not None
    assert found["why"] == (
        f"at 50 calls a day half of the rollouts of an equally good canary need {found['now']['days']:.0f} days or more "
        "(about 1,500 calls)"
    )
    for ladder in ("now", "then"):
        assert found[ladder]["days"] == round(found[ladder]["calls"] / 50, 1)
    assert found["then"]["calls"] < 0.6 * found["now"]["calls"] < 1_000
    alone = proposal(gated(JUMP), 1)
    assert alone is not None
    assert alone["why"].startswith("at 1 call a day half")
    assert proposal(plan(steps=JUMP), 1) is None, "no gates, nothing to decide"


def test_a_proposal_rests_on_the_baselines_own_rates_where_they_are_known() -> None:
    usual, worse = proposal(gated(JUMP), 50), proposal(gated(JUMP), 50, {"success": 0.3})
    assert usual is not None
    assert worse is not None
    assert worse["now"]["calls"] > 1.3 * usual["now"]["calls"]


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
