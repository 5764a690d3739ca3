"""Rules for alerts and notices: what may be written, and what it is told to write instead."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rollout.domain.plan.notices import AlertRule as Rule
from tests.unit.plan.plan_documents import complaints


@pytest.mark.parametrize(
    ("written", "advised"),
    [
        (True, 'put it in quotes: "true"'),
        (False, 'put it in quotes: "false"'),
        (3, 'put it in quotes: "3"'),
        (0.5, 'put it in quotes: "0.5"'),
        (None, "write text"),
        (["a"], "write text"),
        ("", "write text"),
    ],
)
def test_a_value_of_match_that_is_no_text_is_advised_as_a_label_is_spelled(written: object, advised: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"is not text; {advised}")):
        Rule.model_validate({"match": {"page": written}})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"on_failure": "halt"}, 'on_failure: "halt" is not known here; write one of: rollback, pause'),
        ({"on_failure": "rolback"}, 'on_failure: "rolback" is not known here; write rollback'),
        (
            {"alerts": {"match": {}}},
            "alerts[0].match: {} matches no alert; write labels and their values, for example {service: frontdesk}",
        ),
        ({"alerts": {"match": {"a": 1}}}, 'alerts[0].match.a: the value 1 is not text; put it in quotes: "1"'),
        (
            {"notify": {"url": "slack"}},
            "notify[0].url: this is not the address of a service; write an apprise address, for example mailto://ops@example.com",
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
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
