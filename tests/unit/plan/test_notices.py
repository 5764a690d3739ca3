"""Rules for alerts and notices: what may be written, and what it is told to write instead."""

from __future__ import annotations

import re

import pytest

from rollout.domain.plan.notices import AlertRule as Rule


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
