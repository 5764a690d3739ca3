"""The tutorial, run command by command in one shell, in an empty folder, beside a real sandbox and a real service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.release.documents.running import free_port, run
from tests.release.documents.shell import blocks
from tests.support.command_line import REPOSITORY
from tests.support.parts import need

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"


def script(ports: dict[str, int]) -> str:
    """Every block of the tutorial, each told apart by a line, on ports that nobody else uses."""
    parts = []
    for i, block in enumerate(blocks(TUTORIAL, "sh"), 1):
        parts.append(f"echo '=== block {i}'\n{block}")
    text = "".join(parts)
    for port, instead in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{instead}")
    text = text.replace("rollout sandbox >", f"rollout sandbox --port {ports['8090']} >")
    return text.replace("rollout serve --migrate", f"rollout serve --migrate --port {ports['8080']}")


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    need("curl", "apt-get install curl")
    folder = tmp_path / "empty"
    folder.mkdir()
    text = script({"8090": free_port(), "8080": free_port()})
    code, output = run(text, folder, environment)
    serve = folder / "serve.log"
    more = serve.read_text(errors="replace")[-2000:] if serve.exists() else "no service was started"
    assert code == 0, f"{output[-4000:]}\n--- the service:\n{more}"
    found = {int(n): part for n, part in re.findall(r"=== block (\d+)\n(.*?)(?==== block|\Z)", output, re.DOTALL)}
    everything = "\n".join(found.values())
    for words in (
        "ok: nothing was written",  # check
        "promoted at 1.3 (100 %)",  # --wait followed the good version to its end
        "exit code 5",  # the bad one did not end as promoted
        "rolled_back",
        "1 number read back at the baseline",
        "PATCH",  # the kit's dry run
        "held",
        "none altered",
    ):
        assert words in everything, f"{words!r} was not said:\n{everything[-6000:]}"
    assert {"frontdesk-v7.yaml", "frontdesk-v10.yaml", "frontdesk-v7.jsonl", "rollout.db"} <= {
        p.name for p in folder.iterdir()
    }


def test_every_block_of_the_tutorial_is_run() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(TUTORIAL, "sh")), "a block that is not sh would not be run"
    assert len(blocks(TUTORIAL, "sh")) >= 12
