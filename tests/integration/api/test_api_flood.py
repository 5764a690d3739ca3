"""A short flood of reads and hooks while a rollout steps; the whole one is `python -m tests.integration.api.flood`."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.api.crowd import Seen
from tests.integration.api.flood import MIX, READS, Result, flood


@pytest.mark.slow
@pytest.mark.real_time
def test_steps_are_not_late_in_a_flood(tmp_path: Path) -> None:
    # A third of the rates of the whole flood: the machine is shared.
    # In a thread of its own: an event loop runs in this one once a browser's test has been here.
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(flood, tmp_path, seconds=8, reads=60, hooks=90, hold=1).result()
    assert found.faults == []
    assert found.answered(READS) == 8 * 60
    assert len(found.late) >= 2


def result(**more: object) -> Result:
    seen = {kind: Seen(Counter({200: 100}), [0.01] * 100) for kind in MIX}
    given: dict[str, object] = {
        "seconds": 2.0,
        "processor": 1.0,
        "seen": seen,
        "late": [0.1, 0.4],
        "moves": [0.5],
        "reads_asked": 250.0,
        **more,
    }
    return Result(**given)  # type: ignore[arg-type]


def test_a_flood_is_judged() -> None:
    assert result().faults == []
    assert "2.1 s late" in result(late=[0.1, 2.1]).faults[0]
    assert "no step" in result(late=[]).faults[0]
    assert "of 400 reads a second" in result(reads_asked=400.0).table()
    refused = {**result().seen, "show": Seen(Counter({200: 99, 429: 1}), [0.01] * 100)}
    assert "429" in result(seen=refused).faults[0]
    broken = {**result().seen, "list": Seen(Counter({200: 99}), [0.01] * 99, Counter({"ConnectionResetError": 1}))}
    assert "ConnectionResetError" in result(seen=broken, reads_asked=200.0).faults[0]
    assert "| show | 50 | 200: 100 | 10 ms | 10 ms | 10 ms |" in result().table()
