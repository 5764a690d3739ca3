# ruff: noqa: E501 - the tables hold whole sentences
"""The plan as a model: what others ask of it, and the rules that hold inside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout.adapters.planfile import build_plan, dump_plan, load_plan
from rollout.domain.errors import PlanError
from rollout.domain.gates.metrics import BUILT_IN
from rollout.domain.gates.profiles import GateConfig, from_plan
from rollout.domain.plan.agents import is_version_or_tag
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.fields import shown
from rollout.domain.plan.gates import Gates, ProfileName, with_new_names
from rollout.domain.plan.notices import Reaction
from rollout.domain.plan.plan import AgentRef, ByNickname, ByServing, Channel, Hold, Plan, wave_of
from rollout.domain.splits import splits

NUMBER = "+14157774444"


def document(**changes: Any) -> dict[str, Any]:
    """A small plan; a change of None takes the key out."""
    plan: dict[str, Any] = {
        "version": 1,
        "name": "frontdesk-v7",
        "numbers": [NUMBER],
        "channels": ["inbound"],
        "canary": {"agent_id": "agent_abc", "agent_version": 7},
        "steps": [{"weight": 0.1, "hold": "30m", "min_calls": 50}, {"weight": 1.0, "hold": "1d"}],
        **changes,
    }
    return {key: value for key, value in plan.items() if value is not None}


VARIANTS: dict[str, Any] = {
    "canary": None,
    "variants": {
        "b": {"agent_id": "agent_abc", "agent_version": 8},
        "c": {"agent_id": "agent_abc", "agent_version": 9},
    },
    "steps": [{"weights": {"b": 0.2, "c": 0.2}, "hold": "1d"}],
}
OFFICE = {"zone": "America/Los_Angeles", "windows": [{"from": "09:00", "to": "17:00"}]}


def complaints(**changes: Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        build_plan(document(**changes))
    lines = caught.value.message.splitlines()
    assert len(lines) == len(caught.value.details["problems"])
    return [line.removeprefix("plan: ") for line in lines]


# ------------------------------------------------------------------ what others ask


def test_a_plan_answers_what_the_driver_asks() -> None:
    plan = Plan.model_validate(document())
    assert plan.arms == {"canary": AgentRef(agent_id="agent_abc", agent_version=7)}
    assert plan.pairs == {"canary": ("agent_abc", 7)}
    assert plan.last_step == 2
    assert plan.weights(1) == {"canary": 1000}
    assert plan.weights(2) == {"canary": 10_000}
    assert plan.hold(1) == Hold(1800.0, open=False)
    assert plan.hold(2).duration == timedelta(days=1)
    assert plan.step(1).min_calls == 50
    assert not plan.step(1).approve
    for step in (0, 3, -1):
        with pytest.raises(IndexError):
            plan.weights(step)


def test_defaults_are_the_documented_ones() -> None:
    plan = Plan.model_validate(document(steps=[{"weight": 1}]))
    assert plan.gates == Gates()
    assert plan.gates.profile is ProfileName.STANDARD
    assert plan.hold(1) == Hold(0.0)
    assert (plan.on_failure, plan.on_deadline) == (Reaction.ROLLBACK, Reaction.PAUSE)
    for left_out in (plan.start, plan.after, plan.deadline, plan.expected_baseline, plan.own_calendar):
        assert left_out is None
    assert plan.closing == "keep"
    assert plan.wave_order == "plan"


def test_a_recorded_plan_keeps_an_order_that_nobody_may_write_any_more() -> None:
    assert Plan.model_validate(document(wave_order="volume")).wave_order == "volume"
    assert "volume" not in Plan.model_json_schema()["$defs"]["WaveOrder"]["enum"]


def test_a_variant_that_a_step_leaves_out_has_no_weight() -> None:
    plan = Plan.model_validate(document(**VARIANTS | {"steps": [{"weights": {"c": 0.05}}, {"weights": {"b": 1}}]}))
    assert plan.weights(1) == {"c": 500}
    assert plan.weights(2) == {"b": 10_000}
    assert list(plan.arms) == ["b", "c"]
    baseline = [{"agent_id": "agent_abc", "agent_version": 6, "weight": 1}]
    assert [e.points for e in splits.compose(baseline, plan.pairs, plan.weights(1))] == [500, 9500]


def test_channels_know_their_list() -> None:
    assert [channel.field for channel in Channel] == [
        "inbound_agents",
        "outbound_agents",
        "inbound_sms_agents",
        "outbound_sms_agents",
    ]


def test_weights_need_not_rise_and_holds_may_be_below_a_second() -> None:
    plan = Plan.model_validate(
        document(steps=[{"weight": 0.5, "hold": "0.5s"}, {"weight": 0.1}], gates={"profile": "none"})
    )
    assert plan.hold(1).seconds == 0.5
    assert plan.gates.profile is ProfileName.NONE


def test_no_gates_is_profile_none() -> None:
    assert Plan.model_validate(document(gates=[])).gates == Gates(profile=ProfileName.NONE)


def test_the_baseline_is_one_entry_or_a_whole_list() -> None:
    one = build_plan(document(baseline={"agent_id": "agent_abc", "agent_version": 6}))
    assert one.expected_baseline == [{"agent_id": "agent_abc", "agent_version": 6, "weight": 1.0}]
    two = build_plan(
        document(
            baseline=[{"agent_id": "a", "weight": 0.25}, {"agent_id": "b", "agent_version": "prod", "weight": 0.75}]
        )
    )
    assert splits.same(
        two.expected_baseline,
        [{"agent_id": "b", "agent_version": "prod", "weight": 0.75}, {"agent_id": "a", "weight": 0.25}],
    )


def test_numbers_are_kept_in_one_form() -> None:
    plan = build_plan(document(numbers=["+1 (415) 777-4444", {"nickname": "Front*"}, {"serving": {"agent_id": "a"}}]))
    number, nickname, serving = plan.numbers
    assert number == NUMBER
    assert isinstance(nickname, ByNickname)
    assert isinstance(serving, ByServing)
    assert [nickname.matches(name) for name in ("Front desk", "front desk", None)] == [True, False, False]
    assert serving.matches([{"agent_id": "a", "agent_version": 3, "weight": 1}])
    assert not serving.matches([{"agent_id": "b"}])
    assert not serving.matches(None)


def test_serving_compares_versions_as_numbers() -> None:
    plan = build_plan(document(numbers={"serving": {"agent_id": "a", "agent_version": 3}}))
    (serving,) = plan.numbers
    assert isinstance(serving, ByServing)
    assert serving.matches([{"agent_id": "a", "agent_version": "3"}])
    assert not serving.matches([{"agent_id": "a", "agent_version": "prod"}])
    assert not serving.matches([{"agent_id": "b", "agent_version": 3}])
    assert serving.matches([{"agent_id": "a", "agent_version": 2}, {"agent_id": "a", "agent_version": 3}])


def test_a_calendar_in_the_plan() -> None:
    plan = build_plan(
        document(
            **OFFICE,
            holidays="US-CA",
            freezes={"from": "2026-12-24", "to": "2026-12-26", "reason": "holidays"},
            closing={"retreat": 0.05},
            steps=[{"weight": 0.1, "hold": {"open": "8h"}}],
        )
    )
    assert plan.hold(1) == Hold(28_800.0, open=True)
    calendar = plan.own_calendar
    assert calendar is not None
    assert calendar.zone == "America/Los_Angeles"
    assert calendar.holidays == ("US-CA",)
    (window,) = calendar.windows
    assert (window.opens_minute, window.closes_minute, len(window.days)) == (540, 1020, 7)
    assert calendar.freezes[0].by_days
    assert plan.canonical()["closing"] == {"retreat": 0.05}


def test_a_plan_is_frozen() -> None:
    plan = Plan.model_validate(document())
    with pytest.raises(ValidationError):
        plan.name = "other"  # type: ignore[misc]


# ------------------------------------------------------------------ canonical form


def test_a_retreat_takes_down_the_steps_above_it() -> None:
    steps = [{"weight": 0.05}, {"weight": 0.1}, {"weight": 0.3}, {"weight": 1}]
    plan = build_plan(document(**OFFICE, closing={"retreat": 0.1}, steps=steps))
    assert (plan.retreat, plan.steps_above) == (1000, {3, 4})
    stays = build_plan(document(**OFFICE, steps=steps))
    assert (stays.retreat, stays.steps_above) == (None, frozenset())


@pytest.mark.parametrize(
    ("written", "has_one"),
    [
        ({}, False),
        ({"zone": "UTC"}, False),
        ({"zone": "UTC", "windows": {"from": "09:00", "to": "17:00"}}, True),
        ({"zone": "UTC", "holidays": "US"}, True),
        ({"zone": "UTC", "freezes": {"from": "2026-12-24", "to": "2026-12-24", "reason": "x"}}, True),
    ],
    ids=["nothing", "zone", "windows", "holidays", "freezes"],
)
def test_hours_holidays_and_freezes_are_a_calendar_and_a_zone_alone_is_none(
    written: dict[str, Any], has_one: bool
) -> None:
    assert (build_plan(document(**written)).own_calendar is not None) is has_one


def test_a_window_opens_and_closes_at_minutes_of_the_day() -> None:
    calendar = build_plan(
        document(zone="UTC", windows=[{"from": "09:05", "to": "17:30"}, {"from": "00:00", "to": "24:00"}])
    )
    assert [(w.opens_minute, w.closes_minute) for w in calendar.windows] == [(545, 1050), (0, 1440)]


def test_waves_are_kept_as_they_are_written() -> None:
    assert build_plan(document(waves=[1, "10%", 20, "50%"])).waves == (1, "10%", 20, "50%")


@pytest.mark.parametrize(
    ("version", "taken"),
    [(0, True), (-1, False), (2**31 - 1, True), (2**31, False), ("prod", True), ("v3", False), ("3", False)],
)
def test_an_entry_takes_the_number_of_a_version_or_a_tag(version: int | str, taken: bool) -> None:
    assert is_version_or_tag(version) is taken


def test_what_a_complaint_shows_is_short_and_printable() -> None:
    assert shown("x" * 58) == f'"{"x" * 58}"'
    assert shown("x" * 59) == f'"{"x" * 56}...'
    assert shown({"a": "\u202e"}) == '{"a": "?"}'
    assert shown(datetime(2026, 12, 1)) == '"2026-12-01 00:00:00"'
    assert shown({(1, 2): 3}) == "a dict"
    loop: list[Any] = []
    loop.append(loop)
    assert shown(loop) == "a list"


def test_dates_and_times_may_be_given_as_such() -> None:
    begins = datetime(2026, 12, 24, 10, tzinfo=UTC)
    freezes = [
        {"from": date(2026, 12, 24), "to": date(2026, 12, 26), "reason": "x"},
        {"from": begins, "to": begins + timedelta(hours=1), "reason": "y"},
    ]
    plan = build_plan(document(zone="UTC", freezes=freezes, start=begins))
    assert [freeze.by_days for freeze in plan.freezes] == [True, False]
    assert plan.freezes[0].ends == date(2026, 12, 26)
    assert plan.start == plan.freezes[1].begins == begins


def test_canonical_is_json_and_is_read_back_equal() -> None:
    plan = build_plan(document(start="2026-12-01T09:00:00-08:00", deadline="36h", waves=[1, "10%"]))
    text = json.dumps(plan.canonical(), allow_nan=False)
    again = Plan.model_validate(json.loads(text))
    assert again == plan
    assert again.digest() == plan.digest()
    assert plan.canonical()["deadline"] == "1d12h"
    assert plan.start == datetime(2026, 12, 1, 17, tzinfo=UTC)


def test_the_digest_follows_the_meaning_and_not_the_spelling() -> None:
    plan = build_plan(document())
    assert build_plan(document(numbers=["+1 415-777-4444"])).digest() == plan.digest()
    assert build_plan(document(deadline="90m")).digest() == build_plan(document(deadline="1h30m")).digest()
    assert build_plan(document(steps=[{"weight": 0.2}])).digest() != plan.digest()
    assert build_plan(document(name="Büro")).digest().startswith("6ddeb6f47ad60599"), "as in earlier versions"
    swapped = {name: VARIANTS["variants"][name] for name in ("c", "b")}
    assert (
        build_plan(document(**VARIANTS | {"variants": swapped})).digest() == build_plan(document(**VARIANTS)).digest()
    )


weights = st.integers(1, 10_000).map(lambda share: share / 10_000)
holds = st.one_of(
    st.sampled_from(["0s", "0.5s", "30m", "1h30m", "3d"]), st.sampled_from(["8h", "1d"]).map(lambda t: {"open": t})
)
plans = st.builds(
    document,
    name=st.text(
        st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/"), min_size=1, max_size=80
    ).filter(lambda name: name not in (".", "..")),
    numbers=st.lists(
        st.one_of(
            st.integers(2_000_000, 9_999_999).map(lambda n: f"+1415{n}"),
            st.sampled_from(["Front*", "no", "1e3", "012", "10:30", "~", "# x", "a: b"]).map(lambda t: {"nickname": t}),
        ),
        min_size=1,
        max_size=6,
        unique_by=repr,
    ),
    channels=st.lists(st.sampled_from([channel.value for channel in Channel]), min_size=1, unique=True),
    steps=st.lists(
        st.fixed_dictionaries(
            {"weight": weights}, optional={"hold": holds, "min_calls": st.integers(0, 500), "approve": st.booleans()}
        ),
        min_size=1,
        max_size=5,
    ),
    calendar=st.just("office"),
    waves=st.sampled_from([None, [1], [1, "10%", "100%"]]),
    gates=st.sampled_from(
        [None, [], {"profile": "strict", "max_call_time": "30m"}, {"metrics": [{"name": "success"}]}]
    ),
    deadline=st.sampled_from([None, "7d"]),
    closing=st.sampled_from([None, "keep", {"retreat": 0.05}]),
    notify=st.sampled_from([None, {"url": "mailto://ops@example.com", "events": ["trouble"]}]),
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(plans)
def test_any_plan_survives_canonical_json_and_yaml(source: dict[str, Any]) -> None:
    plan = Plan.model_validate(source)
    assert Plan.model_validate(json.loads(json.dumps(plan.canonical()))) == plan
    assert load_plan(dump_plan(plan)) == plan
    assert load_plan(json.dumps(plan.canonical()), "plan.json").digest() == plan.digest()


# ------------------------------------------------------------------ waves


@pytest.mark.parametrize(
    ("count", "waves", "reached"),
    [
        (1000, [1, "10%", "100%"], [1, 100, 1000]),
        (5, [1, "10%", "100%"], [1, 5]),
        (25, ["10%", "50%"], [3, 13, 25]),
        (3, None, [3]),
        (3, [5], [3]),
        (1, [1, 2, 3], [1]),
        (7, [1, 3], [1, 3, 7]),
        (0, [1, "100%"], []),
        (10_000, ["0.01%"], [1, 10_000]),
        (300, ["33.33%", 100], [100, 300]),
        (10, [8, "50%"], [8, 10]),
    ],
    ids=repr,
)
def test_waves_are_cumulative_and_end_with_everything(count: int, waves: Any, reached: list[int]) -> None:
    assert wave_of(count, waves) == reached


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 5000), st.lists(st.one_of(st.integers(1, 6000), st.integers(1, 100).map("{}%".format)), max_size=6)
)
def test_waves_always_rise_to_the_count(count: int, waves: list[int | str]) -> None:
    reached = wave_of(count, waves)
    assert reached[-1] == count
    assert all(a < b for a, b in zip([0, *reached], reached, strict=False))


# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "version: 2 is not a version of the plan format; write version: 1"),
        ({"version": True}, "version: true is not a version of the plan format; write version: 1"),
        ({"version": "1"}, 'version: "1" is not a version of the plan format; write version: 1'),
        ({"name": ""}, "name: the text is empty; write 1 to 80 characters"),
        ({"name": "x" * 81}, "name: the text has 81 characters; write 1 to 80 characters"),
        (
            {"name": "a\u001b[31m"},
            'name: "a\\u001b[31m" has control or invisible characters; write printable characters only',
        ),
        ({"name": "a\u202eb"}, 'name: "a?b" has control or invisible characters; write printable characters only'),
        ({"name": " x"}, 'name: " x" begins or ends with a space; write "x"'),
        ({"name": 7}, 'name: 7 is not text; put it in quotes: "7"'),
        (
            {"numbers": [14157774444]},
            'numbers[0]: 14157774444 is a number, so YAML drops its plus; put it in quotes: "+14157774444"',
        ),
        (
            {"numbers": [NUMBER, "+1 415 777 4444"]},
            "numbers[1]: +14157774444 is listed twice, first as entry 1; list it once",
        ),
        (
            {"numbers": ["4157774444"]},
            'numbers[0]: "4157774444" is not a phone number in international form; write plus, country code and number in quotes, for example "+14157774444"',
        ),
        (
            {"numbers": ["+1/../delete-agent/x"]},
            'numbers[0]: "+1/../delete-agent/x" is not a phone number in international form; write plus, country code and number in quotes, for example "+14157774444"',
        ),
        (
            {"numbers": ["+1415777\u0664\u0664\u0664\u0664"]},
            'numbers[0]: "+1415777\u0664\u0664\u0664\u0664" is not a phone number in international form; write plus, country code and number in quotes, for example "+14157774444"',
        ),
        (
            {"numbers": ["+1415777"]},
            'numbers[0]: "+1415777" has too few or too many digits for its country; write the whole number',
        ),
        (
            {"numbers": ["+9991234567"]},
            'numbers[0]: "+9991234567" does not begin with a country code; write plus, country code and number in quotes, for example "+14157774444"',
        ),
        (
            {"numbers": ["+4402079460123"]},
            'numbers[0]: "+4402079460123" is not the international form; write "+442079460123"',
        ),
        ({"numbers": []}, "numbers: is empty; write at least one entry"),
        ({"numbers": [{"nicknam": "x"}]}, "numbers[0].nicknam: there is no such key; write nickname"),
        ({"channels": ["inbound", "inbound"]}, "channels[1]: inbound is listed twice; list each channel once"),
        (
            {"channels": ["sms"]},
            'channels[0]: "sms" is not known here; write one of: inbound, outbound, inbound_sms, outbound_sms',
        ),
        ({"channels": "inbound"}, 'channels: "inbound" is not a list; write a list: [inbound]'),
        ({"canary": None}, "the plan names no version to try; write canary: {agent_id: ..., agent_version: ...}"),
        (
            {"canary": {"agent_id": "a", "agent_version": "prod"}},
            'canary.agent_version: "prod" is a tag; write the number, not a tag: tags move; for example agent_version: 7',
        ),
        (
            {"canary": {"agent_id": "a", "agent_version": "7"}},
            'canary.agent_version: "7" is text; write 7 without quotes',
        ),
        ({"canary": {"agent_id": "a", "agent_version": "v7"}}, 'canary.agent_version: "v7" is text; write 7'),
        (
            {"canary": {"agent_id": "a", "agent_version": True}},
            "canary.agent_version: true is not a version; write the version's whole number, for example 7",
        ),
        (
            {"canary": {"agent_id": "a", "agent_version": 7.0}},
            "canary.agent_version: 7.0 is not a version; write the version's whole number, for example 7",
        ),
        (
            {"canary": {"agent_id": "a"}},
            "canary.agent_version: is missing; write agent_version: 7, the number of the version",
        ),
        (
            {"canary": {"agent_id": "../x", "agent_version": 7}},
            'canary.agent_id: "../x" is not an agent id; write the id as Retell shows it, for example agent_1a2b3c',
        ),
        ({"variants": VARIANTS["variants"]}, "variants: canary and variants are both given; write one of them"),
        (
            {"baseline": {"agent_id": "agent_abc", "agent_version": 7}},
            "canary.agent_version: canary is already in the baseline, so there is nothing to try; write another version",
        ),
        (
            {"baseline": [{"agent_id": "a", "weight": 0.5}]},
            "baseline: the weights add up to 0.5; write weights that add up to 1",
        ),
        ({"steps": []}, "steps: is empty; write at least one entry"),
        (
            {"steps": [{"weight": 0}]},
            "steps[0].weight: a weight of 0 would serve nobody, and Retell refuses it; write a weight above 0, for example 0.05, or leave this entry out",
        ),
        (
            {"steps": [{"weight": 1.2}]},
            "steps[0].weight: 1.2 is above 1, which is all calls; write a weight from 0 to 1, for example 0.012 for 1.2 %",
        ),
        (
            {"steps": [{"weight": -0.1}]},
            "steps[0].weight: -0.1 is below 0; write a weight from 0 to 1, for example 0.1",
        ),
        (
            {"steps": [{"weight": "10%"}]},
            'steps[0].weight: "10%" is text; write a number from 0 to 1 without quotes, for example 0.1',
        ),
        (
            {"steps": [{"weight": float("nan")}]},
            "steps[0].weight: nan is not a weight; write a number from 0 to 1, for example 0.1",
        ),
        ({"steps": [{}]}, "steps[0]: the step has no weight; write weight: 0.1, or weights: {b: 0.1} for variants"),
        (
            {"steps": [{"weights": {"b": 0.1}}]},
            "steps[0].weights: step 1 has weights, but the plan has one canary; write weight: 0.1",
        ),
        (
            {"steps": [{"weight": 0.1, "hold": "10:30"}]},
            "steps[0].hold: the colon form 10:30 can mean hours or minutes; write 10h30m or 10m30s",
        ),
        (
            {"steps": [{"weight": 0.1, "hold": {"open": 8}}]},
            "steps[0].hold.open: 8 has no unit; write 8s for seconds or 8m for minutes",
        ),
        (
            {"steps": [{"weight": 0.1, "hold": {"opn": "8h"}}]},
            'steps[0].hold: {"opn": "8h"} is not a hold; write for example 30m, or {open: 8h} for open hours',
        ),
        (
            {"steps": [{"weight": 0.1, "hold": {"open": "8h"}}]},
            "steps[0].hold: open hours are counted, but the plan has no windows; write hold: 8h, or give windows and zone",
        ),
        ({"steps": [{"weight": 0.1, "min_calls": -1}]}, "steps[0].min_calls: -1 is too small; write at least 0"),
        (
            {"steps": [{"weight": 0.1, "min_calls": "50"}]},
            'steps[0].min_calls: "50" is not a whole number; write a whole number without quotes, for example 50',
        ),
        (
            {"steps": [{"weight": 0.1, "approve": "yes"}]},
            'steps[0].approve: "yes" is not true or false; write true or false, without quotes',
        ),
        ({"steps": [{"weight": 0.1, "hodl": "1h"}]}, "steps[0].hodl: there is no such key; write hold"),
        (
            VARIANTS | {"steps": [{"weight": 0.1}]},
            "steps[0].weight: step 1 has weight, but the plan has variants; write weights: {b: 0.1, c: 0.1}",
        ),
        (
            VARIANTS | {"steps": [{"weights": {"d": 0.1}}]},
            'steps[0].weights.d: there is no variant "d"; write one of: b, c',
        ),
        (
            VARIANTS | {"steps": [{"weights": {"b": 0.6, "c": 0.5}}]},
            "steps[0].weights: the weights add up to 1.1; write weights that add up to at most 1",
        ),
        (
            VARIANTS | {"steps": [{"weights": {"b": 0, "c": 0.5}}]},
            "steps[0].weights.b: a weight of 0 would serve nobody, and Retell refuses it; write a weight above 0, for example 0.05, or leave this entry out",
        ),
        (
            VARIANTS
            | {"variants": {"b": {"agent_id": "a", "agent_version": 1}, "c": {"agent_id": "a", "agent_version": 1}}},
            "variants.c: c is the same agent and version as b; write another version",
        ),
        (
            VARIANTS | {"variants": {"Baseline": {"agent_id": "a", "agent_version": 1}}},
            'variants.Baseline: "Baseline" cannot name a variant; write a short lower-case name, for example b',
        ),
        (
            VARIANTS | OFFICE | {"closing": {"retreat": 0.1}},
            "closing: retreat names one weight, but the plan has variants; write closing: keep",
        ),
        (
            {"waves": [1, 1]},
            "waves[1]: wave 1 is not larger than the one before; write rising sizes: a wave includes those before",
        ),
        (
            {"waves": ["10%", "5%"]},
            'waves[1]: wave "5%" is not larger than the one before; write rising sizes: a wave includes those before',
        ),
        (
            {"waves": [0.1]},
            'waves[0]: 0.1 is not a wave; write a count of numbers, for example 1, or a share, for example "10%"',
        ),
        ({"waves": ["200%"]}, 'waves[0]: 200% is not a share of the numbers; write above "0%" and at most "100%"'),
        (
            {"wave_order": "volume"},
            "wave_order: volume has no effect; write plan and list the quietest numbers first, or random",
        ),
        ({"seed": 3}, "seed: a seed is given, but nothing is drawn; write wave_order: random, or leave seed out"),
        (
            {"start": "2026-12-01T09:00:00"},
            "start: 2026-12-01T09:00:00 has no UTC offset; write the offset, too: 2026-12-01T09:00:00-08:00, or 2026-12-01T09:00:00Z for UTC",
        ),
        (
            {"start": "tomorrow"},
            'start: "tomorrow" is not a time; write date, time and offset: 2026-12-01T09:00:00-08:00',
        ),
        ({"after": "frontdesk-v7"}, "after: the plan waits for itself; write another plan's name"),
        ({"deadline": "0s"}, "deadline: 0s leaves no time; write for example 30s, 15m or 7d, or leave the key out"),
        ({"on_failure": "halt"}, 'on_failure: "halt" is not known here; write one of: rollback, pause'),
        ({"on_failure": "rolback"}, 'on_failure: "rolback" is not known here; write rollback'),
        (
            {"gates": {"metrics": [{"name": "sucess"}]}},
            'gates.metrics[0].name: there is no metric "sucess"; write success, or say where it is measured: custom, tool_failed, prometheus or http',
        ),
        (
            {"gates": {"metrics": [{"name": "tool_failed"}]}},
            "gates.metrics[0].name: tool_failed needs the name of what it measures; write tool_failed: with a name",
        ),
        (
            {"gates": {"metrics": [{"name": "transferred", "cost": {}}]}},
            "gates.metrics[0].name: transferred is measured on calls and cannot be taken from cost; write another name, for example my_transferred",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "cost": {"above": "p80"}}]}},
            'gates.metrics[0].cost.above: "p80" is not a quantile; write a number, or one of p50, p90, p95, p99',
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "cost": {"above": -1}}]}},
            "gates.metrics[0].cost.above: -1 is not a limit or one of p50, p90, p95, p99; write a number from 0 to 1e+09, for example 40",
        ),
        (
            {"gates": {"metrics": [{"name": "long", "duration": {"above": 600}}]}},
            "gates.metrics[0].duration.above: 600 has no unit; write 600s for seconds or 600m for minutes",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "bad_below": 1}]}},
            "gates.metrics[0].bad_below: bad_below belongs to custom fields; leave it out",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_values": ["x"], "bad_above": 1}]}},
            "gates.metrics[0].bad_above: bad_values and bad_above are both given; keep one of them",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "bad_above": 0}]}},
            "gates.metrics[0].bad_above: bad_above belongs to custom fields; leave it out",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_below": 3, "bad_above": 2}]}},
            "gates.metrics[0].bad_below: every number is bad; write a bad_below below bad_above",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_values": [None]}]}},
            "gates.metrics[0].bad_values[0]: null is not true, false, a number or text; write a number, for example 1",
        ),
        (
            {"gates": {"metrics": [{"name": "success"}, {"name": "success"}]}},
            "gates.metrics[1].name: success is listed twice; list each metric once",
        ),
        (
            {"gates": {"metrics": [{"name": "success", "custom": "x"}]}},
            "gates.metrics[0].name: success is measured on calls and cannot be taken from custom; write another name, for example my_success",
        ),
        (
            {"gates": {"metrics": [{"name": "success", "share": 0.9}, {"name": "slow", "share": 0.2}]}},
            "gates.metrics: the shares add up to 1.1; write shares that add up to at most 1",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "https://x.example/v", "field": "v"}}]}},
            "gates.metrics[0].http: there is no limit; write max or min, for example max: 0.05",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "http://x.example/v", "field": "v", "max": 1}}]}},
            "gates.metrics[0].http.url: the address is not encrypted; write https://x.example/v",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "https://u:p@x.example/", "field": "v", "max": 1}}]}},
            "gates.metrics[0].http.url: the address carries a user name or password; write the address without them",
        ),
        (
            {
                "gates": {
                    "metrics": [{"name": "e", "prometheus": {"url": "file:///etc/passwd", "query": "up", "max": 1}}]
                }
            },
            'gates.metrics[0].prometheus.url: "file:///etc/passwd" is not a web address; write for example https://metrics.example.com/value',
        ),
        (
            {
                "gates": {
                    "metrics": [
                        {"name": "e", "share": 0.5, "http": {"url": "https://x.example/v", "field": "v", "max": 1}}
                    ]
                }
            },
            "gates.metrics[0].share: share belongs to metrics of calls; leave it out and write max or min",
        ),
        *(
            (
                {"gates": {"metrics": [{"name": "success", "margins": [none]}]}},
                f"gates.metrics[0].margins[0]: {none} is not a margin; write a number above 0 and below 1, for example 0.25",
            )
            for none in (0, 1)
        ),
        (
            {"gates": {"metrics": [{"name": "success", "margins": [1.5]}]}},
            "gates.metrics[0].margins[0]: 1.5 is not a margin; write a number from 0 to 1, for example 0.25",
        ),
        (
            {"gates": {"profile": "lenient"}},
            'gates.profile: "lenient" is not known here; write one of: standard, low-traffic, strict, none',
        ),
        (
            {"gates": {"profile": "none", "metrics": [{"name": "success"}]}},
            "gates.profile: profile none judges no calls, but success is listed; write profile: standard, or leave the metric out",
        ),
        (
            {"gates": {"metrics": [{"name": "slow"}]}},
            "gates.metrics: no metric has margins, so every step would pass without proof; give one metric margins, such as margins: [0.25, 0.10]",
        ),
        ({"gates": ["success"]}, "gates: a list is given; write gates: {metrics: [...]}, or [] for none"),
        (
            {"alerts": {"match": {}}},
            "alerts[0].match: {} matches no alert; write labels and their values, for example {service: frontdesk}",
        ),
        ({"alerts": {"match": {"a": 1}}}, 'alerts[0].match.a: the value 1 is not text; put it in quotes: "1"'),
        (
            {"windows": [{"from": "09:00", "to": "17:00"}]},
            "windows: windows are given without a time zone; write the time zone, too, for example zone: America/Los_Angeles",
        ),
        (
            {"zone": "Los Angeles"},
            'zone: there is no time zone "Los Angeles"; write an IANA time zone, for example America/Los_Angeles',
        ),
        (
            {"zone": "../../etc/passwd"},
            'zone: there is no time zone "../../etc/passwd"; write an IANA time zone, for example America/Los_Angeles',
        ),
        (
            OFFICE | {"windows": [{"from": "9:00", "to": "17:00"}]},
            'windows[0].from: "9:00" has one digit of hours; write "09:00"',
        ),
        (
            OFFICE | {"windows": [{"from": "09:00", "to": "09:00"}]},
            "windows[0].to: the window is empty: it opens and closes at 09:00; write a later time",
        ),
        (
            OFFICE | {"windows": [{"days": ["monday"], "from": "09:00", "to": "10:00"}]},
            'windows[0].days[0]: "monday" is not known here; write mon',
        ),
        (
            OFFICE | {"calendar": "office"},
            "calendar: calendar and windows are both given; leave one out; windows can stand in the calendar",
        ),
        (OFFICE | {"holidays": "us"}, 'holidays[0]: "us" is not a country or region; write US'),
        (
            OFFICE | {"freezes": {"from": "2026-12-24", "to": "2026-12-23", "reason": "x"}},
            "freezes[0].to: the freeze ends before it begins; write an end after its beginning",
        ),
        (
            OFFICE | {"freezes": {"from": "2026-12-24", "to": "2026-12-25T00:00:00Z", "reason": "x"}},
            "freezes[0].to: one end is a day and the other a time; write both as days or both as times",
        ),
        (
            OFFICE | {"freezes": {"from": "2026-02-30", "to": "2026-03-01", "reason": "x"}},
            "freezes[0].from: there is no day 2026-02-30; write a day of the calendar, for example 2026-12-24",
        ),
        (
            {"closing": {"retreat": 0.1}},
            "closing: the plan never closes, because it has no windows; leave closing out, or give windows and zone",
        ),
        ({"closing": "retreat"}, 'closing: "retreat" is not known here; write keep, or {retreat: 0.1}'),
        (
            {"notify": {"url": "slack"}},
            "notify[0].url: this is not the address of a service; write an apprise address, for example mailto://ops@example.com",
        ),
        ({"name": "n/a"}, 'name: "n/a" has a slash; write a name without slashes, for example n-a'),
        (
            {"name": ".."},
            'name: ".." cannot be used in a web address; write a name without slashes, for example frontdesk-v7',
        ),
        ({"name": True}, 'name: true is not text; put it in quotes: "true"'),
        ({"name": []}, "name: [] is not text; write text"),
        (
            {"numbers": [-14157774444.0]},
            'numbers[0]: -14157774444.0 is a number, so YAML drops its plus; put it in quotes: "+14157774444"',
        ),
        *(
            (
                {"numbers": [odd]},
                f'numbers[0]: {said} is not a phone number; write plus, country code and number in quotes, for example "+14157774444"',
            )
            for odd, said in ((True, "true"), ([], "[]"))
        ),
        (
            {"numbers": [NUMBER, {"nickname": "a"}, {"nickname": "a"}]},
            "numbers[2]: this selection is listed twice, first as entry 2; list it once",
        ),
        *(
            (
                {"canary": {"agent_id": "a", "agent_version": odd}},
                f"canary.agent_version: {odd} is not a version; write the version's whole number, for example 7",
            )
            for odd in (-1, 2**31)
        ),
        (
            {"canary": {"agent_id": 7, "agent_version": 7}},
            "canary.agent_id: 7 is not an agent id; write the id as Retell shows it, for example agent_1a2b3c",
        ),
        *(
            ({"baseline": {"agent_id": "a", "agent_version": odd}}, f"baseline[0].agent_version: {said}")
            for odd, said in (
                ("v3", '"v3" is text; write 3'),
                ("03", '"03" is text; write 3 without quotes'),
                ("New!", '"New!" is neither a version nor a tag; write a number or a tag of the agent'),
                (-1, "-1 is not a version; write the version's whole number, for example 7"),
            )
        ),
        *(
            (
                VARIANTS | {"variants": {name: {"agent_id": "a", "agent_version": 1}}},
                f'variants.{name}: "{name}" cannot name a variant; write a short lower-case name, for example b',
            )
            for name in ("baseline", "1b")
        ),
        (
            VARIANTS | {"baseline": {"agent_id": "agent_abc", "agent_version": 9}},
            "variants.c.agent_version: c is already in the baseline, so there is nothing to try; write another version",
        ),
        (
            {"steps": [{"weight": 0.1, "weights": {"b": 0.1}}]},
            "steps[0].weights: weight and weights are both given; write one of them",
        ),
        *(
            (
                {"steps": [{"weight": text}]},
                f'steps[0].weight: "{text}" is text; write a number from 0 to 1 without quotes, for example {example}',
            )
            for text, example in (("12.5 %", "0.125"), ("100%", "1"), ("101%", "0.1"), ("half", "0.1"))
        ),
        *(
            (
                {"steps": [{"weight": odd}]},
                f"steps[0].weight: {said} is not a weight; write a number above 0 and at most 1, for example 0.1",
            )
            for odd, said in ((True, "true"), ([1], "[1]"))
        ),
        *(
            (
                {"waves": [odd]},
                f'waves[0]: {said} is not a wave; write a count of numbers, for example 1, or a share, for example "10%"',
            )
            for odd, said in ((0, "0"), (True, "true"), ("10", '"10"'))
        ),
        *(
            ({"waves": [odd]}, f'waves[0]: {odd} is not a share of the numbers; write above "0%" and at most "100%"')
            for odd in ("0%", "0.00%", "100.01%")
        ),
        ({"start": 5}, "start: 5 is not a time; write for example 2026-12-01T09:00:00-08:00"),
        (
            {"start": datetime(2026, 12, 1, 9)},
            "start: 2026-12-01T09:00:00 has no UTC offset; write the offset, too: 2026-12-01T09:00:00-08:00, or 2026-12-01T09:00:00Z for UTC",
        ),
        ({"gates": None, "deadline": 90}, "deadline: 90 has no unit; write 90s for seconds or 90m for minutes"),
        (
            {"gates": {"act_after_promotion": True}},
            "gates.act_after_promotion: has been renamed, because it acts in the last hold at weight 1 and not after promotion; write act_at_full_weight",
        ),
        (
            {"alerts": {"match": []}},
            "alerts[0].match: [] matches no alert; write labels and their values, for example {service: frontdesk}",
        ),
        *(
            (
                {"alerts": {"match": {odd: "x"}}},
                f"alerts[0].match: {said} is not a label; write for example alertname or service",
            )
            for odd, said in (("1st", '"1st"'), (7, "7"))
        ),
        *(
            ({"alerts": {"match": {"a": odd}}}, f"alerts[0].match.a: the value {said} is not text; write text")
            for odd, said in (("", '""'), ("b\u0007", '"b\\u0007"'), (["b"], '["b"]'))
        ),
        (
            {"alerts": {"match": {"a": "x" * 201}}},
            f'alerts[0].match.a: the value "{"x" * 56}... is not text; write text',
        ),
        *(
            (
                {"notify": {"url": odd}},
                "notify[0].url: this is not the address of a service; write an apprise address, for example mailto://ops@example.com",
            )
            for odd in (5, "slack://" + "x" * 1993, "Slack://x", "slack://a b")
        ),
        *(
            (
                {"steps": [{"weight": 0.1}], **written},
                f"{key}: {key} are given without a time zone; write the time zone, too, for example zone: America/Los_Angeles",
            )
            for key, written in (
                ("holidays", {"holidays": "US"}),
                ("freezes", {"freezes": {"from": "2026-12-24", "to": "2026-12-24", "reason": "x"}}),
            )
        ),
        *(
            (
                {"zone": zone},
                f"zone: there is no time zone {json.dumps(zone)}; write an IANA time zone, for example {guess}",
            )
            for zone, guess in (
                ("new york", "America/New_York"),
                ("Germany/Berlin", "Europe/Berlin"),
                ("Europe/Berln", "Europe/Berlin"),
                ("x" * 10, "America/Los_Angeles"),
                (8, "America/Los_Angeles"),
            )
        ),
        *(
            (
                OFFICE | {"windows": [{"from": odd, "to": "17:00"}]},
                f'windows[0].from: {said} is not a time of day; write hours and minutes, for example "09:00" or "17:30"',
            )
            for odd, said in (("24:01", '"24:01"'), ("09:60", '"09:60"'), (540, "540"))
        ),
        (
            OFFICE | {"windows": [{"from": "24:00", "to": "17:00"}]},
            'windows[0].from: a window cannot open at 24:00; write "00:00" of the next day',
        ),
        (
            OFFICE | {"windows": [{"days": ["mon", "tue", "mon"], "from": "09:00", "to": "17:00"}]},
            "windows[0].days: a day is named twice; name each day once",
        ),
        (
            {"calendar": "office", "zone": "UTC"},
            "calendar: calendar and zone are both given; leave one out; zone can stand in the calendar",
        ),
        *(
            (OFFICE | {"holidays": odd}, f"holidays[0]: {said} is not a country or region; write {advice}")
            for odd, said, advice in (
                ("us-ca", '"us-ca"', "US-CA"),
                ("Us", '"Us"', "for example US or US-CA"),
                ([5], "5", "for example US or US-CA"),
            )
        ),
        *(
            (
                {"freezes": {"from": "2026-12-24T10:00:00Z", "to": to, "reason": "x"}},
                "freezes[0].to: the freeze ends before it begins; write an end after its beginning",
            )
            for to in ("2026-12-24T10:00:00Z", "2026-12-24T09:59:59Z", "2026-12-24T10:30:00+01:00")
        ),
        (
            {"freezes": {"from": "2026-12-24", "to": 5, "reason": "x"}},
            "freezes[0].to: 5 is not a time; write for example 2026-12-01T09:00:00-08:00",
        ),
        ({"closing": 5}, "closing: 5 is not known here; write keep, or {retreat: 0.1}"),
        (
            {"epoch": 5},
            "epoch: there is no such key; leave it out; known here: version, name, numbers, channels, canary, variants, baseline, steps, waves, wave_order, seed, gates, tests, start, after, deadline, decide, on_failure, on_deadline, alerts, calendar, windows, zone, holidays, freezes, closing, notify",
        ),
        (
            {"name": "key_" + "0a" * 12},
            "this looks like a Retell API key; remove it, revoke it and issue a new one, and give that to the service in ROLLOUT_RETELL_API_KEY",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]


def measured(**more: Any) -> dict[str, Any]:
    """A plan whose second metric is this one."""
    return document(gates={"metrics": [{"name": "success"}, {"name": "own"} | more]})


def asked(**more: Any) -> dict[str, Any]:
    return measured(http={"url": "https://x.example/v", "field": "v", **more})


def at(url: str) -> dict[str, Any]:
    return asked(url=url, max=1)


NO_ADDRESS = "is not a web address; write for example https://metrics.example.com/value"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        *((at(url), f"http.url: {json.dumps(url)} {NO_ADDRESS}") for url in ("https://", "https://x.example:99999/", "ftp://x.example", "https://x.example/a b", "https://x.example/\x7f".replace("\x7f", "<"))),
        (at("https://x.example/" + "v" * 1983), f'http.url: "https://x.example/{"v" * 38}... {NO_ADDRESS}'),
        *((at(f"https://{who}@x.example/"), "http.url: the address carries a user name or password; write the address without them") for who in ("u", ":p")),
        (at("http://x.example/" + "v" * 200), f"http.url: the address is not encrypted; write https://x.example/{'v' * 96}"),
        (asked(max=1, min=1), "http.min: min is not below max; write a min below max"),
        (asked(max=1e16), "http.max: 1e+16 is not a limit; write a number from -1e+15 to 1e+15, for example 0.05"),
        (asked(min=-1.1e15), "http.min: -1100000000000000.0 is not a limit; write a number from -1e+15 to 1e+15, for example 0.05"),
        (asked(max=True), "http.max: true is not a limit; write a number, for example 0.05"),
        (asked(max=float("inf")), "http.max: Infinity is not a limit; write a number, for example 0.05"),
        (measured(custom="x", share=0), "share: 0 is too small; write a number above 0 and at most 1, for example 0.25"),
        (measured(custom="x", share=1.1), "share: 1.1 is not a part of 1; write a number from 0 to 1, for example 0.25"),
        (measured(custom="x", bad_values=[""]), 'bad_values[0]: "" is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=["a\u0007"]), 'bad_values[0]: "a\\u0007" is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=["a" * 101]), f'bad_values[0]: "{"a" * 56}... is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=[1e10]), "bad_values[0]: 10000000000.0 is not true, false, a number or text; write a number from -1e+09 to 1e+09, for example 1"),
        (measured(cost={"above": 1.1e9}), "cost.above: 1100000000.0 is not a limit or one of p50, p90, p95, p99; write a number from 0 to 1e+09, for example 40"),
        (measured(duration={"above": "p80"}), "duration.above: p80 is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        (measured(custom="x", cost={}), "cost: custom and cost are both given; keep one of them"),
        (measured(custom="x", cost={}, http={"url": "https://x.example", "field": "v", "max": 1}), "cost: custom and cost and http are both given; keep one of them"),
        (measured(name="qqq"), f'name: there is no metric "qqq"; write one of {", ".join(BUILT_IN)}, or say where it is measured: custom, tool_failed, prometheus or http'),
        (measured(http={"url": "https://x.example", "field": "v", "max": 1}, margins=[0.1]), "margins: margins belongs to metrics of calls; leave it out and write max or min"),
        (measured(tool_failed="x", bad=True), "bad: bad belongs to custom fields; leave it out"),
        (measured(custom="x", bad=True, bad_below=0), "bad_below: bad and bad_below are both given; keep one of them"),
        (measured(custom="x", bad_values=[1], bad_below=0, bad_above=1), "bad_below: bad_values and bad_below and bad_above are both given; keep one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_metric(source: dict[str, Any], sentence: str) -> None:
    (line,) = complaints(**source)
    assert line == f"gates.metrics[1].{sentence}"


@pytest.mark.parametrize(
    "source",
    [
        *(at(url) for url in ("http://localhost:9090/v", "http://127.0.0.1/v", "http://[::1]/v", "https://x.example/" + "v" * 1982)),
        *(asked(max=high) for high in (1e15, 0, -1e15)),
        asked(min=0.5, max=0.6),
        measured(custom="x", share=1.0) | {"gates": {"metrics": [{"name": "own", "custom": "x", "share": 1.0, "margins": [0.1]}]}},
        measured(custom="x", share=0.9) | {"gates": {"metrics": [{"name": "success", "share": 0.9}, {"name": "slow", "share": 0.1}]}},
        *(measured(custom="x", bad_values=[value]) for value in ("a", "a" * 100, True, 1e9, -1e9)),
        *(measured(cost={"above": above}) for above in (0, 1e9, "p50")),
        measured(custom="x", bad_below=2, bad_above=2),
        measured(custom="x", bad_below=0),
        measured(custom="x", bad=False, bad_above=3),
        document(gates={"metrics": [{"name": "cost", "cost": {}}, {"name": "success"}]}),
        document(gates={"profile": "none", "metrics": [{"name": "e", "http": {"url": "https://x.example", "field": "v", "min": 1}}]}),
        document(name="x" * 80),
        document(freezes={"from": "2026-12-24", "to": "2026-12-24", "reason": "x" * 200}, zone="UTC"),
        document(freezes={"from": "2026-12-24T10:00:00Z", "to": "2026-12-24T10:00:01Z", "reason": "x"}),
        document(alerts={"match": {"a": "x" * 200}}),
        document(notify={"url": "slack://" + "x" * 1992}),
        document(canary={"agent_id": "a", "agent_version": 0}),
        document(canary={"agent_id": "a", "agent_version": 2**31 - 1}),
        document(waves=["0.01%", "100%"]),
        document(waves=[5, "1%", 6, "2%"]),
        document(wave_order="random", seed=0),
        document(zone="UTC", holidays="US-CA", steps=[{"weight": 0.1, "hold": {"open": "1h"}}], closing={"retreat": 0.05}),
        document(calendar="office", steps=[{"weight": 0.1, "hold": {"open": "1h"}}], closing={"retreat": 0.05}),
        document(zone="UTC", windows=[{"from": "00:00", "to": "24:00"}]),
        document(**VARIANTS | {"steps": [{"weights": {"b": 0.5, "c": 0.5}}]}),
    ],
)  # fmt: skip
def test_what_may_be_written_up_to_its_limit(source: dict[str, Any]) -> None:
    plan = build_plan(source)
    assert load_plan(dump_plan(plan)) == plan


def test_all_complaints_come_at_once() -> None:
    lines = complaints(name="", channels=["x"], steps=[{"weight": 0}, {"weight": 2, "hold": 5}], extra=1)
    assert [line.split(":")[0] for line in lines] == [
        "name",
        "channels[0]",
        "steps[0].weight",
        "steps[1].weight",
        "steps[1].hold",
        "extra",
    ]


@pytest.mark.parametrize("thing", [None, [], "plan", 3], ids=repr)
def test_a_plan_is_an_object(thing: Any) -> None:
    with pytest.raises(PlanError, match="is not a plan; write the plan as an object with its keys"):
        build_plan(thing)


def test_the_key_is_never_repeated() -> None:
    key = "key_" + "0a1b" * 8
    with pytest.raises(PlanError) as caught:
        build_plan(document(numbers=[{"nickname": f"x {key}"}]))
    assert key not in str(caught.value) + repr(caught.value.details)


def test_a_recorded_number_is_read_whatever_is_known_of_countries_today() -> None:
    impossible = "+1415"
    with pytest.raises(PlanError, match="too few or too many digits"):
        build_plan(document(numbers=[impossible]))
    assert Plan.model_validate(document(numbers=[impossible])).numbers == (impossible,)
    assert Plan.model_validate(document(numbers=["+1 415 777 4444"])).numbers == (NUMBER,)


def test_gates_without_a_value_are_refused() -> None:
    with pytest.raises(PlanError, match=r"gates: nothing is given; write \[\] for none, or leave the key out"):
        build_plan({**document(), "gates": None})


def test_a_recorded_plan_is_read_with_the_names_of_today() -> None:
    former = document(gates={"act_after_promotion": True, "profile": "strict"})
    assert with_new_names(former) == document(gates={"act_at_full_weight": True, "profile": "strict"})
    for kept in (document(), document(gates=[]), document(gates={"act_at_full_weight": True})):
        assert with_new_names(kept) == kept


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ({}, False),
        ({"windows": {"from": "09:00", "to": "17:00"}}, True),
        ({"windows": {"from": "09:00", "to": "17:00"}, "zone": "UTC"}, False),
        ({"freezes": {"from": "2026-12-24T10:00:00Z", "to": "2026-12-24T11:00:00Z", "reason": "x"}}, False),
    ],
    ids=["nothing", "no zone", "zone", "times"],
)
def test_a_shared_calendar_needs_a_zone_for_its_days_and_hours(written: dict[str, Any], refused: bool) -> None:
    if refused:
        with pytest.raises(ValidationError, match="windows are given without a time zone"):
            Calendar.model_validate(written)
    else:
        Calendar.model_validate(written)


def test_every_metric_of_calls_in_one_plan_and_back() -> None:
    metrics = [
        {"name": "success"},
        {"name": "hard_error"},
        {"name": "slow"},
        {"name": "negative"},
        {"name": "voicemail"},
        {"name": "early_hangup", "early_hangup": {"within": "10s"}},
        {"name": "transferred"},
        {"name": "booking", "tool_failed": "book appointment"},
        {"name": "cost", "cost": {"above": 40}},
        {"name": "duration", "duration": {"above": "10m"}},
        {"name": "latency", "latency": {"part": "llm", "quantile": "p90", "above": "p95"}},
        {"name": "backup_model"},
        {"name": "mood", "custom": "mood", "bad_values": ["angry", 1, False]},
        {"name": "score", "custom": "score", "bad_below": 3},
    ]
    made = build_plan(document(gates={"metrics": metrics}))
    assert Plan.model_validate(made.canonical()) == made
    rules = from_plan(made.canonical()["gates"]).metrics
    assert [r.name for r in rules] == [m["name"] for m in metrics]
    by_name = {r.name: r for r in rules}
    assert by_name["early_hangup"].bad_below == 10 and by_name["duration"].bad_above == 600
    assert (by_name["latency"].detail, by_name["latency"].quantile) == ("llm_p90", 0.95)
    assert by_name["mood"].bad_values == ("angry", 1.0, False) and by_name["booking"].detail == "book appointment"
    assert GateConfig.from_json(json.loads(json.dumps(asdict(from_plan(made.canonical()["gates"]))))).metrics == rules
