"""Everything a person can do wrong on the command line: a sentence that helps, and the right exit code."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rollout.adapters.store import migrate
from rollout.adapters.store.address import parse_address
from rollout.adapters.store.engine import Database
from rollout.sandbox import Sandbox
from tests.support.clock import FakeClock
from tests.support.command_line import CommandLine
from tests.support.plans import PLAN
from tests.support.postgres import Server


def plan(**lines: str) -> str:
    """The plan with some of its lines written otherwise, by their first word."""
    kept = [
        line
        for line in PLAN.splitlines()
        if line.split(":")[0] not in lines and not ("steps" in lines and line.startswith("  - "))
    ]
    return "\n".join([*kept, *lines.values()]) + "\n"


def steps(*entries: str) -> str:
    return plan(steps="steps:\n" + "\n".join(f"  - {entry}" for entry in entries))


BAD: list[tuple[str, str, tuple[str, ...]]] = [
    ("broken YAML", "version: 1\nname: [a", (":2:", "broken YAML", "brackets")),
    ("a tab", "version: 1\n\tname: a", (":2:", "indent with spaces, not with tabs")),
    ("unknown key", plan(extra="holds: 30m"), (":10:1: holds", "there is no such key")),
    ("unquoted number", plan(numbers="numbers: [+14157774444]"), ("numbers", "quote")),
    ("hold in colon form", steps("{weight: 0.1, hold: 10:30}"), ("hold", "10:30", "10m30s")),
    ("weight 0", steps("{weight: 0, hold: 1h}"), ("weight", "0")),
    ("weight 1.2", steps("{weight: 1.2, hold: 1h}"), ("weight", "1.2")),
    ("weight 10", steps("{weight: 10, hold: 1h}"), ("weight", "0.1")),
    ("five decimals", steps("{weight: 0.12345, hold: 1h}"), ("weight", "four decimals")),
    ("no steps", plan(steps="steps: []"), ("steps",)),
    ("duplicate numbers", plan(numbers='numbers: ["+14157774444", "+14157774444"]'), ("+14157774444", "twice")),
    ("not E.164", plan(numbers='numbers: ["415 777 4444"]'), ("numbers", "+1")),
    ("unknown channel", plan(channels="channels: [voice]"), ("channels", "inbound")),
    ("no canary", plan(canary="baseline: {agent_id: a, agent_version: 1}"), ("canary",)),
    ("a tag for a canary", plan(canary="canary: {agent_id: a, agent_version: prod}"), ("agent_version",)),
    ("version 2", plan(version="version: 2"), ("version: 1",)),
    ("a name with a control character", plan(name='name: "a\\x1b[31m"'), ("name",)),
    ("empty file", "", ("plan",)),
    (
        "weights above 1 in sum",
        plan(
            canary="variants: {b: {agent_id: a, agent_version: 1}, c: {agent_id: a, agent_version: 2}}",
            steps="steps:\n  - {weights: {b: 0.6, c: 0.6}}",
        ),
        ("weights", "1.2"),
    ),
]


@pytest.mark.parametrize(("text", "words"), [c[1:] for c in BAD], ids=[c[0].replace(" ", "-") for c in BAD])
def test_a_bad_plan(rollout: CommandLine, retell: Sandbox, text: str, words: tuple[str, ...]) -> None:
    rollout.write("bad.yaml", text)
    done = rollout("start", "bad.yaml")
    assert done.code == 2, done.err
    assert done.out == ""
    assert done.err.startswith("rollout: ")
    assert "bad.yaml" in done.err
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    assert retell.log() == [], "a bad plan is not worth a request"


@pytest.mark.parametrize("command", ["start", "check"])
def test_a_missing_file(rollout: CommandLine, command: str) -> None:
    done = rollout(command, "none.yaml")
    assert (done.code, done.err) == (
        2,
        "rollout: none.yaml: there is no such file; write another path, or - for standard input\n",
    )


def test_a_folder_and_a_picture_are_no_plans(rollout: CommandLine) -> None:
    (rollout.folder / "folder").mkdir()
    (rollout.folder / "picture.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert "this is a folder; name a plan file" in rollout("check", "folder").err
    assert "this is not UTF-8 text" in rollout("check", "picture.yaml").err


REFUSED: list[tuple[str, str, str]] = [
    ("unknown number", plan(numbers='numbers: ["+14155550199"]'), "+14155550199: Retell does not know this number"),
    (
        "unpublished version",
        plan(canary="canary: {agent_id: agent_frontdesk, agent_version: 9}"),
        "version 9 is a draft: publish it before you start",
    ),
    (
        "version that is not there",
        plan(canary="canary: {agent_id: agent_frontdesk, agent_version: 99}"),
        "version 99 does not exist",
    ),
]


@pytest.mark.parametrize(("text", "words"), [c[1:] for c in REFUSED], ids=[c[0].replace(" ", "-") for c in REFUSED])
def test_a_plan_that_does_not_fit_the_live_numbers(
    rollout: CommandLine, retell: Sandbox, text: str, words: str
) -> None:
    rollout.write("bad.yaml", text)
    for command in ("start", "check"):
        done = rollout(command, "bad.yaml")
        assert done.code == 3
        assert words in done.err
    assert rollout("list", "--json").json == []
    assert retell.log(method="PATCH") == []


def test_a_wrong_key(rollout: CommandLine) -> None:
    done = rollout("start", "plan.yaml", RETELL_API_KEY="key_that_is_wrong")
    assert done.code == 4
    assert "Retell refuses the API key (401)" in done.err
    assert "key_that_is_wrong" not in done.err


def test_no_key(rollout: CommandLine) -> None:
    done = rollout("start", "plan.yaml", RETELL_API_KEY="")
    assert done.code == 4
    assert "set RETELL_API_KEY or ROLLOUT_RETELL_API_KEY" in done.err


def test_retell_down(rollout: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = rollout("start", "plan.yaml", ROLLOUT_RETELL_BASE_URL=url)
    assert done.code == 4
    assert "Retell cannot be reached" in done.err


def test_the_service_down(rollout: CommandLine) -> None:
    done = rollout("list", ROLLOUT_URL="http://127.0.0.1:9", ROLLOUT_TOKEN="t")
    assert done.code == 4
    assert "Traceback" not in done.err


def test_an_old_schema(rollout: CommandLine) -> None:
    database = Database(f"sqlite:///{rollout.folder / 'old.db'}", FakeClock())
    migrate.upgrade(database, "0001")
    database.close()
    for command in (("list",), ("start", "plan.yaml"), ("db", "check"), ("serve", "--no-http")):
        done = rollout(*command, ROLLOUT_DATABASE_URL="sqlite:///old.db")
        assert done.code == 3, command
        assert "has the schema 0001" in done.err
        assert "run: rollout db upgrade" in done.err


@pytest.mark.postgres
def test_an_empty_database(rollout: CommandLine, postgres_server: Server) -> None:
    url = postgres_server.make()
    done = rollout("list", ROLLOUT_DATABASE_URL=url)
    place = parse_address(url).place
    assert (done.code, done.err) == (3, f"rollout: the database {place} is empty; run: rollout db upgrade\n")
    postgres_server.drop(url)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ROLLOUT_TICK_SECOND", "1", "did you mean ROLLOUT_TICK_SECONDS?"),
        ("ROLLOUT_RETEL_BASE_URL", "https://x", "did you mean ROLLOUT_RETELL_BASE_URL?"),
        ("ROLLOUT_TICK_SECONDS", "fast", "ROLLOUT_TICK_SECONDS"),
        ("ROLLOUT_LEASE", "0.1", "ROLLOUT_REQUEST_DEADLINE < ROLLOUT_LEASE must hold"),
        ("ROLLOUT_REQUEST_DEADLINE", "1.9", None),
        ("ROLLOUT_RETELL_BASE_URL", "http://example.test", "write an https address, or http on 127.0.0.1"),
        ("ROLLOUT_DATABASE_URL", "mysql://a/b", "mysql is not supported"),
        ("ROLLOUT_CONFIG", "none.toml", "there is no file none.toml"),
    ],
    ids=["mistyped", "mistyped-address", "not-a-number", "lease", "within-bounds", "plain-http", "mysql", "no-file"],
)
def test_a_wrong_setting(equipped: CommandLine, name: str, value: str, words: str | None) -> None:
    variables: dict[str, Any] = {name: value}
    done = equipped("list", **variables)
    if words is None:
        assert done.code == 0
        return
    assert done.code == 2, done.err
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["show", "watch", "history", "promote", "rollback", "kit", "verify"])
def test_an_unknown_id(equipped: CommandLine, command: str) -> None:
    done = equipped(command, "nothing")
    assert done.code == 2
    assert done.err == "rollout: there is no rollout nothing; `rollout list` shows them\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("rollback",), "write one of: a rollout's id, --number +1..., or --all"),
        (("rollback", "x", "--all"), "write one of"),
        (("rollback", "--number", "+14155550199"), "no rollout has written +14155550199"),
        (("pause",), "pause: name a rollout, or write --all"),
        (("promote", "x", "--expect", "first"), "first is not a position; write WAVE.STEP, for example 1.2"),
        (("promote", "x", "--expect", "0.1"), "write WAVE.STEP"),
        (("start", "plan.yaml", "--at", "tomorrow"), "--at: tomorrow is not a time"),
        (("start", "plan.yaml", "--request-id", ""), "request_id: write 1 to 120 printable characters"),
        (("sandbox", "--speed", "0"), "--speed: write a number above 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument(equipped: CommandLine, args: tuple[str, ...], words: str) -> None:
    done = equipped(*args)
    assert done.code == 2
    assert words in done.err


@pytest.mark.parametrize("args", [("unknown",), ("start",), ("list", "--unknown"), ("promote", "x", "--full=maybe")])
def test_a_wrong_command_line(rollout: CommandLine, args: tuple[str, ...]) -> None:
    done = rollout(*args)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_control_character_reaches_no_terminal(equipped: CommandLine) -> None:
    """Names come from plans and from Retell: what a terminal would obey is never printed."""
    done = equipped("show", "a\x1b[31mb")
    assert done.code == 2
    assert "\x1b" not in done.err


FORGED = "fine\n  why     every number shows its baseline"


@pytest.mark.parametrize("command", [("start", "plan.yaml"), ("pause", "x"), ("promote", "x"), ("rollback", "x")])
def test_a_reason_that_forges_lines_is_refused(rollout: CommandLine, command: tuple[str, ...]) -> None:
    assert rollout("db", "upgrade").code == 0
    for reason in (FORGED, "a\x1b[1Ab", "a\u202eb"):
        done = rollout(*command, "--reason", reason)
        assert done.code == 2 and "reason: write one line" in done.err
    assert rollout("list", "--json").out.strip() == "[]"


@pytest.mark.parametrize("command", [("check",), ("check", "--offline"), ("start",)])
def test_a_notice_address_that_a_plan_may_not_use_is_refused(rollout: CommandLine, command: tuple[str, ...]) -> None:
    rollout.write("told.yaml", PLAN + "notify: [{url: 'jsons://example.com/?:a=1;template=/etc/hostname'}]\n")
    done = rollout(command[0], "told.yaml", *command[1:])
    assert done.code == 3 and "notify[0].url: a plan may not give template=" in done.out + done.err
    assert rollout("list", "--json").out.strip() == "[]" or command[0] == "check"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--expires", "90", "rollout: --expires: 90 has no unit; write "),
        ("--expires", "soon", "rollout: --expires: soon is not a duration; write "),
        ("--role", "king", "rollout: role: there is no role 'king'"),
        ("--numbers", "1415", "rollout: numbers: '1415' is not a phone number"),
    ],
)
def test_a_token_that_cannot_be_made_names_the_option(
    rollout: CommandLine, option: str, value: str, words: str
) -> None:
    assert rollout("db", "upgrade").code == 0
    given = {"--role": "viewer", "--name": "me", option: value}
    done = rollout("token", "create", *(part for pair in given.items() for part in pair))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(words)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("list", "--phase", "gone"), "Invalid value for '--phase': 'gone' is not one of 'pending', "),
        (("list", "--limit", "0"), "Invalid value for '--limit': should be greater than or equal to 1"),
        (("history", "x", "--after", "x"), "Invalid value for '--after': should be a valid integer"),
    ],
)
def test_an_option_with_a_wrong_value_is_told_in_plain_words(
    rollout: CommandLine, args: tuple[str, ...], words: str
) -> None:
    done = rollout(*args, "--json")
    assert done.code == 2 and words in done.err
    assert done.json["error"]["message"].startswith(words)
