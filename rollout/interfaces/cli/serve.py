"""serve, sandbox, demo: what runs for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollout.domain.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(serve)
    app.command()(sandbox)
    app.command()(demo)


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 picks a free one.")] = None,
    no_http: Annotated[bool, typer.Option("--no-http", help="Run only the scheduler.")] = False,
    migrate: Annotated[bool, typer.Option("--migrate", help="Upgrade the database's schema first.")] = False,
) -> None:
    """The scheduler, the HTTP API and the page, in one process.

    SIGTERM, SIGINT or SIGHUP ends it after the work under way.
    """
    from rollout.settings import load_settings

    given = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    settings = load_settings(**given)
    from jobs.service import run

    run(settings, http=not no_http, migrate=migrate)


def sandbox(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 picks a free one.")] = 8090,
    key: Annotated[str | None, typer.Option("--key", help="The only key accepted; left out: any key.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the modelled callers.")] = 1,
    speed: Annotated[
        float, typer.Option("--speed", help="How many times faster than real time the callers run.")
    ] = 1.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse weights that do not add up to exactly 1.0 from left to right.")
    ] = False,
    latency: Annotated[
        float,
        typer.Option(
            "--latency", help="Milliseconds to answer a request for a number; lists take longer, agents almost none."
        ),
    ] = 0.0,
) -> None:
    """A server that speaks Retell's API, with modelled callers and faults on demand, to try plans on."""
    if speed <= 0:
        raise InputError("--speed: write a number above 0, for example 60")
    if not 0 <= latency <= 60_000:
        raise InputError("--latency: write milliseconds from 0 to 60000, for example 50")
    from rollout.sandbox import run

    run(host, port, key, seed, speed, strict, latency / 1000)


def demo(keep: Annotated[Path | None, typer.Option("--keep", help="Keep the database in this folder.")] = None) -> None:
    """A good version is promoted and a bad one rolled back, live, on an embedded sandbox, in about a minute."""
    from rollout.interfaces.cli.demo import run

    raise typer.Exit(run(keep))
