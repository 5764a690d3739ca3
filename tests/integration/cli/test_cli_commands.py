"""Every command as a person gives it: what it prints, what it does, how it exits."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.sandbox import Sandbox
from rollout.sandbox.routes import Preconditions
from tests.support.command_line import CommandLine, Done
from tests.support.tunnel import Proxy, authority
from tests.support.values import entry

NUMBER = "+14157774444"
SHOWN = {
    "id",
    "name",
    "phase",
    "reason",
    "position",
    "weight",
    "due_at",
    "next",
    "why",
    "waiting_for",
    "targets",
    "created_at",
    "updated_at",
}


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
    done = rollout.alone("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    assert done.out.startswith("Usage:")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    heavy = {
        "sqlalchemy",
        "httpx",
        "pydantic",
        "fastapi",
        "numpy",
        "scipy",
        "apscheduler",
        "alembic",
        "rich.console",
        "apprise",
        "holidays",
    }
    assert loaded & heavy == set()
    times = [rollout.alone("--help").cpu for _ in range(2)]
    assert min(times) < 0.5, times


def test_help_names_every_command(rollout: CommandLine) -> None:
    done = rollout("--help")
    for name in (
        "demo",
        "serve",
        "check",
        "start",
        "list",
        "show",
        "watch",
        "history",
        "promote",
        "set",
        "ship",
        "pause",
        "resume",
        "stop",
        "adopt",
        "restore",
        "rollback",
        "kit",
        "sandbox",
        "db",
        "doctor",
        "verify",
    ):
        assert re.search(rf"^  {name} ", done.out, re.MULTILINE), name


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
        "version": 1,
        "name": "j",
        "numbers": [NUMBER],
        "channels": ["inbound"],
        "gates": [],
        "canary": {"agent_id": "agent_frontdesk", "agent_version": 7},
        "steps": [{"weight": 1.0}],
    }
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
    assert (target["number"], target["channels"], target["baseline"]) == (
        NUMBER,
        ["inbound"],
        {"inbound_agents": [entry(6)]},
    )
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


def test_what_is_listed_shown_and_remembered(equipped: CommandLine) -> None:
    rollout = equipped
    assert rollout("list").out.startswith("no rollouts yet")
    id_ = started(rollout, "--reason", "ticket 7")
    (listed,) = rollout("list", "--json").json
    assert {k: listed[k] for k in ("id", "name", "phase")} == {"id": id_, "name": "frontdesk-v7", "phase": "pending"}
    assert id_ in rollout("list", "--live").out
    text = rollout("show", "frontdesk-v7")
    assert "pending" in text.out
    assert NUMBER in text.out
    assert "no service is running: nothing happens until you run `rollout serve`" in text.err
    (entry_,) = rollout("history", id_, "--json").json
    assert (entry_["seq"], entry_["kind"], entry_["reason"]) == (1, "created", "ticket 7")
    assert entry_["actor"].startswith("cli:")
    assert "ticket 7" in rollout("history", id_).out
    assert rollout("history", id_, "--after", "1", "--json").json == []


# ------------------------------------------------------------------ commands, without a service


def answer(done: Done) -> tuple[int, str, int]:
    assert done.code == 0, done.err
    return done.code, done.json["phase"], done.json["position"]["step"]


def test_set_weights_by_hand(rollout: CommandLine) -> None:
    id_ = started(rollout)
    for args, said in (
        ((), "write --weight 0.2, or --weights b=0.2,c=0.1"),
        (("--weight", "0.2", "--weights", "b=0.2"), "write --weight 0.2, or --weights"),
        (("--weight", "25"), "weight: 25 is above 1"),
        (("--weights", "b0.2"), "weights: 'b0.2' is not NAME=SHARE"),
        (("--weights", "b=0.2,b=0.3"), "weights: b is given twice"),
    ):
        done = rollout("set", id_, *args)
        assert done.code == 2 and said in done.err, done.err
    done = rollout("set", id_, "--weight", "0.3", "--expect", "1.1")
    assert done.code == 3 and "cannot be set to other weights: it has not started yet" in done.err


def test_ship_a_version(rollout: CommandLine) -> None:
    id_ = started(rollout)
    done = rollout("ship", id_, "--variant", "canary", "--anyway", "--reason", "the best of three")
    assert done.code == 3 and "it has not started yet: ship it after its start" in done.err
    assert rollout("ship", id_).code == 2, "which version has to be said"
    assert show(rollout, id_)["shipped"] is None


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


# ------------------------------------------------------------------ keeping it in order


def test_db_upgrade_check_and_doctor(rollout: CommandLine) -> None:
    assert rollout("db", "check").code == 4
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


@pytest.mark.parametrize(("mode", "says"), [(None, "not supported"), ("ignored", "supported")])
def test_doctor_says_whether_retell_offers_if_match(
    rollout: CommandLine, mode: Preconditions | None, says: str
) -> None:
    with Sandbox(preconditions=mode) as sandbox:
        sandbox.add_ready_world(calls_per_hour=0)
        found = rollout("doctor", "--json", ROLLOUT_RETELL_BASE_URL=sandbox.url)
    (check,) = [c for c in found.json["checks"] if c["name"] == "if-match"]
    assert check["ok"]
    assert check["detail"].startswith(says)


def test_doctor_says_which_proxy_and_which_certificates_are_in_force(rollout: CommandLine, tmp_path: Path) -> None:
    rollout("db", "upgrade")
    private = authority(tmp_path, "api.retell.test")

    def network(**environ: str) -> str:
        found = rollout("doctor", "--json", **environ)
        return next(c["detail"] for c in found.json["checks"] if c["name"] == "network")

    assert network(HTTPS_PROXY="http://proxy:1") == "directly, on this machine, without TLS"
    with Proxy() as proxy:
        company = {
            "ROLLOUT_RETELL_BASE_URL": "https://api.retell.test",
            "HTTPS_PROXY": proxy.url.replace("//", "//me:hunter2@"),
            "SSL_CERT_FILE": str(private.ca),
        }
        there = f"127.0.0.1:{proxy.port}"
        assert network(**company) == (
            f"through the proxy {there} (HTTPS_PROXY with a user name); trusted certificates: SSL_CERT_FILE={private.ca}"
        )
        report = rollout("doctor", **company)
        assert report.code == 4 and f"through the proxy {there}: the proxy refuses" in report.err
        assert "hunter2" not in report.out + report.err
        assert network(**company, NO_PROXY="retell.test").startswith("directly (NO_PROXY has retell.test)")
    refused = rollout("doctor", **{**company, "HTTPS_PROXY": "socks5://proxy:1"})
    assert refused.code == 2 and refused.err.startswith("rollout: HTTPS_PROXY: ")
    refused = rollout("doctor", **{**company, "SSL_CERT_FILE": "/nowhere.pem"})
    assert refused.code == 2 and "SSL_CERT_FILE: /nowhere.pem: No such file" in refused.err


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
        cwd=rollout.folder,
        env=rollout.variables(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}/sandbox", timeout=30) as answered:
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
    done = rollout.alone("demo", timeout=150)
    assert done.code == 0, done.out + done.err
    assert "the sandbox's own record agrees on every step" in done.out
    assert "promoted" in done.out
    assert "rolled_back" in done.out
