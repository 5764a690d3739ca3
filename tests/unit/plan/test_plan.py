# ruff: noqa: E501 - the tables hold whole sentences
"""The plan as a model: what others ask of it, and the rules that hold inside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout.adapters.planfile import build_plan, dump_plan, load_plan
from rollout.domain.errors import PlanError
from rollout.domain.gates.profiles import GateConfig, from_plan
from rollout.domain.plan.gates import Gates, ProfileName
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
    assert len(plan.digest()) == 64


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
        (
            {"epoch": 5},
            "epoch: there is no such key; leave it out; known here: version, name, numbers, channels, canary, variants, baseline, steps, waves, wave_order, seed, gates, tests, start, after, deadline, decide, on_failure, on_deadline, alerts, calendar, windows, zone, holidays, freezes, closing, notify",
        ),
        (
            {"name": "key_" + "0a" * 12},
            "this looks like a Retell API key; remove it, revoke it and issue a new one, and give that to the service in ROLLOUT_RETELL_API_KEY",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]


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
