"""db backup: a copy of the database while the service keeps working."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, require_one
from rollout.interfaces.cli.screen import echo


def register(db: typer.Typer) -> None:
    """Add the command of this file to `db`."""
    db.command()(backup)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")],
    json: Json = False,
) -> None:
    """Copy a SQLite database whole, with the service running or not. For PostgreSQL use pg_dump."""
    from rollout.adapters.store.backup import backup as copy
    from rollout.settings import load_settings

    settings = load_settings()
    require_one(settings)
    size = copy(settings.database_url, file)
    if json:
        print_json({"file": str(file), "bytes": size})
    else:
        echo(f"{file}: {size} bytes")
