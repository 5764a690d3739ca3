"""A short load of open pages and webhooks while a fleet steps; the whole one: `python -m tests.integration.api.load`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.integration.api.crowd import Seen
from tests.integration.api.load import RELOADS, Result, load


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_pages_and_hooks_are_answered_while_a_fleet_steps(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    # A third of the whole load, and not judged by the clock: the machine is shared.
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    found = load(tmp_path, seconds=8, pages=9, hooks=7, numbers=30, hold=1, url=url)
    assert found.wrong == []
    assert found.seen["call"].statuses.total() + found.seen["alert"].statuses.total() == 8 * 7
    assert len(found.late) >= 2


def result(**more: object) -> Result:
    seen = {kind: Seen(Counter({200: 100}), [0.01] * 100) for kind in (*RELOADS, "call")}
    given: dict[str, object] = {
        "seconds": 2.0,
        "processor": 1.0,
        "seen": seen,
        "events": 9,
        "late": [0.1, 0.4],
        "moves": [0.5],
        **more,
    }
    return Result(**given)


def test_a_load_is_judged() -> None:
    assert result().faults == []
    assert "1.1 s late" in result(late=[0.1, 1.1]).faults[0]
    assert "no step" in result(late=[]).faults[0]
    assert "no page was told" in result(events=0).faults[0]
    refused = {**result().seen, "call": Seen(Counter({200: 99, 429: 1}), [0.01] * 100)}
    assert "429" in result(seen=refused).faults[0]
    broken = {**result().seen, "call": Seen(Counter({200: 99}), [0.01] * 99, Counter({"ConnectionResetError": 1}))}
    assert "ConnectionResetError" in result(seen=broken).faults[0]
    slow = {**result().seen, RELOADS[0]: Seen(Counter({200: 300}), [0.2] * 300)}
    assert "the median reload took 200 ms" in result(seen=slow).faults[0]
    assert "| call | 50 | 200: 100 | 10 ms | 10 ms | 10 ms |" in result().table()
