"""Trouble with the SQLite file: full, read-only, locked, damaged, and a second service beside the first."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sandbox import Sandbox
from tests.processes.judge import judge, patches_of
from tests.processes.nursery import Nursery
from tests.processes.stage import Stage, new_stage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes, where we may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.getuid() == 0 and _call("mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place))
    if not mounted:
        pytest.skip("a small file system can only be mounted by root, with the right to mount")
    try:
        yield place
    finally:
        _call("umount", "-l", str(place))


def _call(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_stage(nursery: Nursery, retell: Sandbox, small_disk: Path, sqlite_template: Path) -> Iterator[Stage]:
    """A stage whose database is alone on the small disk."""
    path = small_disk / "rollout.db"
    shutil.copy(sqlite_template, path)
    with new_stage(nursery, f"sqlite:///{path}", retell) as stage:
        yield stage


def _number(stage: Stage, id_: str) -> str:
    return stage.load(id_).targets[0].number


def test_a_full_disk_stops_every_write_and_is_got_over_without_a_restart(small_stage: Stage, small_disk: Path) -> None:
    stage = small_stage
    id_ = stage.start(1, hold="1s")
    number = _number(stage, id_)
    service = stage.serve()
    stage.until_confirmed(id_, 1)
    other = _fill(small_disk)
    service.until_said("disk is full")
    sent = len(patches_of(stage, number))
    done = stage.cli("doctor")
    assert done.code == 4
    assert "disk is full" in done.err
    paused = stage.cli("pause", id_)
    assert (paused.code, paused.err.count("\n")) == (4, 1), paused.err
    assert "disk is full" in paused.err
    assert len(patches_of(stage, number)) == sent, "without an intent nothing is sent"
    other.unlink()
    stage.until_phase(id_, "promoted")
    assert service.stop() == 0
    assert judge(stage, [id_], hold=1.0) == []


def test_a_rollback_on_a_full_disk_is_written_in_the_room_kept_for_it(small_stage: Stage, small_disk: Path) -> None:
    stage, room = small_stage, {"ROLLOUT_BALLAST_MB": "1"}
    undone, waiting = stage.start(1, hold="20s"), stage.start(1, hold="2s")
    service = stage.serve(**room)
    for id_ in (undone, waiting):
        stage.until_confirmed(id_, 1)
    kept = small_disk / "rollout.db.ballast"
    assert kept.stat().st_size == 1_000_000
    other = _fill(small_disk)
    service.until_said("disk is full")
    assert stage.cli("pause", waiting, **room).code == 4
    done = stage.cli("rollback", undone, **room)
    assert done.code == 0, done.err
    stage.until_phase(undone, "rolled_back")
    assert kept.stat().st_size == 0
    told = stage.cli("doctor", **room)
    assert told.code == 4
    assert "kept for rollbacks" in told.err
    stage.until(lambda: "kept for rollbacks" in service.said())
    assert stage.load(waiting).targets[0].step == 1, "the room that was given back is not for forward steps"
    assert len(patches_of(stage, _number(stage, waiting))) == 1
    other.unlink()
    stage.until_phase(waiting, "promoted")
    stage.until(lambda: kept.stat().st_size == 1_000_000)
    assert stage.cli("doctor", **room).code == 0
    assert service.stop() == 0
    assert judge(stage, [undone, waiting], hold=2.0) == []


def _fill(disk: Path) -> Path:
    """Takes every byte that is left on a disk; returns the file that has them."""
    path = disk / "something else"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return path


def test_a_file_that_may_not_grow(sqlite_stage: Stage) -> None:
    """The operating system refuses every byte behind a limit, in the middle of transactions too."""
    stage = sqlite_stage
    id_ = stage.start(1, hold="0.3s")
    stage.app.database.close()  # the log is folded into the file, so that the limit counts from here
    limit = max(
        p.stat().st_size for p in Path(stage.database_url.removeprefix("sqlite:///")).parent.glob("rollout.db*")
    )
    service = stage.serve(FILE_LIMIT=str(min(limit, 60_000)))
    service.until_said("the database cannot be used")
    assert service.stop() == 0
    assert judge(stage, [id_], at_rest=False) == []
    following = stage.serve()
    stage.until_phase(id_, "promoted")
    assert following.stop() == 0
    assert judge(stage, [id_], hold=0.3) == []


def test_a_read_only_file_is_refused_with_a_sentence(small_stage: Stage, small_disk: Path) -> None:
    stage = small_stage
    id_ = stage.start(1)
    stage.app.database.close()
    if not _call("mount", "-o", "remount,ro", str(small_disk)):
        pytest.skip("the small file system cannot be made read-only here")
    service = stage.serve()
    assert service.wait(20) == 4
    assert "Read-only file system" in service.said()
    for command in (["doctor"], ["pause", id_], ["rollback", id_]):
        done = stage.cli(*command)
        assert done.code == 4, done
        assert "the database cannot be" in done.err, done.err
        assert "Traceback" not in done.err
    assert patches_of(stage, stage.sandbox.numbers()[0].phone_number) == []


def test_a_locked_file_is_waited_for_and_then_named(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    id_ = stage.start(1, hold="1s")
    other = sqlite3.connect(stage.database_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        refused = [stage.serve(), stage.cli_beside("pause", id_)]
        for process in refused:
            assert process.wait(20) == 4, process.said()
            assert "database is locked" in process.said()
        other.execute("COMMIT")
        service = stage.serve()
        stage.until_confirmed(id_, 1)
        other.execute("BEGIN IMMEDIATE")
        service.until_said("tick failed")
        other.execute("COMMIT")
        other.execute("BEGIN IMMEDIATE")
        waiting = stage.cli_beside("pause", id_)
        assert waiting.wait(2) is None, "it waits for the lock"
        other.execute("COMMIT")
        assert waiting.wait(10) == 0, waiting.said()
    finally:
        other.close()
    assert stage.cli("resume", id_).code == 0
    stage.until_phase(id_, "promoted")
    assert service.stop() == 0
    assert judge(stage, [id_], hold=1.0) == []


@pytest.mark.parametrize(("start", "words"), [(0, "not a database"), (4096, "malformed")])
def test_a_damaged_file_is_named(sqlite_stage: Stage, start: int, words: str) -> None:
    stage = sqlite_stage
    stage.start(1)
    stage.app.database.close()
    path = Path(stage.database_url.removeprefix("sqlite:///"))
    for extra in path.parent.glob("rollout.db-*"):
        extra.unlink()
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (path.stat().st_size - start))
    service = stage.serve()
    assert service.wait(20) == 4, service.said()
    assert words in service.said()
    assert "Traceback" not in service.said()
    for command in (["doctor"], ["list"], ["rollback", "--all"]):
        done = stage.cli(*command)
        assert done.code == 4, done
        assert words in done.err
        assert "restore a backup" in done.err


def test_a_second_service_is_refused_and_commands_work_beside_the_first(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    id_ = stage.start(1, hold="20s")
    first = stage.serve()
    stage.until_confirmed(id_, 1)
    second = stage.serve()
    assert second.wait(20) == 3
    assert "another `rollout serve` runs on" in second.said()
    assert "to run several services, use PostgreSQL" in second.said()
    assert stage.cli("show", id_, "--json").json["phase"] == "progressing"
    assert stage.cli("pause", id_, "--reason", "lunch").code == 0
    assert stage.cli("rollback", id_).code == 0
    stage.until_phase(id_, "rolled_back")
    assert first.poll() is None
    first.kill()
    third = stage.serve()
    third.until_said('"serving"')
    assert third.stop() == 0
    assert judge(stage, [id_]) == []
