"""Commands beside a running service, after it was killed, and without it: nothing but processes and sockets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading

import pytest

from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine, Done
from tests.support.plans import PLAN
from tests.support.service import service, wait_until
from tests.support.values import entry

NUMBER = "+14157774444"
QUICK_STEPS = PLAN.replace("hold: 1h", "hold: 1s")


def weight(retell: Sandbox) -> float:
    return float(sum(e["weight"] for e in retell.number(NUMBER).inbound_agents if e["agent_version"] == 7))


def started(rollout: CommandLine) -> str:
    done = rollout("start", "plan.yaml")
    assert done.code == 0, done.err
    return done.out.strip()


def answer(done: Done) -> tuple[int, str, int]:
    """(exit code, phase, step) of a command's --json."""
    assert done.code == 0, done.err
    return done.code, done.json["phase"], done.json["position"]["step"]


def test_a_rollout_is_followed_to_its_end(rollout: CommandLine, retell: Sandbox) -> None:
    rollout.write("plan.yaml", QUICK_STEPS)
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate") as serving:
        done = rollout("start", "plan.yaml", "--wait")
        assert done.code == 0, done.err
        assert "progressing at 1.1 (10 %)" in done.err
        assert "promoted" in done.err.splitlines()[-1]
        id_ = done.out.strip()
        assert retell.number(NUMBER).inbound_agents == [entry(7, 1.0)]
        assert rollout("watch", id_).code == 0
        assert rollout("show", id_, "--json").json["weight"] == 1.0
        assert serving.stop() == 0
    assert rollout("verify", "--json").json["ok"] is True


def test_start_wait_exits_5_when_it_was_not_promoted(rollout: CommandLine, retell: Sandbox) -> None:
    rollout.write("plan.yaml", PLAN.replace("hold: 1h", "hold: 2s"))

    def vanish() -> None:
        wait_until(lambda: weight(retell) == 0.1)
        retell.delete_version("agent_frontdesk", 7)
        retell.fault("status", status=422, method="PATCH", contains='"agent_version": 7', times=None)

    hand = threading.Thread(target=vanish)
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        hand.start()
        done = rollout("start", "plan.yaml", "--wait")
        hand.join()
    assert done.code == 5, done.err
    id_ = done.out.strip()
    assert f"rollout: {id_} ended as rolled_back: " in done.err
    assert "version 7" in done.err
    assert retell.number(NUMBER).inbound_agents == [entry(6)]


@pytest.mark.real_time
def test_commands_beside_a_running_service(rollout: CommandLine, retell: Sandbox) -> None:
    rollout.write("plan.yaml", PLAN.replace("{weight: 1.0}", "{weight: 1.0, hold: 1h}"))
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        wait_until(lambda: rollout.stored(id_).confirmed_at)
        # promoted twice with the same expectation moves once
        assert answer(rollout("promote", id_, "--expect", "1.1", "--json")) == (0, "progressing", 2)
        second = rollout("promote", id_, "--expect", "1.1")
        assert second.code == 3
        assert "you expected it at 1.1, but it is at 1.2" in second.err
        wait_until(lambda: rollout.stored(id_).confirmed_at)
        assert answer(rollout("promote", id_, "--json"))[0] == 0, "in the last step it ends the bake"
        wait_until(lambda: rollout.stored(id_).phase == "promoted")
        rolled = rollout("rollback", "--number", NUMBER, "--reason", "enough", "--json")
        assert rolled.code == 0, rolled.err
        assert rolled.json["seconds"] < 5
        assert retell.number(NUMBER).inbound_agents == [entry(6)]
        # another hand
        wait_until(lambda: rollout.stored(id_).phase == "rolled_back")
        held = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        wait_until(lambda: rollout.stored(held).confirmed_at)
        retell.edit(NUMBER, inbound_agents=[entry(8, 0.5), entry(6, 0.5)])
        wait_until(lambda: rollout.stored(held).phase == "held")
        refused = rollout("resume", held)
        assert refused.code == 3
        assert "answer it first: adopt, restore, rollback or stop" in refused.err
        assert answer(rollout("restore", held, "--json")) == (0, "progressing", 1)
        wait_until(lambda: weight(retell) == 0.1)
        wait_until(lambda: rollout.stored(held).confirmed_at)
        retell.edit(NUMBER, inbound_agents=[entry(8, 0.5), entry(6, 0.5)])
        wait_until(lambda: rollout.stored(held).phase == "held")
        assert answer(rollout("adopt", held, "--json")) == (0, "progressing", 1)
        assert answer(rollout("stop", held, "--json"))[1] in ("stopped", "paused")


def test_a_rollback_with_the_service_running(rollout: CommandLine, retell: Sandbox) -> None:
    odd = [entry(6, 0.3333), entry("prod", 0.6667)]
    retell.edit(NUMBER, inbound_agents=odd)
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        done = rollout("rollback", id_, "--reason", "callers complain")
        assert done.code == 0, done.err
        assert re.search(r"1 number read back at the baseline \d+\.\d{3} s after the order", done.out)
        assert retell.number(NUMBER).inbound_agents == odd
        wait_until(lambda: rollout.stored(id_).phase == "rolled_back")


def test_a_rollback_with_the_service_stopped(rollout: CommandLine, retell: Sandbox) -> None:
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate") as serving:
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        serving.stop()
    done = rollout("rollback", id_)
    assert done.code == 0, done.err
    assert "read back at the baseline" in done.out
    assert retell.number(NUMBER).inbound_agents == [entry(6)]
    assert rollout("rollback", id_).code == 0, "a second time is no error"
    assert len(retell.log(method="PATCH")) == 2


def test_a_killed_service_goes_on_from_where_it_was(rollout: CommandLine, retell: Sandbox) -> None:
    rollout.write("plan.yaml", PLAN.replace("hold: 1h", "hold: 4s"))
    variables = rollout.variables()
    with service(rollout.folder, variables, "--no-http", "--migrate") as first:
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        first.kill()
    with service(rollout.folder, variables, "--no-http"):
        wait_until(lambda: rollout.stored(id_).phase == "promoted", 30)
    bodies = [json.loads(e["body"])["inbound_agents"][0]["weight"] for e in retell.log(method="PATCH")]
    assert bodies == [0.1, 1.0], "none twice"
    written = [e["wall"] for e in retell.log(method="PATCH")]
    assert written[1] - written[0] >= 4, "none early"


def test_a_second_service_on_one_file_is_refused(rollout: CommandLine) -> None:
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        done = rollout("serve", "--no-http")
        assert done.code == 3
        assert "SQLite allows one" in done.err
        assert rollout("list").code == 0


# ------------------------------------------------------------------ the kit


def test_the_kit_rolls_back_without_service_and_database(rollout: CommandLine, retell: Sandbox) -> None:
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
    done = rollout("kit", id_, "--json")
    assert done.code == 0, done.err
    path = rollout.folder / done.json["path"]
    assert path.name == f"rollback-{id_}.py"
    for file in rollout.folder.glob("rollout.db*"):
        file.unlink()
    run = subprocess.run(
        [sys.executable, "-I", path, "--no-watch"],
        env={"RETELL_API_KEY": "key_of_a_test"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert retell.number(NUMBER).inbound_agents == [entry(6)]
