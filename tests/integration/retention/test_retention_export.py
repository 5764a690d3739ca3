"""Journals as files: what is written, and that every way to alter such a file is found without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.store import archive
from rollout.adapters.store.audit import audit
from rollout.adapters.store.repository import Store
from rollout.domain.errors import InputError, NotWritable
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from rollout.interfaces.cli.exports import altered
from tests.support.hand import Hand
from tests.support.inside import Inside
from tests.support.values import TWO, target

LENGTH = 5


@pytest.fixture
def written(store: Store, hand: Hand) -> Store:
    held = hand.begun()
    hand.create("r2", target(TWO))
    for i in range(2, LENGTH + 1):
        data = {"i": i, "share": 0.1, "text": 'Zürich \u2028 "x"', "none": None, "deep": [{"b": 1, "a": 1e-7}]}
        store.commit(held, Change(), [JournalEntry(f"kind{i}", "service", f"reason {i}", data)])
    return store


@pytest.fixture
def exported(written: Store, tmp_path: Path) -> Path:
    path = tmp_path / "r1.jsonl"
    assert archive.save(written.history("r1"), path) == LENGTH
    return path


def test_an_export_is_one_line_per_entry_and_whole(written: Store, exported: Path) -> None:
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    assert rows == [entry.to_json() for entry in written.history("r1")]
    (chain,) = archive.check_file(str(exported))
    assert (chain.rollout_id, chain.entries, chain.kind, chain.faults) == ("r1", LENGTH, "kind5", ())
    assert chain.hash == written.history("r1")[-1].hash


def test_nobody_else_may_read_it_and_nothing_is_left_behind(exported: Path) -> None:
    assert exported.stat().st_mode & 0o077 == 0
    assert [p.name for p in exported.parent.iterdir()] == ["r1.jsonl"]


def test_several_exports_in_one_file_are_checked_each(written: Store, tmp_path: Path) -> None:
    both = tmp_path / "all.jsonl"
    both.write_text("\n".join([*archive.lines(written.history("r1")), *archive.lines(written.history("r2"))]))
    assert [(c.rollout_id, c.entries, c.faults) for c in archive.check_file(str(both))] == [
        ("r1", LENGTH, ()),
        ("r2", 1, ()),
    ]


def changed(name: str, value: Any) -> Callable[[list[str]], list[str]]:
    def change(rows: list[str]) -> list[str]:
        document = json.loads(rows[2])
        assert document[name] != value
        return [*rows[:2], json.dumps({**document, name: value}), *rows[3:]]

    return change


ALTERATIONS: dict[str, Callable[[list[str]], list[str]]] = {
    "actor": changed("actor", "cli:other"),
    "kind": changed("kind", "promote"),
    "reason": changed("reason", "other"),
    "data": changed("data", {"i": 3}),
    "at": changed("at", "2026-11-02T17:00:00.000001+00:00"),
    "at in another zone": changed("at", "2026-11-02T18:00:00+01:00"),
    "seq": changed("seq", 4),
    "hash": changed("hash", "f" * 64),
    "rollout": changed("rollout_id", "r9"),
    "first removed": lambda rows: rows[1:],
    "middle removed": lambda rows: [*rows[:2], *rows[3:]],
    "swapped": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
    "doubled": lambda rows: [*rows[:3], *rows[2:]],
    "cut off": lambda rows: [*rows[:-1], rows[-1][:-20]],
    "a key more": lambda rows: [*rows[:-1], rows[-1][:-1] + ', "note": "x"}'],
    "a key twice": lambda rows: [*rows[:-1], rows[-1][:-1] + ', "reason": "reason 5"}'],
}


@pytest.mark.parametrize("how", ALTERATIONS)
def test_every_alteration_is_found(exported: Path, how: str) -> None:
    rows = exported.read_text().splitlines()
    exported.write_text("\n".join(ALTERATIONS[how](rows)) + "\n")
    assert [fault for chain in archive.check_file(str(exported)) for fault in chain.faults]


def test_a_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    for text in ("", "\n\n", "version: 1\n", "[1, 2]", '{"seq": 1}'):
        (tmp_path / "other").write_text(text)
        with pytest.raises(InputError, match="other"):
            archive.check_file(str(tmp_path / "other"))
    with pytest.raises(InputError, match="No such file"):
        archive.check_file(str(tmp_path / "absent"))


def test_a_folder_that_cannot_be_written_is_said(written: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="cannot be written"):
        archive.save(written.history("r1"), tmp_path / "file" / "r1.jsonl")


def test_tables_that_are_not_what_the_journal_says_are_found(written: Store, hand: Hand) -> None:
    assert audit(written.database) == ([], LENGTH + 1)
    hand.run("UPDATE rollouts SET step = 3 WHERE id = 'r1'")
    faults, _ = audit(written.database)
    assert faults == ["r1: rollout: step is 3 in the table and 1 by the journal"]
    assert audit(written.database, only="r2") == ([], 1)


def test_by_the_inside(inside: Inside, written: Store, sqlite_url: str) -> None:
    head = written.history("r1")[-1].hash
    environment = {"ROLLOUT_DATABASE_URL": sqlite_url}
    done = inside("history", "r1", "--export", "out/r1.jsonl", **environment)
    assert (done.code, done.out) == (0, "")
    assert f"{LENGTH} entries in out/r1.jsonl" in done.err
    printed = inside("history", "frontdesk-v7", "--export", "-", **environment).out
    *rows, last = map(json.loads, printed.splitlines())
    assert last.keys() == {"anchors"}
    assert [row["seq"] for row in rows] in ([1], list(range(1, LENGTH + 1)))

    alone = {"ROLLOUT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    whole = inside("verify", "--file", "out/r1.jsonl", "--head", head, "--json", **alone)
    assert (whole.code, whole.json["ok"], whole.json["entries"]) == (0, True, LENGTH)
    assert whole.json["chains"][0]["hash"] == head
    path = inside.folder / "out" / "r1.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    # a chain that is cut at its end, and whose anchors are gone, is whole by itself: only its head tells
    assert inside("verify", "--file", "out/r1.jsonl", **alone).code == 0
    short = inside("verify", "--file", "out/r1.jsonl", "--head", head, **alone)
    assert (short.code, short.out) == (1, "")
    assert "entries at the end were removed or added" in short.err
    assert inside("verify", "--head", head, **alone).code == 2
    assert inside("history", "r1", "--export", "-", "--after", "2", **environment).code == 2


def test_an_export_that_was_cut_is_found_by_its_own_anchor(inside: Inside, written: Store, sqlite_url: str) -> None:
    environment = {"ROLLOUT_DATABASE_URL": sqlite_url}
    assert inside("history", "r1", "--export", "r1.jsonl", **environment).code == 0
    path = inside.folder / "r1.jsonl"
    lines = path.read_text().splitlines()
    assert inside("verify", "--anchor", "r1.jsonl", **environment).code == 0
    path.write_text("\n".join([*lines[:-2], lines[-1]]) + "\n")
    done = inside("verify", "--file", "r1.jsonl")
    assert done.code == 1
    assert f"r1 entry {LENGTH}: it is in the anchor but not in the journal" in done.err


def test_anchors_are_written_and_held_against(inside: Inside, written: Store, hand: Hand, sqlite_url: str) -> None:
    environment = {"ROLLOUT_DATABASE_URL": sqlite_url}
    assert inside("verify", "--write-anchor", "kept", **environment).code == 0
    kept = (inside.folder / "kept").read_text()
    assert f"anchor:r1:{LENGTH}:" in kept and "anchor:r2:1:" in kept
    assert inside("verify", "--write-anchor", "-", **environment).out.splitlines()[1:] == kept.splitlines()[1:]
    held = inside("verify", "--anchor", "kept", **environment)
    assert (held.code, held.out) == (0, f"{LENGTH + 1} entries, none altered; all 2 anchors match\n")
    (inside.folder / "none").write_text("nothing here")
    assert inside("verify", "--anchor", "none", **environment).code == 2
    hand.allow_tampering()
    for table in ("journal", "targets", "rollouts"):
        hand.run(f"DELETE FROM {table} WHERE {'id' if table == 'rollouts' else 'rollout_id'} = 'r2'")
    done = inside("verify", "--anchor", "kept", "--write-anchor", "after", **environment)
    assert done.code == 1
    assert "r2 entry 1: it is in the anchor but not in the journal" in done.err
    assert not (inside.folder / "after").exists(), "an altered history is not anchored"


def test_verify_says_how_many_faults_it_leaves_out() -> None:
    assert altered([f"fault {n}" for n in range(10)]).message.endswith("; fault 9")
    assert altered([f"fault {n}" for n in range(12)]).message.endswith("; fault 9; and 2 more")
