"""Commands while no service runs, and `doctor`: what stands still is said, and never called well."""

from __future__ import annotations

import json
import re

import pytest

from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine
from tests.support.plans import PLAN
from tests.support.service import service, wait_until

NOBODY = "no service is running"
NUMBER = "+14157774444"


def checks(rollout: CommandLine, **more: str) -> tuple[int, dict[str, dict[str, object]]]:
    done = rollout("doctor", "--json", **more)
    report = json.loads(done.out)
    return done.code, {c["name"]: c for c in report["checks"]}


def test_live_rollouts_without_a_service_are_trouble(rollout: CommandLine) -> None:
    assert rollout("db", "upgrade").code == 0
    code, found = checks(rollout)
    assert code == 0, "nothing is live: nothing stands still"
    assert found["service"]["ok"]
    assert rollout("start", "plan.yaml").code == 0
    done = rollout("doctor")
    assert done.code == 4
    line = next(text for text in done.out.splitlines() if text.startswith("service"))
    assert "TROUBLE" in line and "none is running" in line and "1 live rollout waits" in line
    assert "rollout: service: none is running" in done.err
    error = rollout("doctor", "--json").json["error"]
    assert (error["code"], error["hint"]) == ("not_reachable", "")
    with service(rollout.folder, rollout.variables(), "--no-http"):
        wait_until(lambda: rollout("doctor").code == 0, 20)


def test_doctor_names_settings_that_cannot_work(rollout: CommandLine) -> None:
    code, found = checks(rollout, ROLLOUT_KIT_DIR="plan.yaml", ROLLOUT_CALENDARS="none.toml")
    assert code == 2
    assert not found["settings"]["ok"]
    wrong = rollout("doctor", "--json", ROLLOUT_KIT_DIR="plan.yaml").json["error"]
    assert wrong["code"] == "settings_error"
    text = rollout("doctor", ROLLOUT_KIT_DIR="plan.yaml", ROLLOUT_CALENDARS="none.toml").out
    assert "ROLLOUT_KIT_DIR: " in text and "ROLLOUT_CALENDARS: none.toml cannot be read" in text


def test_doctor_asks_the_service_of_rollout_url_and_makes_no_file(rollout: CommandLine, retell: Sandbox) -> None:
    assert rollout("db", "upgrade").code == 0
    token = rollout("token", "create", "--role", "viewer", "--name", "me", "--json").json["token"]
    elsewhere = rollout.folder / "elsewhere"
    elsewhere.mkdir()
    with service(rollout.folder, rollout.variables(), "--port", "0") as serving:
        where = re.search(r'"where": "(http://127.0.0.1:[0-9]+)"', serving.text())
        assert where is not None, serving.text()
        url = where[1]
        here = CommandLine(elsewhere, rollout._scratch, rollout._forks)
        here.environment = {"ROLLOUT_URL": url, "ROLLOUT_TOKEN": token}
        code, found = checks(here)
        assert code == 0
        assert found["service"]["detail"] == f"{url} answers"
        assert found["rollouts"]["detail"] == "0 live"
        assert found["database"]["ok"]
        code, found = checks(here, ROLLOUT_TOKEN="rlt_" + "x" * 40)
        assert code != 0
        assert not found["token"]["ok"]
    code, found = checks(here)
    assert code == 4
    assert "cannot be reached" in str(found["service"]["detail"])
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("command", ["start", "promote", "pause", "resume", "apply", "rollback"])
def test_a_command_says_on_standard_error_that_nobody_carries_it_out(
    rollout: CommandLine, retell: Sandbox, command: str
) -> None:
    (rollout.folder / "plans").mkdir()
    rollout.write("plans/plan.yaml", PLAN)
    if command == "apply":
        assert rollout("db", "upgrade").code == 0
        done = rollout("apply", "plans")
    else:
        with service(rollout.folder, rollout.variables(), "--no-http", "--migrate") as serving:
            id_ = rollout("start", "plan.yaml").out.strip()
            wait_until(lambda: rollout.stored(id_).confirmed_at)
            assert NOBODY not in rollout("pause", id_).err, "a service runs"
            if command != "resume":
                assert rollout("resume", id_).code == 0
            assert serving.stop() == 0
        if command == "start":
            rollout.write("other.yaml", PLAN.replace("frontdesk-v7", "other").replace(NUMBER, "+14157774445"))
            done = rollout("start", "other.yaml")
        elif command == "rollback":
            done = rollout("rollback", id_, "--no-wait")
        else:
            done = rollout(command, id_, "--json")
            assert done.json["id"] == id_, "the answer itself is as ever"
    assert done.code == 0, done.err
    assert NOBODY in done.err
    assert NOBODY not in done.out


def test_what_ended_needs_no_service(rollout: CommandLine) -> None:
    id_ = rollout("start", "plan.yaml").out.strip()
    done = rollout("stop", id_)
    assert done.code == 0
    assert "stopped" in done.out
    assert NOBODY not in done.err
