"""Every command as a person gives it: what it prints, what it does, how it exits."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.clock import SystemClock
from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine, Done
from tests.support.plans import PLAN
from tests.support.service import service, wait_until
from tests.support.values import entry

NUMBER = "+14157774444"
SHOWN = {
    "id", "name", "phase", "reason", "position", "weight", "due_at", "next", "why", "targets", "created_at",
    "updated_at",
}  # fmt: skip
QUICK_STEPS = PLAN.replace("hold: 1h", "hold: 1s")


def weight(retell: Sandbox) -> float:
    return sum(e["weight"] for e in retell.number(NUMBER).inbound_agents if e["agent_version"] == 7)


def started(rollout: CommandLine, *args: str) -> str:
    done = rollout("start", "plan.yaml", *args)
    assert done.code == 0, done.err
    return done.out.strip()


def show(rollout: CommandLine, id_: str) -> dict[str, Any]:
    done = rollout("show", id_, "--json")
    assert done.code == 0, done.err
    document: dict[str, Any] = done.json
    return document


# ------------------------------------------------------------------ help


def test_help_is_quick_and_loads_nothing_heavy(rollout: CommandLine) -> None:
    done = rollout("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    assert done.out.startswith("Usage:")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    heavy = {"sqlalchemy", "httpx", "pydantic", "fastapi", "numpy", "scipy", "apscheduler", "alembic", "rich.console", "apprise", "holidays"}  # fmt: skip
    assert loaded & heavy == set()
    times = [rollout("--help").cpu for _ in range(2)]
    assert min(times) < 0.5, times


def test_help_names_every_command(rollout: CommandLine) -> None:
    done = rollout("--help")
    for name in (
        "demo", "serve", "check", "start", "list", "show", "watch", "history", "promote", "pause", "resume", "stop",
        "adopt", "restore", "rollback", "kit", "sandbox", "db", "doctor", "verify",
    ):  # fmt: skip
        assert re.search(rf"^  {name} ", done.out, re.M), name


def test_without_a_command_the_help_is_shown(rollout: CommandLine) -> None:
    assert "Commands:" in "".join([*(d := rollout()).out, *d.err])


# ------------------------------------------------------------------ check


def test_check_prints_the_exact_requests_and_writes_nothing(rollout: CommandLine, retell: Sandbox) -> None:
    done = rollout("check", "plan.yaml", "--json")
    assert done.code == 0, done.err
    report = done.json
    assert (report["ok"], report["problems"], report["warnings"]) == (True, [], [])
    (request,) = report["requests"]
    assert (request["method"], request["numbers"]) == ("PATCH", [NUMBER])
    assert [json.loads(body) for body in request["steps"]] == [
        {"inbound_agents": [entry(7, 0.1), entry(6, 0.9)]},
        {"inbound_agents": [entry(7, 1.0)]},
    ]
    assert json.loads(request["rollback"]) == {"inbound_agents": [entry(6)]}
    assert {e["method"] for e in retell.log()} <= {"GET", "POST"}
    text = rollout("check", "plan.yaml")
    assert request["steps"][0] in text.out
    assert "ok: nothing was written" in text.out


def test_check_strict_refuses_warnings(rollout: CommandLine, retell: Sandbox) -> None:
    retell.edit(NUMBER, inbound_webhook_url="https://example.test")
    assert "inbound webhook" in rollout("check", "plan.yaml", "--json").json["warnings"][0]
    done = rollout("check", "plan.yaml", "--strict")
    assert done.code == 3
    assert "inbound webhook" in done.err


def test_check_offline_asks_nobody(rollout: CommandLine, retell: Sandbox) -> None:
    done = rollout("check", "plan.yaml", "--offline", RETELL_API_KEY="")
    assert done.code == 0, done.err
    assert retell.log() == []


def test_a_plan_may_come_from_standard_input_and_as_json(rollout: CommandLine) -> None:
    document = {
        "version": 1, "name": "j", "numbers": [NUMBER], "channels": ["inbound"], "gates": [],
        "canary": {"agent_id": "agent_frontdesk", "agent_version": 7}, "steps": [{"weight": 1.0}],
    }  # fmt: skip
    assert rollout("check", "-", input=json.dumps(document)).code == 0


# ------------------------------------------------------------------ start, list, show, history


def test_start_prints_the_id_alone(rollout: CommandLine) -> None:
    done = rollout("start", "plan.yaml")
    assert done.code == 0
    assert re.fullmatch(r"[a-z0-9]{10}\n", done.out)
    assert "start one with `rollout serve`" in done.err, "nothing moves without a service, and that is said"
    document = show(rollout, done.out.strip())
    assert set(document) >= SHOWN
    assert (document["phase"], document["position"], document["weight"]) == ("pending", {"wave": 1, "step": 1}, 0)
    (target,) = document["targets"]
    assert {"number", "channels", "baseline", "confirmed", "live", "state"} <= set(target)
    assert (target["number"], target["channels"], target["baseline"]) == (NUMBER, ["inbound"], {"inbound_agents": [entry(6)]})
    for name in ("created_at", "updated_at", "due_at"):
        assert document[name].endswith("Z")


def test_start_at_a_time_waits_for_it(rollout: CommandLine) -> None:
    at = SystemClock().now() + timedelta(hours=5)
    document = show(rollout, started(rollout, "--at", at.isoformat()))
    assert datetime.fromisoformat(document["start_at"]) == at
    assert document["targets"] == []


def test_start_with_one_request_id_starts_once(rollout: CommandLine) -> None:
    assert started(rollout, "--request-id", "q") == started(rollout, "--request-id", "q")
    assert len(rollout("list", "--json").json) == 1


def test_a_second_start_on_the_same_number_is_refused(rollout: CommandLine) -> None:
    first = started(rollout)
    done = rollout("start", "plan.yaml")
    assert done.code == 3
    assert f"{NUMBER} is already driven by frontdesk-v7 ({first})" in done.err


def test_what_is_listed_shown_and_remembered(rollout: CommandLine) -> None:
    assert rollout("list").out.startswith("no rollouts yet")
    id_ = started(rollout, "--reason", "ticket 7")
    (listed,) = rollout("list", "--json").json
    assert {k: listed[k] for k in ("id", "name", "phase")} == {"id": id_, "name": "frontdesk-v7", "phase": "pending"}
    assert id_ in rollout("list", "--live").out
    text = rollout("show", "frontdesk-v7")
    assert "pending" in text.out
    assert NUMBER in text.out
    assert "no service is running: nothing moves until `rollout serve`" in text.err
    (entry_,) = rollout("history", id_, "--json").json
    assert (entry_["seq"], entry_["kind"], entry_["reason"]) == (1, "created", "ticket 7")
    assert entry_["actor"].startswith("cli:")
    assert "ticket 7" in rollout("history", id_).out
    assert rollout("history", id_, "--after", "1", "--json").json == []


# ------------------------------------------------------------------ commands, without a service


def answer(done: Done) -> tuple[int, str, int]:
    assert done.code == 0, done.err
    return done.code, done.json["phase"], done.json["position"]["step"]


def test_pause_resume_and_stop(rollout: CommandLine) -> None:
    id_ = started(rollout)
    assert answer(rollout("pause", id_, "--reason", "lunch", "--json")) == (0, "paused", 1)
    assert show(rollout, id_)["reason"] == "lunch"
    assert answer(rollout("resume", id_, "--json")) == (0, "pending", 1)
    assert rollout("pause", "--all").out == f"{id_}: pause: paused at 1.1\n"
    assert answer(rollout("stop", id_, "--json")) == (0, "stopped", 1)
    done = rollout("resume", id_)
    assert done.code == 3
    assert "it has ended as stopped" in done.err


def test_a_rollback_before_the_first_write(rollout: CommandLine, retell: Sandbox) -> None:
    id_ = started(rollout)
    done = rollout("rollback", id_)
    assert done.code == 0, done.err
    assert show(rollout, id_)["phase"] == "rolled_back"
    assert retell.log(method="PATCH") == []
    assert rollout("rollback", "--all").out == "nothing to roll back: no rollout is live\n"


# ------------------------------------------------------------------ with a service beside


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
        assert show(rollout, id_)["weight"] == 1.0
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


def test_commands_beside_a_running_service(rollout: CommandLine, retell: Sandbox) -> None:
    with service(rollout.folder, rollout.variables(), "--no-http", "--migrate"):
        id_ = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        wait_until(lambda: rollout.stored(id_).confirmed_at)
        # promote twice with the same expectation moves once
        assert answer(rollout("promote", id_, "--expect", "1.1", "--json")) == (0, "progressing", 2)
        second = rollout("promote", id_, "--expect", "1.1")
        assert second.code == 3
        assert "you expected it at 1.1, and it stands at 1.2" in second.err
        # another hand
        wait_until(lambda: rollout.stored(id_).phase == "promoted")
        rolled = rollout("rollback", "--number", NUMBER, "--reason", "enough", "--json")
        assert rolled.code == 0, rolled.err
        assert rolled.json["seconds"] < 5
        assert retell.number(NUMBER).inbound_agents == [entry(6)]
        held = started(rollout)
        wait_until(lambda: weight(retell) == 0.1)
        wait_until(lambda: rollout.stored(held).confirmed_at)
        retell.edit(NUMBER, inbound_agents=[entry(8, 0.5), entry(6, 0.5)])
        wait_until(lambda: rollout.stored(held).phase == "held")
        refused = rollout("resume", held)
        assert refused.code == 3
        assert "held is left by adopt, restore, rollback or stop" in refused.err
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
        assert "SQLite takes one" in done.err
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
        env={"RETELL_API_KEY": "key_of_a_test"}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert retell.number(NUMBER).inbound_agents == [entry(6)]


# ------------------------------------------------------------------ keeping it in order


def test_db_upgrade_check_and_doctor(rollout: CommandLine) -> None:
    assert rollout("db", "check").code == 3
    first = rollout("db", "upgrade", "--json")
    assert (first.code, first.json["before"]) == (0, None)
    assert "already" in rollout("db", "upgrade").out
    assert rollout("db", "check", "--json").json["ok"] is True
    report = rollout("doctor", "--json")
    assert report.code == 0, report.err
    names = {c["name"]: c["ok"] for c in report.json["checks"]}
    assert names.items() >= {"schema": True, "database": True, "retell": True}.items()
    assert "key_of_a_test" not in report.out
    wrong = rollout("doctor", RETELL_API_KEY="wrong")
    assert wrong.code == 4
    assert "the key is refused (401)" in wrong.err


def test_verify_finds_a_changed_journal(rollout: CommandLine) -> None:
    id_ = started(rollout)
    assert rollout("verify").out == "1 entries, none altered\n"
    connection = sqlite3.connect(rollout.folder / "rollout.db")
    connection.execute("DROP TRIGGER journal_no_update")
    connection.execute("UPDATE journal SET reason = 'other'")
    connection.commit()
    connection.close()
    done = rollout("verify", id_)
    assert done.code == 1
    assert f"{id_} entry 1: was changed after it was written" in done.err


# ------------------------------------------------------------------ shows


def test_the_sandbox_command_serves(rollout: CommandLine) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "rollout", "sandbox", "--port", "0"],
        cwd=rollout.folder, env=rollout.variables(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}/sandbox", timeout=5) as answered:
            assert "routes" in json.load(answered)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
def test_the_demo_ends_well(rollout: CommandLine) -> None:
    done = rollout("demo", timeout=150)
    assert done.code == 0, done.out + done.err
    assert "the sandbox's own record agrees on every step" in done.out
    assert "promoted" in done.out
    assert "rolled_back" in done.out
