"""What a server's own settings allow a plan to touch."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.engine.server_limits import ServerLimits
from tests.support.values import ONE, TWO, plan


@pytest.mark.parametrize(
    ("allowed", "numbers", "refused"),
    [(None, [ONE, TWO], []), ({ONE, TWO}, [ONE, TWO], []), ({ONE}, [ONE, TWO], [TWO]), (set(), [ONE], [ONE])],
    ids=["any", "both", "one", "none"],
)
def test_numbers_that_are_not_allowed_are_named(allowed: Any, numbers: list[str], refused: list[str]) -> None:
    limits = ServerLimits(None if allowed is None else frozenset(allowed), lambda _plan: (), lambda _plan: ())
    found = list(limits.problems(plan(), numbers))
    assert [problem.split()[0] for problem in found] == refused
    assert all("ROLLOUT_ALLOWED_NUMBERS" in problem for problem in found)


def test_what_else_the_settings_refuse_is_told_first() -> None:
    limits = ServerLimits(frozenset(), lambda _plan: ["a metric"], lambda _plan: ["an address"])
    assert list(limits.problems(plan(), []))[:2] == ["a metric", "an address"]
