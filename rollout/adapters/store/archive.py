"""Journals as files: JSON Lines that carry the hash chain, and the check of such a file alone."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollout.adapters.store.journal import RecordedEntry, canonical, check
from rollout.domain import strict_json
from rollout.domain.anchors import Anchor, ends_before, find
from rollout.domain.errors import InputError, NotWritable
from rollout.domain.lifecycle.changes import utc_text

_TEXTS = ("rollout_id", "at", "actor", "kind", "reason", "prev_hash", "hash")
_ANCHORS = "anchors"
_KEYS = frozenset({*_TEXTS, "seq", "data"})


@dataclass(frozen=True, slots=True)
class Chain:
    """One rollout's entries in a file: how many, where they end, and what is wrong with them."""

    rollout_id: str
    entries: int
    kind: str
    hash: str
    faults: tuple[str, ...]


def lines(entries: Iterable[RecordedEntry], anchors: Sequence[Anchor] = ()) -> Iterator[str]:
    """One line of JSON for each entry, without its end, and one for the anchors.

    ASCII, as some readers break lines at U+2028.
    """
    for entry in entries:
        yield json.dumps(entry.to_json(), allow_nan=False)
    if anchors:
        yield json.dumps({_ANCHORS: [str(anchor) for anchor in anchors]})


def save(entries: Sequence[RecordedEntry], path: Path, anchors: Sequence[Anchor] = ()) -> int:
    """Write the lines to a file, completely or not at all, readable by its owner; return how many entries.

    NotWritable when the folder or the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                for line in lines(entries, anchors):
                    file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise NotWritable.at(path, error) from None
    return len(entries)


def check_file(path: str) -> list[Chain]:
    """Check every chain in an export, with no database; InputError when it is no export at all."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not UTF-8 text") from None
    return check_text(text, path)


def check_text(text: str, name: str) -> list[Chain]:
    """As `check_file`, for text. A line that cannot be read is a fault of the chain before it."""
    entries: dict[str, list[RecordedEntry]] = {}
    faults: dict[str, list[str]] = {}
    anchors: list[Anchor] = []
    latest = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if entries and (found := _anchors(line)):
            anchors += found
            continue
        try:
            entry = _entry(line)
        except ValueError as error:
            if not entries:
                raise InputError(
                    f"{name}: line {number}: {error}; write the name of an export made by `rollout history "
                    "ID --export FILE`"
                ) from None
            faults[latest].append(f"{latest}: line {number} was changed or cut off: {error}")
            continue
        latest = entry.rollout_id
        entries.setdefault(latest, []).append(entry)
        faults.setdefault(latest, [])
    if not entries:
        raise InputError(
            f"{name}: there is no entry in this file; name an export made by `rollout history ID --export FILE`"
        )
    hashes = {(e.rollout_id, e.seq): e.hash for found in entries.values() for e in found}
    for id_ in entries:
        faults[id_] += ends_before(anchors, hashes, {id_})
    return [
        Chain(id_, len(found), found[-1].kind, found[-1].hash, (*faults[id_], *check(found)))
        for id_, found in entries.items()
    ]


def _anchors(line: str) -> list[Anchor]:
    """The anchors of a line that holds nothing else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return find(line) if isinstance(document, dict) and document.keys() == {_ANCHORS} else []


def _entry(line: str) -> RecordedEntry:
    """The entry of one line. ValueError with what is wrong: also for what the hash would not cover."""
    try:
        document = strict_json.parse(line)
    except strict_json.JsonFault as error:
        if error.fault is strict_json.Fault.TWICE:
            raise ValueError("a key stands twice in it") from None
        raise ValueError(f"it is not JSON ({error.what or error.fault})") from None
    if not isinstance(document, dict) or document.keys() != _KEYS:
        raise ValueError("it is not an entry of a journal")
    if not all(isinstance(document[name], str) for name in _TEXTS) or type(document["seq"]) is not int:
        raise ValueError("it is not an entry of a journal")
    at = datetime.fromisoformat(document["at"])
    if at.tzinfo is None or utc_text(at) != document["at"]:
        raise ValueError("its time is not as it was written")
    return RecordedEntry(
        document["rollout_id"],
        document["seq"],
        at,
        document["actor"],
        document["kind"],
        document["reason"],
        canonical(document["data"]),
        document["prev_hash"],
        document["hash"],
    )
