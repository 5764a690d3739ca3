# ruff: noqa: E501 - the tables hold whole sentences
"""The plain types of a plan: texts, weights, durations and times, and how a complaint shows a value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.adapters.planfile import build_plan
from rollout.domain.plan.fields import shown
from rollout.domain.plan.plan import Plan
from tests.unit.plan.plan_documents import OFFICE, VARIANTS, complaints, document


def test_a_plan_is_frozen() -> None:
    plan = Plan.model_validate(document())
    with pytest.raises(ValidationError):
        plan.name = "other"


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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
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
        (
            {"steps": [{"weight": 0.1, "hold": "10:30"}]},
            "steps[0].hold: the colon form 10:30 can mean hours or minutes; write 10h30m or 10m30s",
        ),
        (
            {"steps": [{"weight": 0.1, "hold": {"open": 8}}]},
            "steps[0].hold.open: 8 has no unit; write 8s for seconds or 8m for minutes",
        ),
        (
            VARIANTS | {"steps": [{"weights": {"b": 0, "c": 0.5}}]},
            "steps[0].weights.b: a weight of 0 would serve nobody, and Retell refuses it; write a weight above 0, for example 0.05, or leave this entry out",
        ),
        (
            {"start": "2026-12-01T09:00:00"},
            "start: 2026-12-01T09:00:00 has no UTC offset; write the offset, too: 2026-12-01T09:00:00-08:00, or 2026-12-01T09:00:00Z for UTC",
        ),
        (
            {"start": "tomorrow"},
            'start: "tomorrow" is not a time; write date, time and offset: 2026-12-01T09:00:00-08:00',
        ),
        ({"deadline": "0s"}, "deadline: 0s leaves no time; write for example 30s, 15m or 7d, or leave the key out"),
        (
            OFFICE | {"freezes": {"from": "2026-02-30", "to": "2026-03-01", "reason": "x"}},
            "freezes[0].from: there is no day 2026-02-30; write a day of the calendar, for example 2026-12-24",
        ),
        ({"name": True}, 'name: true is not text; put it in quotes: "true"'),
        ({"name": []}, "name: [] is not text; write text"),
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
        ({"start": 5}, "start: 5 is not a time; write for example 2026-12-01T09:00:00-08:00"),
        (
            {"start": datetime(2026, 12, 1, 9)},
            "start: 2026-12-01T09:00:00 has no UTC offset; write the offset, too: 2026-12-01T09:00:00-08:00, or 2026-12-01T09:00:00Z for UTC",
        ),
        ({"gates": None, "deadline": 90}, "deadline: 90 has no unit; write 90s for seconds or 90m for minutes"),
        (
            {"freezes": {"from": "2026-12-24", "to": 5, "reason": "x"}},
            "freezes[0].to: 5 is not a time; write for example 2026-12-01T09:00:00-08:00",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
