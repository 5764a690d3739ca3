"""Which packages `rollout list` and `rollout rollback` leave alone: whoever wants callers back waits for none of them."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from rollout.app import build
from rollout.domain.lifecycle.machine import Phase
from rollout.sandbox import Sandbox
from rollout.settings import Settings
from tests.support.command_line import REPOSITORY, CommandLine

NUMBER = "+14157774444"
# What no command on a rollout needs: arithmetic, servers, the tools of other commands.
HEAVY = {
    "alembic",
    "apprise",
    "apscheduler",
    "authlib",
    "fastapi",
    "holidays",
    "jinja2",
    "numpy",
    "opentelemetry",
    "phonenumbers",
    "prometheus_client",
    "psycopg",
    "requests",
    "rollout.adapters.planfile",
    "rollout.domain.gates.evidence",
    "rollout.domain.rehearsal.simulation",
    "rollout.interfaces.api",
    "rollout.interfaces.dashboard",
    "rollout.sandbox",
    "ruamel",
    "scipy",
    "starlette",
    "structlog",
    "uvicorn",
}


def loaded(err: str) -> set[str]:
    """Every module that a process has loaded, by what PYTHONPROFILEIMPORTTIME wrote."""
    return {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}


def written(rollout: CommandLine, retell: Sandbox) -> str:
    """A rollout whose first step is in force, and no service running."""
    done = rollout("start", "plan.yaml")
    assert done.code == 0, done.err
    id_ = done.out.strip()
    app = build(
        Settings(
            database_url=f"sqlite:///{rollout.folder / 'rollout.db'}",
            retell_base_url=retell.url,
            retell_api_key=SecretStr("key_of_a_test"),
        )
    )
    try:
        driven = app.drive(id_, until=lambda r: r.confirmed_at is not None)
    finally:
        app.close()
    assert driven is not None and driven.phase is Phase.PROGRESSING
    return id_


COMMANDS = {("list",): "frontdesk-v7", ("rollback", "frontdesk-v7"): "1 number read back at the baseline"}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_on_a_rollout_loads_nothing_heavy(
    words: tuple[str, ...], equipped: CommandLine, retell: Sandbox
) -> None:
    written(equipped, retell)
    done = equipped.alone(*words, PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0, done.err
    assert COMMANDS[words] in done.out
    names = loaded(done.err)
    assert "rollout.adapters.store.repository" in names  # the profile is one of the whole command
    assert names & HEAVY == set()


SITE = """\
import atexit, gc, sys

usual, begun = gc.get_threshold(), []
gc.callbacks.append(lambda phase, _info: begun.append(phase) if gc.get_threshold() != usual else None)

@atexit.register
def say():
    print(f"looked for garbage {len(begun)} times; {gc.get_freeze_count() // 10_000} are left alone", file=sys.stderr)
"""


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_on_a_rollout_looks_for_no_garbage(
    words: tuple[str, ...], equipped: CommandLine, retell: Sandbox
) -> None:
    """It was a third of the time that a command takes: once and again while it loads, and once more at its end."""
    written(equipped, retell)
    site = equipped.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    done = equipped.alone(*words, PYTHONPATH=f"{site}:{REPOSITORY}")
    assert done.code == 0, done.err
    assert re.search(r"looked for garbage 0 times; [1-9]\d are left alone", done.err), done.err
