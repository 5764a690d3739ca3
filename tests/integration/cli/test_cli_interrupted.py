"""Ctrl-C: what was ordered goes on, and how to follow or stop it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.command_line import CommandLine
from tests.support.service import wait_until


def pressed(rollout: CommandLine, *args: str, when: str) -> tuple[int, str, str]:
    """(exit code, output, errors) of a command that gets Ctrl-C once `when` was said."""
    out, err = rollout.folder / "out", rollout.folder / "err"
    with out.open("wb") as o, err.open("wb") as e:
        process = subprocess.Popen(
            [sys.executable, "-m", "rollout", *args], cwd=rollout.folder, env=rollout.variables(), stdout=o, stderr=e
        )
        try:
            wait_until(lambda: when in out.read_text() + err.read_text())
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
        finally:
            process.kill()
    return code, out.read_text(), err.read_text()


@pytest.mark.parametrize("command", ["start", "watch"])
def test_ctrl_c_while_following_says_that_the_rollout_goes_on(rollout: CommandLine, command: str) -> None:
    if command == "start":
        code, out, err = pressed(rollout, "start", "plan.yaml", "--wait", when="pending at 1.1")
        id_ = out.strip()
    else:
        id_ = rollout("start", "plan.yaml").out.strip()
        code, _, err = pressed(rollout, "watch", id_, when="pending at 1.1")
    assert code == 130
    assert err.splitlines()[-1] == (
        f"interrupted; the rollout continues; follow it: rollout watch {id_}; stop it: rollout pause {id_}, or "
        f"rollout rollback {id_}"
    )
    assert "Aborted" not in err
    assert rollout("show", id_, "--json").json["phase"] == "pending"
