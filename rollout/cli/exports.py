"""history --export and verify --file: a rollout's journal as a file that can be checked without the database."""

from __future__ import annotations

import os
from pathlib import Path

from rollout.cli.common import direct_app, print_json
from rollout.cli.screen import echo, plain
from rollout.domain.errors import InputError, RolloutError


def export(id_: str, destination: str) -> None:
    """Writes the journal of one rollout as JSON Lines to a file, or to standard output for `-`."""
    from rollout.store import archive

    if os.environ.get("ROLLOUT_URL"):
        raise InputError(
            "--export reads the database, because the service shows entries without what their hashes cover; "
            "run it where ROLLOUT_DATABASE_URL is set, and without ROLLOUT_URL"
        )
    with direct_app() as app:
        entries = app.store.history(app.commands.resolve(id_))
    if destination == "-":
        for line in archive.lines(entries):
            echo(line)
        return
    count = archive.save(entries, Path(destination))
    echo(f"{count} entries in {destination}; the last hash is {entries[-1].hash}", err=True)


def verify_file(file: str, head: str | None, as_json: bool) -> None:
    """Checks an export alone. Exit 1 if anything in it was altered, or if it does not end at `head`."""
    from rollout.store import archive

    chains = archive.check_file(file)
    faults = [fault for chain in chains for fault in chain.faults]
    if head is not None and head not in {chain.hash for chain in chains}:
        faults.append(
            f"no chain in {file} ends with the hash {head}: entries at the end were removed or added"
        )
    if as_json:
        shown = [
            {"rollout_id": c.rollout_id, "entries": c.entries, "last_kind": c.kind, "hash": c.hash}
            for c in chains
        ]
        print_json(
            {"ok": not faults, "entries": sum(c.entries for c in chains), "faults": faults, "chains": shown}
        )
    elif not faults:
        for chain in chains:
            echo(
                f"{plain(chain.rollout_id)}: {chain.entries} entries, none altered; the last is "
                f"{plain(chain.kind)} with the hash {plain(chain.hash)}"
            )
    if faults:
        raise RolloutError("the journal was altered: " + "; ".join(faults[:10]))
