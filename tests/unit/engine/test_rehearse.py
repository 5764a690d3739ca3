"""A rehearsal: what it refuses, what it plays, and its words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.domain.errors import InputError
from rollout.domain.plan.plan import Plan
from rollout.engine.calendars import Calendars
from rollout.engine.rehearse import _days, _flow, parse_canary, proposal, rehearse
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
