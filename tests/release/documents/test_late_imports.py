"""The table of docs/performance.md names every module with an import inside a function, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.command_line import REPOSITORY

COMMANDS = "rollout/interfaces/cli/"  # one row for all of them


def named() -> set[str]:
    """The modules in the first column of the table."""
    page = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    section = page.partition("### What a command loads\n")[2]
    table = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for cell in table for name in re.findall(r"`([^`]+)`", cell)}


def late(source: str) -> Iterator[ast.stmt]:
    """The imports inside functions."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom))


def test_every_import_inside_a_function_has_a_row_that_says_what_it_gains() -> None:
    paths = sorted(path for folder in ("rollout", "jobs") for path in (REPOSITORY / folder).rglob("*.py"))
    found = {p.relative_to(REPOSITORY).as_posix() for p in paths if any(late(p.read_text(encoding="utf-8")))}
    found = {COMMANDS if name.startswith(COMMANDS) else name for name in found}
    assert found - named() == set(), "move the import to the top, or write what it gains into docs/performance.md"
    assert named() - found == set(), "docs/performance.md: no import of these stands inside a function any more"


def test_an_import_inside_a_method_is_seen_and_one_at_the_top_is_not() -> None:
    assert list(late("import a\nif b:\n    import c\nclass D:\n    import e\n")) == []
    assert len(list(late("class A:\n    async def b(self):\n        if c:\n            from d import e\n"))) == 1
