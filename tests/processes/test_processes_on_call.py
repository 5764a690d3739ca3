"""The on-call card (docs/how-to/on-call.md), followed at night: the service is dead, and then the database is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes.judge import judge, patches_of
from tests.processes.stage import KEY, SPLIT, Stage


def test_rollback_without_the_service_and_then_the_kit_without_the_database(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    first, second = stage.start(2, hold="1h"), stage.start(2, hold="1h")
    service = stage.serve()
    for id_ in (first, second):
        stage.until_confirmed(id_, 1)
    written = stage.cli("kit", second, "-o", ".")
    assert written.code == 0, written.err
    service.kill()

    (one, two), others = _numbers(stage, first), _numbers(stage, second)
    listed = stage.cli("list", "--live", "--json")
    assert {r["id"] for r in listed.json} == {first, second}
    done = stage.cli("rollback", "--number", one, "--reason", "callers hear the wrong agent")
    assert done.code == 0, done.err
    assert "2 numbers read back" in done.out
    assert _served(stage, one, two) == [SPLIT, SPLIT]
    assert SPLIT not in _served(stage, *others), "somebody else's rollout"

    file = Path(stage.database_url.removeprefix("sqlite:///"))
    away = file.with_name("away")
    stage.app.database.close()  # the test's own connections
    file.rename(away)
    refused = stage.cli("rollback", second, "--reason", "callers hear the wrong agent")
    assert refused.code == 4, refused.err
    assert str(file) in refused.err
    kit = _run_kit(stage.folder / f"rollback-{second}.py")
    assert kit.returncode == 0, kit.stdout + kit.stderr
    assert _served(stage, *others) == [SPLIT, SPLIT]

    away.rename(file)
    sent = {number: len(patches_of(stage, number)) for number in (one, two, *others)}
    service = stage.serve()
    for id_ in (first, second):
        stage.until_phase(id_, "rolled_back")
    assert service.stop() == 0
    assert {number: len(patches_of(stage, number)) for number in sent} == sent, "nothing is left to write"
    assert judge(stage, [first]) == []


def _numbers(stage: Stage, id_: str) -> list[str]:
    return [target.number for target in stage.load(id_).targets]


def _served(stage: Stage, *numbers: str) -> list[object]:
    return [stage.sandbox.number(number).inbound_agents for number in numbers]


def _run_kit(path: Path) -> subprocess.CompletedProcess[str]:
    """On another machine: Python, the file and the key, and nothing else of ours."""
    return subprocess.run(
        [sys.executable, "-I", path],
        cwd=path.parent,
        env={"PATH": os.environ.get("PATH", os.defpath), "RETELL_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
    )
