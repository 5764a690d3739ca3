"""kill -9 at named points of the protocol and at random moments; everything goes on, nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.campaign import choose, kills
from tests.processes.failpoints import POINTS
from tests.processes.judge import judge
from tests.processes.nursery import ROOT
from tests.processes.stage import Stage

KILLS = 16  # on each database


def test_kills_at_named_points(stage: Stage, request: pytest.FixtureRequest) -> None:
    seed = 1 if stage.app.database.is_sqlite else 2
    tally = kills(stage, random.Random(seed), choose(random.Random(seed), KILLS))
    assert tally.faults == []
    assert sum(tally.kills.values()) == KILLS
    # A service that does not come to its point in time, on a busy machine, is killed where it is.
    assert len(tally.kills) >= KILLS // 4, f"too few of the points were reached: {tally.kills}"
    assert set(tally.ends) <= {"promoted", "rolled_back"}


def test_a_plain_service_killed_at_random_goes_on_where_it_was(sqlite_stage: Stage, tmp_path: Path) -> None:
    """The program as people start it, without any hook of ours."""
    stage = sqlite_stage
    id_ = stage.start(2, hold="0.5s")
    for moment in (1, 3):
        log = tmp_path / f"plain-{moment}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "rollout", "serve", "--no-http"],
                cwd=tmp_path,
                env=stage.environ(PYTHONPATH=str(ROOT)),
                stdout=file,
                stderr=file,
            )
        try:
            stage.until_confirmed(id_, moment)
            if moment == 3:
                stage.until_phase(id_, "promoted")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    assert judge(stage, [id_], hold=0.5) == []


def test_the_product_has_no_hook() -> None:
    words = ("FAILPOINT", "FAILACTION", "CLOCK_SHIFT", "FILE_LIMIT")
    for package in ("rollout", "jobs"):
        for path in (ROOT / package).rglob("*.py"):
            assert not any(word in path.read_text() for word in words), f"{path} knows of a test's hook"


@pytest.mark.parametrize("text", ["after_lunch", "before_claims"])
def test_a_mistyped_point_is_refused(text: str) -> None:
    from tests.processes.failpoints import Failpoint

    with pytest.raises(ValueError, match="write one of: before_claim"):
        Failpoint.read({"FAILPOINT": text})
    assert len(set(POINTS)) == len(POINTS) >= 25
