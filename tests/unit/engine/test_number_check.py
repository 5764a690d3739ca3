"""One number before the first write: what speaks against it, and what to know about it."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.engine.number_check import problems, warnings
from tests.support.values import AGENT, FIELD, ONE, entry, plan
from tests.unit.engine.account import reading

SMS = "inbound_sms_agents"


@pytest.mark.parametrize("lists", [{FIELD: []}, {FIELD: None}])
def test_a_number_without_agents_has_nothing_to_roll_back_to(lists: dict[str, Any]) -> None:
    said = f"{ONE} has no inbound_agents, so there is nothing to roll back to; assign an agent first"
    assert problems(plan(), reading(lists=lists)) == ([said], None)


def test_each_channel_of_the_plan_is_checked_and_no_other() -> None:
    both = plan(channels=["inbound", "inbound_sms"])
    assert problems(both, reading()) == (
        [f"{ONE} has no {SMS}, so there is nothing to roll back to; assign an agent first"],
        None,
    )
    lists = {FIELD: [entry(6)], SMS: [entry(5)], "outbound_agents": [entry(4)]}
    assert problems(both, reading(lists=lists)) == ([], {FIELD: [entry(6)], SMS: [entry(5)]})


def test_a_list_that_retell_would_refuse_in_a_rollback_is_refused_now() -> None:
    ((said,), baseline) = problems(plan(), reading(ONE, entry(6, 0.5), entry(5, 0.4)))
    assert baseline is None
    assert said == (
        f"{ONE}: Retell would refuse its inbound_agents in a rollback, because its weights add up to 0.9, not to 1: set "
        "the number's agents again in Retell, with weights that add up to 1, then start again"
    )


def test_a_baseline_that_the_plan_names_is_compared() -> None:
    named = plan(baseline={"agent_id": AGENT, "agent_version": 6})
    assert problems(named, reading()) == ([], {FIELD: [entry(6)]})
    ((said,), baseline) = problems(named, reading(ONE, entry(5)))
    assert baseline is None
    assert said.startswith(f"{ONE} serves ")
    assert " on inbound, and the plan's baseline is " in said
    assert said.endswith(": write what it serves, or set its agents in Retell")


HOURS: dict[str, Any] = {"windows": {"from": "09:00", "to": "17:00"}, "zone": "UTC"}
NEARLY_ALL = [{"weight": 0.1, "hold": "1h"}, {"weight": 0.9999, "hold": "1h"}]


@pytest.mark.parametrize(
    "changes",
    [{"steps": NEARLY_ALL}, {"steps": [{"weight": 1.0, "hold": "1h"}], "closing": {"retreat": 0.9999}, **HOURS}],
    ids=["a later step", "the retreat"],
)
def test_a_split_that_cannot_be_had_is_found_before_the_first_step(changes: dict[str, Any]) -> None:
    """One basis point is left for two entries."""
    of = plan(**changes)
    ((said,), baseline) = problems(of, reading(ONE, entry(6, 0.5), entry(5, 0.5)))
    assert baseline is None
    assert said.startswith(f"{ONE}: ")
    assert problems(of, reading()) == ([], {FIELD: [entry(6)]})


@pytest.mark.parametrize(
    ("channels", "hooks", "said"),
    [
        (["inbound"], {"inbound_webhook_url": "https://a"}, ["an inbound webhook", "for any call"]),
        (["inbound_sms"], {"inbound_sms_webhook_url": "https://a"}, ["an inbound SMS webhook", "for any message"]),
        (["inbound"], {"inbound_sms_webhook_url": "https://a"}, []),
        (["inbound_sms"], {"inbound_webhook_url": "https://a"}, []),
        (["inbound", "inbound_sms"], {}, []),
    ],
)
def test_a_webhook_that_overrides_weights_is_told_for_the_plans_channels(
    channels: list[str], hooks: dict[str, str], said: list[str]
) -> None:
    lists = {FIELD: [entry(6)], SMS: [entry(6)]}
    found = list(warnings(plan(channels=channels), reading(lists=lists, **hooks)))
    assert len(found) == bool(said)
    assert all(words in found[0] for words in said)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry(6)], []),
        ([{"agent_id": "a", "weight": 1}], [f"{ONE}: the baseline names a without a version, so it may change"]),
        ([entry("prod")], [f"{ONE}: the baseline names the tag prod of {AGENT}, which may be moved"]),
        (
            [entry(6, 0.333), entry(5, 0.666)],
            [
                (
                    f"{ONE}: the weights of its inbound_agents add up to 0.999, not to 1; a rollback writes them as they "
                    "are or, if Retell refuses that, in the same proportions with a sum of exactly 1"
                )
            ],
        ),
        (
            [entry(6, 0.33333), entry(5, 0.66667)],
            [
                (
                    f"{ONE}: the baseline's weights have more than four decimals; they are restored as they are, and steps "
                    "keep their proportions to one basis point"
                )
            ],
        ),
        ([entry(6, 0.3333), entry(5, 0.6667)], []),
    ],
    ids=["plain", "no version", "tag", "sum", "five decimals", "four decimals"],
)
def test_what_to_know_of_a_baseline_is_told(entries: list[dict[str, Any]], said: list[str]) -> None:
    assert list(warnings(plan(), reading(ONE, *entries))) == said


def test_a_channel_without_agents_has_no_warnings() -> None:
    assert list(warnings(plan(channels=["inbound_sms"]), reading())) == []
