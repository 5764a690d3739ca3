"""Every curl line of the sandbox's page does what it says: it is sent as written and answered 2xx."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rollout.sandbox import Sandbox
from rollout.sandbox.control_routes import CONTROL_ROUTES
from rollout.sandbox.faults import KINDS

PAGE = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_every_command_of_the_page_works(client: Any, sandbox: Sandbox) -> None:
    used = set()
    for words in commands():
        assert words[0] == "curl"
        url = urlsplit(words[-1])
        options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
        body = options.get("-d")
        method = options.get("-X", "POST" if body else "GET")
        path = url.path + (f"?{url.query}" if url.query else "")
        answer = client(method, path, body, key="any")
        assert 200 <= answer.status < 300, (words, answer)
        used.add((method, url.path))
    for method, pattern in CONTROL_ROUTES:
        shape = re.compile("/sandbox/?" + re.escape(pattern).replace(r"\*", "[^/]+"))
        assert any(method == verb and shape.fullmatch(path) for verb, path in used), (method, pattern)
    assert sandbox.faults() == []


def test_the_page_names_every_kind_of_fault_and_variant() -> None:
    for kind, variants in KINDS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |"))
        assert all(f"`{variant}`" in row for variant in variants), row
