"""token create, list, revoke: who may use the HTTP API and the page."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from rollout.domain.errors import InputError
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, actor, direct_app
from rollout.interfaces.cli.screen import console, echo, local, plain, table

token = typer.Typer(help="Tokens for the HTTP API and the page.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(token, name="token")


@token.command("create")
def create(
    role: Annotated[str, typer.Option("--role", help="viewer, responder, operator, admin or trigger.")],
    name: Annotated[str, typer.Option("--name", help="Its owner; shown in the journal.")],
    expires: Annotated[str | None, typer.Option("--expires", help="For example 90d; left out: never.")] = None,
    numbers: Annotated[
        list[str] | None, typer.Option("--numbers", help="Only rollouts of these numbers; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Create a token. It is shown once; only its hash is kept."""
    from rollout.interfaces.auth.roles import create_token

    wanted = None if not numbers else [part.strip() for text in numbers for part in text.split(",") if part.strip()]
    with direct_app() as app:
        until = None if expires is None else app.store.now() + _lifetime(expires)
        id_, secret = create_token(app.store, role, name, until, wanted, actor())
    if json:
        print_json({"id": id_, "token": secret, "role": role, "name": name})
        return
    echo(secret)
    echo(f"token {id_} ({role}) for {plain(name)}; it is not shown again", err=True)


@token.command("list")
def list_(json: Json = False) -> None:
    """List the tokens, without their secrets."""
    from rollout.interfaces.auth.roles import list_tokens
    from rollout.interfaces.views import token as views

    with direct_app() as app:
        rows, now = list_tokens(app.store), app.store.now()
    found = [views.token(r) for r in rows]
    if json:
        print_json(found)
        return
    if not found:
        echo("no tokens: the service listens only on loopback and is read-only; create one with `rollout token create`")
        return
    shown = table("id", "name", "role", "numbers", "expires", "last used", "state", keys=("id", "state"))
    for row, r in zip(rows, found, strict=True):
        state = "revoked" if row.revoked_at else "usable" if row.is_usable(now) else "expired"
        limited = "all" if r["numbers"] is None else ", ".join(r["numbers"])
        shown.add_row(
            str(r["id"]),
            plain(r["name"]),
            str(r["role"]),
            limited,
            local(r["expires_at"]),
            local(r["last_used_at"]),
            state,
        )
    console().print(shown)


def _lifetime(text: str) -> timedelta:
    from rollout.domain.calendar.durations import parse

    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"--expires: {error}") from None


@token.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it.")],
    json: Json = False,
) -> None:
    """Revoke a token and end its sessions, at once and on every replica."""
    from rollout.interfaces.auth.roles import revoke_token

    if id.startswith("rlt_"):
        raise InputError("write the token's id, not the token; `rollout token list` shows the ids")
    with direct_app() as app:
        changed = revoke_token(app.store, id, actor())
    if json:
        print_json({"id": id, "revoked": changed})
    else:
        echo(f"token {id} is revoked" + ("" if changed else " already"))
