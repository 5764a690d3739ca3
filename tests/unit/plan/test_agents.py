# ruff: noqa: E501 - the tables hold whole sentences
"""Versions, numbers and channels of a plan: what may be written, and what it is told to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.planfile import build_plan
from rollout.domain.errors import PlanError
from rollout.domain.plan.agents import ByNickname, ByServing, Channel, is_version_or_tag
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from tests.unit.plan.plan_documents import NUMBER, complaints, document


def test_channels_know_their_list() -> None:
    assert [channel.field for channel in Channel] == [
        "inbound_agents",
        "outbound_agents",
        "inbound_sms_agents",
        "outbound_sms_agents",
    ]


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


@pytest.mark.parametrize(
    ("version", "taken"),
    [(0, True), (-1, False), (2**31 - 1, True), (2**31, False), ("prod", True), ("v3", False), ("3", False)],
)
def test_an_entry_takes_the_number_of_a_version_or_a_tag(version: int | str, taken: bool) -> None:
    assert is_version_or_tag(version) is taken


def test_a_recorded_number_is_read_whatever_is_known_of_countries_today() -> None:
    impossible = "+1415"
    with pytest.raises(PlanError, match="too few or too many digits"):
        build_plan(document(numbers=[impossible]))
    assert Plan.model_validate(document(numbers=[impossible])).numbers == (impossible,)
    assert Plan.model_validate(document(numbers=["+1 415 777 4444"])).numbers == (NUMBER,)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"numbers": [14157774444]},
            'numbers[0]: 14157774444 is a number, so YAML drops its plus; put it in quotes: "+14157774444"',
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
        ({"numbers": [{"nicknam": "x"}]}, "numbers[0].nicknam: there is no such key; write nickname"),
        (
            {"channels": ["sms"]},
            'channels[0]: "sms" is not known here; write one of: inbound, outbound, inbound_sms, outbound_sms',
        ),
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
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
