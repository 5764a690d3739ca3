"""A rollout with tests of its agent on a server of other hands, whose every request is held against Retell's document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rollout.domain.errors import NotReachable
from tests.integration.retell.foreign_retell import AGENT, ForeignCase


def start(case: ForeignCase, version: int, **tests: Any) -> None:
    case.start(canary={"agent_id": AGENT, "agent_version": version}, tests=tests)


def test_tests_that_pass_begin_the_rollout(case: ForeignCase) -> None:
    start(case, 7, cases=["case_2"], runs=2)
    case.after(60)
    found = case.rollout
    assert str(found.phase) == "progressing"
    engines = [asked["response_engine"]["version"] for asked in case.retell.batches.values()]
    assert engines == [7, 7, 6, 6]
    assert all(asked["test_case_definition_ids"] == ["case_2"] for asked in case.retell.batches.values())
    assert len(case.patches()) == 1


def test_tests_that_fail_end_it_and_nothing_is_written(case: ForeignCase) -> None:
    start(case, 8, cases="all", runs=1, max_failed=0.1)
    case.restart()
    case.after(3_600)
    found = case.rollout
    assert str(found.phase) == "stopped"
    assert found.reason == (
        "tests failed: 2 of 2 runs failed; 0.1 of them may fail: Name of case_1 (1 of 1), Name of case_2 (1 of 1)"
    )
    assert found.tests is not None
    assert ["It forgot the table." in failure.explanation for failure in found.tests.failures] == [True, True]
    assert case.patches() == []


@contextmanager
def down(case: ForeignCase) -> Iterator[None]:
    case.retell.is_down = True
    yield
    case.retell.is_down = False


def test_ten_minutes_without_the_endpoints_are_waited_for(case: ForeignCase) -> None:
    with down(case), pytest.raises(NotReachable):
        start(case, 7, runs=1, max_failed=0.1)
    start(case, 7, runs=1, max_failed=0.1)
    case.after(1)
    assert len(case.retell.batches) == 1
    with down(case):
        case.restart()
        case.after(600)
        found = case.rollout
        assert (str(found.phase), str(found.waiting_for)) == ("pending", "retell")
    case.after(60)
    assert str(case.rollout.phase) == "progressing"
    assert len(case.retell.batches) == 1
