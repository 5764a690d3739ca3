"""Event loops in tests: after a test with a browser, one runs in the process's main thread, and stays there."""

from __future__ import annotations

import re

import pytest

from tests.support.command_line import REPOSITORY
from tests.support.loops import run_apart

LOOPS = REPOSITORY / "tests/support/loops.py"
STARTED = re.compile(r"\basyncio\.(?:run|Runner)\b|\brun_until_complete\b|\banyio\.run\b")


def test_every_coroutine_of_a_test_runs_in_a_thread_of_its_own() -> None:
    """Whether a browser's test came before is chance: `asyncio.run` fails in one order and passes in another."""
    paths = [path for path in (REPOSITORY / "tests").rglob("*.py") if path != LOOPS]
    found = {str(path.relative_to(REPOSITORY)): STARTED.findall(path.read_text(encoding="utf-8")) for path in paths}
    found.pop("tests/release/documents/test_event_loops.py")
    assert len(found) > 300
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_coroutine_runs_apart_beside_a_running_loop() -> None:
    async def inner() -> int:
        return 7

    async def outer() -> int:
        return run_apart(inner())

    assert run_apart(outer()) == 7


@pytest.mark.parametrize("line", ["asyncio.run(it())", "with asyncio.Runner() as r:", "loop.run_until_complete(it())"])
def test_a_loop_of_the_main_thread_is_seen(line: str) -> None:
    assert STARTED.search(line) and not STARTED.search("run_apart(it())")
