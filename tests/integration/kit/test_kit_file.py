"""The kit as a file: what is in it, what is not, how it is written, and what its options do."""

from __future__ import annotations

import ast
import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.errors import InputError, NotWritable, Refused
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.splits import splits
from rollout.kit.build import make_kit, write_kit
from rollout.kit.program.restore import same
from rollout.sandbox import Sandbox
from tests.integration.kit.kit_program import AGENT, BASELINE, FORWARD, KEY, ONE, Kit, make_rollout

Make = Callable[..., Kit]
NOW = datetime(2026, 11, 3, 12, 5, tzinfo=UTC)
RETELL = "https://api.retellai.com"
TIMES: dict[str, Any] = {"lease": 45.0, "horizon": 200.0, "now": NOW}


def text_of(rollout: Rollout, **changes: Any) -> str:
    return make_kit(rollout, **{"base_url": RETELL, **TIMES, **changes})


def test_is_one_program_for_python_3_8_and_the_standard_library() -> None:
    text = text_of(make_rollout([ONE]))
    tree = ast.parse(text, feature_version=(3, 8))
    assert text.isascii()
    assert text.startswith("#!/usr/bin/env python3\n")
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add((node.module or "").partition(".")[0])
    assert modules <= set(sys.stdlib_module_names)
    assert "rollout.kit.program" not in text


def test_embeds_what_a_rollback_needs() -> None:
    namespace: dict[str, Any] = {"__name__": "kit"}
    rollout = make_rollout([ONE, "+14155550101"], ("inbound", "outbound"))
    exec(compile(text_of(rollout), "kit", "exec"), namespace)
    kit = namespace["KIT"]
    assert (kit["id"], kit["position"], kit["lease"], kit["horizon"]) == (rollout.id, "1.1", 45.0, 200.0)
    assert kit["base_url"] == RETELL
    for target in rollout.targets:
        assert kit["numbers"][target.number] == {"baseline": target.baseline, "confirmed": target.split}


def test_the_base_url_is_the_one_that_the_rollout_used() -> None:
    rollout = make_rollout([ONE], base_url="https://eu.retell.example/v")
    assert '"base_url": "https://eu.retell.example/v"' in text_of(rollout)


def test_says_in_its_head_how_long_it_is_valid() -> None:
    text = text_of(make_rollout([ONE]))
    head = text.partition('"""')[0]
    assert 'rollout k7m2p4r6t8 "frontdesk-v7": 1 number, channels: inbound' in head
    assert "Made 2026-11-03T12:05:00+00:00 at position 1.1 (progressing)" in head
    assert "Valid until somebody changes these numbers on purpose" in head
    assert "Cannot know: what others edited since" in head
    assert "watches 245 s" in head


def test_hostile_text_stays_text() -> None:
    name = "a'''\"\"\"\\\nimport os\r\u2028é"
    baseline = {"inbound_agents": [{"agent_id": "x'''\"\\", "agent_version": 1, "weight": 1}]}
    rollout = make_rollout([ONE], name=name)
    rollout = replace(rollout, targets=[replace(rollout.targets[0], baseline=baseline)])
    namespace: dict[str, Any] = {"__name__": "kit"}
    exec(compile(text_of(rollout), "kit", "exec"), namespace)
    assert namespace["KIT"]["name"] == name
    assert namespace["KIT"]["numbers"][ONE]["baseline"] == baseline


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": "http://api.retellai.com"}, "in the clear"),
        ({"base_url": "https://user@api.retellai.com"}, "without user"),
        ({"base_url": "nonsense"}, "write https://HOST"),
        ({"lease": float("nan")}, "lease"),
        ({"horizon": 0.0}, "horizon"),
        ({"now": datetime(2026, 11, 3)}, "zone"),
    ],
)
def test_refuses_what_would_not_work(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        text_of(make_rollout([ONE]), **changes)


def test_refuses_a_rollout_without_a_baseline() -> None:
    with pytest.raises(Refused, match="has not read its numbers yet"):
        text_of(make_rollout([ONE], targets=()))
    rollout = make_rollout([ONE])
    for empty in ({"inbound_agents": []}, {"inbound_agents": None}, {}, {"nickname": [{"agent_id": "a"}]}):
        bad = replace(rollout, targets=[replace(rollout.targets[0], baseline=empty)])
        with pytest.raises(Refused, match="nothing to go back to"):
            text_of(bad)


def test_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "kits" / "a"
    rollout = make_rollout([ONE])
    path = write_kit(rollout, folder, base_url=RETELL, **TIMES)
    assert path == folder / "rollback-k7m2p4r6t8.py"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert path.read_text() == text_of(rollout)
    path.chmod(0o444)
    later = write_kit(replace(rollout, name="later"), folder, base_url=RETELL, **TIMES)
    assert later == path and '"name": "later"' in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="cannot be written"):
        write_kit(make_rollout([ONE]), tmp_path / "file", base_url=RETELL, **TIMES)
    (tmp_path / "rollback-k7m2p4r6t8.py").mkdir()
    with pytest.raises(NotWritable, match="cannot be written"):
        write_kit(make_rollout([ONE]), tmp_path, base_url=RETELL, **TIMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "rollback-k7m2p4r6t8.py"]
    with pytest.raises(InputError, match="id"):
        write_kit(make_rollout([ONE], id="../x"), tmp_path, base_url=RETELL, **TIMES)


def test_dry_run_prints_the_requests_and_sends_nothing(world: Sandbox, kit: Make) -> None:
    numbers = [ONE, "+14155550112"]
    ran = kit(numbers).run("--dry-run", key=None)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[::2] == [f"PATCH {world.url}/update-phone-number/%2B{number[1:]}" for number in numbers]
    assert [json.loads(line) for line in lines[1::2]] == [{"inbound_agents": BASELINE}] * 2
    assert world.log() == []


def test_check_only_reads(world: Sandbox, kit: Make) -> None:
    made = kit([ONE, "+14155550112"])
    ran = made.run("--check")
    assert ran.code == 1
    assert ran.out.count("shows the split that was confirmed when this kit was written") == 4
    world.edit(ONE, inbound_agents=list(reversed(BASELINE)))
    world.edit("+14155550112", inbound_agents=[{"agent_id": AGENT, "agent_version": 5, "weight": 1}])
    ran = made.run("--check")
    assert ran.code == 1
    assert f"{ONE}  shows its baseline" in ran.out
    assert '+14155550112  shows something else: {"inbound_agents": [{"agent_id": "agent_frontdesk"' in ran.out
    assert made.run("--check", "--number", ONE).code == 0
    assert {entry["method"] for entry in world.log()} == {"GET"}


def test_check_of_a_number_that_is_gone(world: Sandbox, kit: Make) -> None:
    made = kit()
    world.delete_number(ONE)
    ran = made.run("--check")
    assert ran.code == 1
    assert "gone: Retell does not know this number" in ran.out


def test_only_the_numbers_asked_for(world: Sandbox, kit: Make) -> None:
    made = kit([ONE, "+14155550112", "+14155550113"])
    ran = made.run("--number", ONE, "--number", "+14155550113")
    assert ran.code == 0, ran
    assert {entry["number"] for entry in world.log()} == {ONE, "+14155550113"}
    assert world.number("+14155550112").inbound_agents == FORWARD


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        (["--number", "+19"], KEY, "--number +19 is not in this kit; it has: +14155550100"),
        (["--dry"], KEY, "unrecognized arguments: --dry"),
        (["--check", "--no-watch"], KEY, "not allowed with"),
        (["--give-up", "0"], KEY, "not a number of seconds above 0"),
        ([], None, "RETELL_API_KEY is not set"),
        ([], "  ", "RETELL_API_KEY is not set"),
        ([], "key\nX-Other: 1", "RETELL_API_KEY is not set, or is not a key"),
    ],
)
def test_wrong_usage(options: list[str], key: str | None, said: str, world: Sandbox, kit: Make) -> None:
    ran = kit().run(*options, key=key)
    assert ran.code == 2
    assert said in ran.err
    assert world.log() == []


def test_the_journal_tells_all_and_the_key_is_nowhere(world: Sandbox, kit: Make) -> None:
    made = kit()
    world.fault("status", method="PATCH", status=500, message=f"oops, your key is {KEY}")
    ran = made.run()
    assert ran.code == 0, ran
    world.edit(ONE, inbound_agents=FORWARD)
    world.fault("status", method="PATCH", status=422, message=f"bad {KEY}")
    ran_again = made.run("--no-watch")
    assert ran_again.code == 1
    assert "***" in ran_again.out
    log = made.log.read_text()
    for text in (made.path.read_text(), log, ran.out, ran.err, ran_again.out, ran_again.err):
        assert KEY not in text
    entries = [json.loads(line) for line in log.splitlines()]
    assert [entry["event"] for entry in entries if entry["event"] != "standing"] == [
        "start",
        "sending",
        "trouble",
        "sending",
        "answered",
        "restored",
        "done",
        "end",
        "start",
        "sending",
        "failed",
        "end",
    ]
    assert json.loads(entries[1]["body"]) == {"inbound_agents": BASELINE}
    assert [entry["exit"] for entry in entries if entry["event"] == "end"] == [0, 1]
    assert all(entry["at"].endswith("Z") for entry in entries)
    assert stat.S_IMODE(made.log.stat().st_mode) == 0o600


def test_goes_on_without_a_journal(world: Sandbox, kit: Make) -> None:
    made = kit()
    made.log.mkdir()
    ran = made.run()
    assert ran.code == 0
    assert "no journal" in ran.out
    assert world.number(ONE).inbound_agents == BASELINE


def test_runs_by_itself_and_from_another_folder(world: Sandbox, kit: Make, tmp_path: Path) -> None:
    made = kit()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / made.path.name).symlink_to(made.path)
    made.path = elsewhere / made.path.name
    assert made.run("--no-watch", env={"PYTHONPATH": os.fspath(elsewhere)}).code == 0
    assert (tmp_path / made.log.name).exists()


VERSIONS = st.none() | st.integers(0, 12) | st.sampled_from(["3", "prod", "007", "", 3.0, 3.5, True, "v3"])
WEIGHTS = st.sampled_from([1, 1.0, 0.1, 0.3333, 0.33335, 0.333350001, 0, "0.1", None, True, 1e9])
ENTRIES = st.fixed_dictionaries({"agent_id": st.sampled_from(["a", "b"]), "agent_version": VERSIONS, "weight": WEIGHTS})
SPLITS = st.none() | st.lists(ENTRIES, max_size=3)


@given(SPLITS, SPLITS)
def test_judges_splits_as_the_service_does(a: Any, b: Any) -> None:
    assert same(a, b) == splits.same(a, b)
    assert same(a, list(reversed(a)) if a else a)
