"""A plugin of pytest: which tests reach which lines, and which of them fail without any mutant."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

FAILED = "TESTS_MUTATION_FAILED"
"""The environment variable with the file that failing tests are written to."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Records the lines of a test's own run, without its fixtures, under its name without parameters."""
    if (coverage := Coverage.current()) is None:
        return (yield)
    coverage.switch_context(name_of(item.nodeid))
    try:
        return (yield)
    finally:
        coverage.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that fails by itself cannot say anything about a mutant."""
    if report.failed:
        with Path(os.environ[FAILED]).open("a") as file:
            file.write(f"{name_of(report.nodeid)}\n")


def name_of(nodeid: str) -> str:
    """A test's name for pytest, without its parameters."""
    return nodeid.partition("[")[0]
