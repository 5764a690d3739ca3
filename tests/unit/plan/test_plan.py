# ruff: noqa: E501 - the tables hold whole sentences
"""The plan as a whole: what others ask of it, its one form, and what it is told to write instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.planfile import build_plan, dump_plan, load_plan
from rollout.domain.errors import PlanError
from rollout.domain.plan.agents import AgentRef, Channel
from rollout.domain.plan.gates import Gates, ProfileName
from rollout.domain.plan.notices import Reaction
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.steps import Hold
from tests.unit.plan.plan_documents import NUMBER, OFFICE, VARIANTS, complaints, document

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


# ------------------------------------------------------------------ canonical form


def test_a_retreat_takes_down_the_steps_above_it() -> None:
    steps = [{"weight": 0.05}, {"weight": 0.1}, {"weight": 0.3}, {"weight": 1}]
    plan = build_plan(document(**OFFICE, closing={"retreat": 0.1}, steps=steps))
    assert (plan.retreat, plan.steps_above) == (1000, {3, 4})
    stays = build_plan(document(**OFFICE, steps=steps))
    assert (stays.retreat, stays.steps_above) == (None, frozenset())


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


# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "version: 2 is not a version of the plan format; write version: 1"),
        ({"version": True}, "version: true is not a version of the plan format; write version: 1"),
        ({"version": "1"}, 'version: "1" is not a version of the plan format; write version: 1'),
        (
            {"numbers": [NUMBER, "+1 415 777 4444"]},
            "numbers[1]: +14157774444 is listed twice, first as entry 1; list it once",
        ),
        ({"numbers": []}, "numbers: is empty; write at least one entry"),
        ({"channels": ["inbound", "inbound"]}, "channels[1]: inbound is listed twice; list each channel once"),
        ({"channels": "inbound"}, 'channels: "inbound" is not a list; write a list: [inbound]'),
        (
            {"baseline": [{"agent_id": "a", "weight": 0.5}]},
            "baseline: the weights add up to 0.5; write weights that add up to 1",
        ),
        ({"steps": []}, "steps: is empty; write at least one entry"),
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
            {"waves": [1, 1]},
            "waves[1]: wave 1 is not larger than the one before; write rising sizes: a wave includes those before",
        ),
        (
            {"waves": ["10%", "5%"]},
            'waves[1]: wave "5%" is not larger than the one before; write rising sizes: a wave includes those before',
        ),
        (
            {"wave_order": "volume"},
            "wave_order: volume has no effect; write plan and list the quietest numbers first, or random",
        ),
        ({"name": "n/a"}, 'name: "n/a" has a slash; write a name without slashes, for example n-a'),
        (
            {"name": ".."},
            'name: ".." cannot be used in a web address; write a name without slashes, for example frontdesk-v7',
        ),
        (
            {"numbers": [NUMBER, {"nickname": "a"}, {"nickname": "a"}]},
            "numbers[2]: this selection is listed twice, first as entry 2; list it once",
        ),
        *(
            (
                VARIANTS | {"variants": {name: {"agent_id": "a", "agent_version": 1}}},
                f'variants.{name}: "{name}" cannot name a variant; write a short lower-case name, for example b',
            )
            for name in ("baseline", "1b")
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
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]


@pytest.mark.parametrize(
    "source",
    [
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
        document(
            zone="UTC", holidays="US-CA", steps=[{"weight": 0.1, "hold": {"open": "1h"}}], closing={"retreat": 0.05}
        ),
        document(calendar="office", steps=[{"weight": 0.1, "hold": {"open": "1h"}}], closing={"retreat": 0.05}),
        document(zone="UTC", windows=[{"from": "00:00", "to": "24:00"}]),
        document(**VARIANTS | {"steps": [{"weights": {"b": 0.5, "c": 0.5}}]}),
    ],
)
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
