"""What a plan may say of tests before callers, what it means, and what it is told to write instead."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.domain.plan.tests import Tests


@pytest.mark.parametrize(
    ("written", "compares"),
    [({}, True), ({"max_failed": 0.1}, False), ({"max_failed": 0, "compare": True}, True), ({"compare": True}, True)],
)
def test_the_baseline_is_run_where_it_is_the_measure_or_asked_for(written: dict[str, Any], compares: bool) -> None:
    assert Tests.model_validate(written).compares is compares


def test_defaults_and_the_way_there_and_back() -> None:
    found = Tests.model_validate({})
    assert (found.cases, found.runs, found.max_failed, found.deadline) == ("all", 3, None, timedelta(minutes=30))
    full = Tests.model_validate({"cases": ["a", "b"], "runs": 20, "max_failed": 1, "compare": True, "deadline": "1h"})
    assert full.cases == ("a", "b")
    assert Tests.model_validate(full.model_dump(mode="json", exclude_none=True)) == full


@pytest.mark.parametrize(
    ("written", "at", "problem", "advice"),
    [
        ({"cases": []}, "cases", "names no test case", "write all"),
        ({"cases": "some"}, "cases", '"some" names no test case', "write all"),
        ({"cases": "a"}, "cases", "names no test case", "write all"),
        ({"cases": ["a", "a"]}, "cases", "listed twice", "runs says how often"),
        ({"cases": ["a", 5]}, "cases", "5 is not the id", "copy it"),
        *(({"cases": [odd]}, "cases", "is not the id", "copy it") for odd in (" a", "a ", "", "x" * 201, "a\tb")),
        ({"cases": [str(i) for i in range(1001)]}, "cases", "1001 test cases", "at most 1000"),
        ({"max_failed": 1.5}, "max_failed", "1.5 is not a share", "from 0 to 1"),
        ({"max_failed": True}, "max_failed", "true is not a share", "for example 0.1"),
        ({"deadline": "0s"}, "deadline", "leaves no time", "30s"),
        ({"compare": False}, None, "nothing to compare with", "write max_failed"),
    ],
)
def test_what_is_refused_and_what_to_write(written: Any, at: str | None, problem: str, advice: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Tests.model_validate(written)
    [error] = refused.value.errors()
    assert (at is None) or error["loc"][0] == at
    assert problem in error["msg"] and advice in error["msg"]


@pytest.mark.parametrize("written", [{"runs": 0}, {"runs": 21}, {"runs": 2.5}, {"compare": "yes"}, {"case": "all"}])
def test_what_no_plan_may_say(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Tests.model_validate(written)
