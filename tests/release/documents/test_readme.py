"""A newcomer's way through the README: its first real rollout, command by command, beside a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollout.sandbox import Sandbox
from tests.release.documents.running import free_port, run
from tests.release.documents.shell import blocks
from tests.support.command_line import REPOSITORY

README = REPOSITORY / "README.md"
NUMBER = "+14157774444"
BASELINE: list[dict[str, Any]] = [{"agent_id": "agent_abc", "agent_version": 6, "weight": 1}]
KIT = "rollout kit frontdesk-v7 -o ."
WATCH = "rollout watch frontdesk-v7 "
CONFIRMED = "until rollout show frontdesk-v7 | grep -q 'confirmed 10 %'; do sleep 0.1; done\n"


def script(port: int) -> str:
    """The block of the first real rollout. What follows it live does so beside the next command, as a second
    terminal would, and the kit of the paragraph below is written before the rollback."""
    (text,) = (block for block in blocks(README, "sh") if "rollout start" in block)
    lines = text.splitlines(keepends=True)
    assert lines[0].startswith("make install")
    assert f"`{KIT}`" in README.read_text(encoding="utf-8")
    found = "".join(lines[1:])
    for said, instead in (
        ("rollout serve &", f"rollout serve --port {port} &"),
        (WATCH, f"{CONFIRMED}{KIT}\n{WATCH} > watched 2>&1 &"),
    ):
        assert found.count(said) == 1, said
        found = found.replace(said, instead)
    return found + "wait $! || true\n"


@pytest.mark.slow
def test_the_first_real_rollout_does_what_the_readme_says(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with Sandbox() as sandbox:
        sandbox.add_agent("agent_abc", [6, 7])
        sandbox.add_number(NUMBER, inbound_agents=BASELINE)
        code, output = run(script(free_port()), folder, {**environment, "ROLLOUT_RETELL_BASE_URL": sandbox.url})
        assert code == 0, output[-4000:]
        bodies = [json.loads(entry["body"]) for entry in sandbox.log(number=NUMBER, method="PATCH")]
        assert [[e["weight"] for e in body["inbound_agents"] if e["agent_version"] == 7] for body in bodies] == [
            [0.1],
            [],
        ]
        assert sandbox.number(NUMBER).inbound_agents == BASELINE
    for words in ("ok: nothing was written", "1 number read back at the baseline"):
        assert words in output
    assert "rolled_back" in (folder / "watched").read_text()
    assert (folder / "rollout.db").exists()
    assert len(list(folder.glob("rollback-*.py"))) == 1
