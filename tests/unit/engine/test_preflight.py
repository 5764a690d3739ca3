"""What pre-flight refuses, in words."""

from __future__ import annotations

from rollout.engine.preflight import _first_of


def test_five_problems_are_named_and_the_rest_counted() -> None:
    problems = [f"problem {i}" for i in range(7)]
    assert _first_of(problems[:5]) == "problem 0; problem 1; problem 2; problem 3; problem 4"
    assert _first_of(problems) == "problem 0; problem 1; problem 2; problem 3; problem 4; and 2 more"
