"""Exceptions from the rules of the linters: each says why, on its own line."""

from __future__ import annotations

import re

import pytest

from tests.support.command_line import REPOSITORY

FOLDERS = ("alembic", "benchmarks", "jobs", "rollout", "tests")
EXCEPTION = re.compile(r"# (?:ruff: )?noqa|# type: ignore")
EXPLAINED = re.compile(r"# (?:ruff: )?noqa: [A-Z]+\d+(?:, [A-Z]+\d+)* - \w|# type: ignore\[[a-z, -]+\]  # \w")


def unexplained(text: str) -> list[str]:
    """The lines with an exception and no reason."""
    return [line.strip() for line in text.splitlines() if EXCEPTION.search(line) and not EXPLAINED.search(line)]


def test_every_exception_from_a_rule_says_why() -> None:
    paths = [
        path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py") if path.name != "test_exceptions.py"
    ]
    found = {str(p.relative_to(REPOSITORY)): unexplained(p.read_text(encoding="utf-8")) for p in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_every_exception_of_a_folder_says_why() -> None:
    settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    section = settings.partition("[tool.ruff.lint.per-file-ignores]\n")[2].partition("\n\n")[0]
    assert section and [line for line in section.splitlines() if not re.search(r"\]  # \w", line)] == []


@pytest.mark.parametrize(
    "line", ["a = 1  # noqa", "a = 1  # noqa: A001", "# ruff: noqa: S608", "a = b  # type: ignore[arg-type]"]
)
def test_an_exception_without_a_reason_is_seen(line: str) -> None:
    assert unexplained(line) == [line]
    assert unexplained("a = 1  # noqa: A001 - why\nb = a  # type: ignore[arg-type]  # why") == []
