"""history --export and verify --file: a rollout's journal as a file that can be checked without the database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollout.adapters.store import archive
from rollout.adapters.store.anchors import all_anchors, anchors_of, shared_anchors
from rollout.domain.anchors import find
from rollout.domain.errors import InputError, NotWritable, RolloutError
from rollout.domain.lifecycle.changes import utc_text
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import direct_app, plan_text
from rollout.interfaces.cli.screen import echo, plain

if TYPE_CHECKING:
    from rollout.adapters.store.repository import Store
    from rollout.domain.anchors import Anchor


def export(id_: str, destination: str) -> None:
    """Write the journal of one rollout as JSON Lines to a file, or to standard output for `-`."""
    with direct_app() as app:
        entries = app.store.history(app.store.resolve(id_))
        anchors = [*anchors_of(entries), *shared_anchors(app.database)]
    if destination == "-":
        for line in archive.lines(entries, anchors):
            echo(line)
        return
    count = archive.save(entries, Path(destination), anchors)
    echo(f"{count} entries in {destination}; the last hash is {entries[-1].hash}", err=True)


def read_anchors(file: str) -> Sequence[Anchor]:
    """The anchors in a file of any kind; InputError when there is none."""
    text, name = plan_text(file)
    found = find(text)
    if not found:
        raise InputError(
            f"{name}: it has no anchor; name a file written by `rollout verify --write-anchor FILE`, a log of the "
            "service, or an export"
        )
    return found


def write_anchors(store: Store, destination: str) -> None:
    """Write the heads of all chains and tokens, one a line, to a file, or to standard output for `-`."""
    lines = [f"# heads of all journals and tokens at {utc_text(store.now())}"]
    lines += [str(anchor) for anchor in all_anchors(store.database)]
    if destination == "-":
        for line in lines:
            echo(line)
        return
    path = Path(destination)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise NotWritable.at(destination, error) from None


def verify_file(file: str, head: str | None, as_json: bool) -> None:
    """Check an export alone. Exit 1 if anything in it was altered, or if it does not end at `head`."""
    chains = archive.check_file(file)
    faults = [fault for chain in chains for fault in chain.faults]
    if head is not None and head not in {chain.hash for chain in chains}:
        faults.append(f"no chain in {file} ends with the hash {head}: entries at the end were removed or added")
    if as_json:
        shown = [
            {"rollout_id": c.rollout_id, "entries": c.entries, "last_kind": c.kind, "hash": c.hash} for c in chains
        ]
        print_json({"ok": not faults, "entries": sum(c.entries for c in chains), "faults": faults, "chains": shown})
    elif not faults:
        for chain in chains:
            echo(
                f"{plain(chain.rollout_id)}: {chain.entries} entries, none altered; the last is "
                f"{plain(chain.kind)} with the hash {plain(chain.hash)}"
            )
    if faults:
        raise altered(faults)


def altered(faults: Sequence[str]) -> RolloutError:
    """The failure of `verify`: the first ten faults, and how many more there are; --json has them all."""
    more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
    return RolloutError("the journal was altered: " + "; ".join(faults[:10]) + more)
