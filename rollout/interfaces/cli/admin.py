"""db, doctor, verify: keeping the service itself in order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from rollout.domain.errors import InputError, NotReachable, Refused, RolloutError, SchemaRefused, SettingsError
from rollout.interfaces.cli import backup
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, direct_app, quiet_logs, remote, require_one
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import console, echo, plain, table

db = typer.Typer(help="The database's schema.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    backup.register(db)
    app.add_typer(db, name="db")
    app.command()(doctor)
    app.command()(verify)


@db.command("upgrade")
def upgrade(json: Json = False) -> None:
    """Create or upgrade the schema."""
    with _database(makes=True) as database:
        from rollout.adapters.store import migrate

        before, after = migrate.upgrade(database)
    if json:
        print_json({"before": before, "after": after})
    else:
        echo(f"the schema is {after}" + (" already" if before == after else f", was {before or 'empty'}"))


@db.command("check")
def check(json: Json = False) -> None:
    """Check that the schema is the one this program needs. Exit 3 if not."""
    with _database() as database:
        from rollout.adapters.store import migrate

        found, wanted = migrate.current(database), migrate.head()
        if json:
            print_json({"found": found, "wanted": wanted, "ok": found == wanted})
        migrate.require_current(database)
    if not json:
        echo(f"the schema is {found}, as this program needs it")


def _database(*, makes: bool = False) -> Any:
    from rollout.adapters.clock import SystemClock
    from rollout.adapters.store.engine import Database
    from rollout.settings import load_settings

    settings = load_settings()
    if not makes:
        require_one(settings)
    return closing(Database(settings.database_url, SystemClock()))


def doctor(json: Json = False) -> None:
    """Test settings, database, Retell and the service; exit 2, 3 or 4 when something does not work."""
    report = _examined()
    if json:
        print_json(report)
    else:
        shown = table("what", "state", "detail", keys=("what", "state"))
        for item in report["checks"]:
            state = ("WARNING" if item["warning"] else "ok") if item["ok"] else "TROUBLE"
            shown.add_row(item["name"], state, plain(item["detail"]))
        trouble = sum(not item["ok"] for item in report["checks"])
        console().print(f"{trouble} of {len(report['checks'])} checks failed" if trouble else "everything works")
        console().print(shown)
    worst = next((c for c in report["checks"] if not c["ok"]), None)
    if worst is not None:
        raise _failure(worst)


def _failure(check: Mapping[str, Any]) -> RolloutError:
    """The error of a check that failed; no hint but that of an old schema, because theirs lead back to `doctor`."""
    message = f"{check['name']}: {check['detail']}"
    if check["name"] == "schema" and check["exit_code"] == SchemaRefused.exit_code:
        return SchemaRefused(message)
    kinds = (SettingsError, Refused, NotReachable)
    error = next((k for k in kinds if k.exit_code == check["exit_code"]), RolloutError)(message)
    error.hint = ""
    return error


def _examined() -> dict[str, Any]:
    from rollout.interfaces.cli import doctor as doctors

    if (service := remote()) is not None:
        with closing(service):
            return doctors.examine_service(service)
    from rollout.settings import load_settings

    settings = load_settings()
    quiet_logs(settings)
    return doctors.run_checks(settings)


def verify(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Check only the journal of this rollout.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Check an export; needs no database.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="HASH", help="With --file: the hash it must end with.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor", metavar="FILE", help="Compare it with heads kept elsewhere: a file, log, mail or export."
        ),
    ] = None,
    write_anchor: Annotated[
        str | None,
        typer.Option("--write-anchor", metavar="FILE", help="Write the heads if nothing was altered; - prints them."),
    ] = None,
    json: Json = False,
) -> None:
    """Check the journal's chains, triggers and tokens, and the tables against it. Exit 1 if anything was altered."""
    if file is not None or head is not None:
        if file is None or id is not None or anchor is not None or write_anchor is not None:
            raise InputError("verify: use --file FILE on its own (or with --head HASH), or leave it out")
        from rollout.interfaces.cli.exports import verify_file

        verify_file(file, head, json)
        return
    from rollout.adapters.store.audit import audit
    from rollout.interfaces.cli import exports

    kept = () if anchor is None else exports.read_anchors(anchor)
    with direct_app() as app:
        with waiting("checking the journal") as say:
            faults, counted = audit(app.store.database, None if id is None else app.store.resolve(id), kept, say)
        if write_anchor is not None and not faults:
            exports.write_anchors(app.store, write_anchor)
    if json and write_anchor != "-":
        print_json({"ok": not faults, "entries": counted, "anchors": len(kept), "faults": faults})
    elif not faults and write_anchor != "-":
        held = f"; all {len(kept)} anchors match" if kept else ""
        echo(f"{counted} entries, none altered{held}")
    if faults:
        raise exports.altered(faults)
