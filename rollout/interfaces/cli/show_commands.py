"""The commands list, show, watch, history and open: what is happening, what comes next and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, NotPromoted
from rollout.domain.lifecycle.machine import FINAL, Phase
from rollout.interfaces.backend.following import documents
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Interrupted, Json, RolloutId, backend
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import (
    PHASES,
    console,
    echo,
    local,
    percent,
    plain,
    span,
    split_text,
    staircase,
    table,
)
from rollout.interfaces.views.listing import ORDERS, ListOrder, fits

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rollout.interfaces.backend.local import Backend

LISTED = 100  # rollouts of a list that nobody has asked to be longer
NONE_YET = "no rollouts yet; start one with `rollout start PLAN`"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(watch)
    app.command()(history)
    app.command("open")(open_)


def list_(
    live: Annotated[bool, typer.Option("--live", help="Only unfinished rollouts, all of them.")] = False,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, metavar="N", help="All unfinished rollouts, and the newest N of the others."),
    ] = LISTED,
    every: Annotated[bool, typer.Option("--all", help="All rollouts, however many there are.")] = False,
    phase: Annotated[list[Phase] | None, typer.Option("--phase", help="Only those in this phase; repeatable.")] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID[:VERSION]", help="Only rollouts of this agent.")
    ] = None,
    sort: Annotated[ListOrder, typer.Option("--sort", help="The order of the list.")] = ListOrder.CREATED,
    json: Json = False,
) -> None:
    """Rollouts, newest first: every unfinished one, and of the others the newest 100."""
    narrow = bool(phase) or agent is not None  # then the newest are not those that fit
    live = live or (bool(phase) and not FINAL & set(phase or ()))
    with backend() as service, waiting("reading the rollouts"):
        found = service.list(live=True)
        ended = [] if live else service.list(live=False, limit=None if every or narrow else limit + 1)
    newest = {r["id"]: r for r in (*found, *ended)}  # one that ended between the two reads is in both
    fitting = [r for r in newest.values() if fits(r, phase, agent)]
    rollouts, more = _shortened(fitting, None if every else limit)
    rollouts.sort(key=ORDERS[sort])
    if more:
        echo(f"the newest {limit} and every unfinished one; there are more: rollout list --limit N, or --all", err=True)
    if json:
        print_json(rollouts)
        return
    if not rollouts:
        echo("no rollout matches" if narrow else "no rollout is live" if live else NONE_YET)
        return
    shown = table("id", "name", "phase", "at", "weight", "next", "due", "why", keys=("id", "phase"))
    for r in rollouts:
        at = f"{r['position']['wave']}.{r['position']['step']}"
        shown.add_row(
            r["id"],
            plain(r["name"]),
            _phase(r),
            at,
            percent(r["weight"]),
            plain(r["next"]),
            span(r["due_at"]),
            plain(r["why"]),
        )
    console().print(shown)


def _shortened(found: Sequence[dict[str, Any]], limit: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Every unfinished one and the newest `limit` of the others, newest first; True if that is not all."""
    newest = sorted(found, key=lambda r: (datetime.fromisoformat(r["created_at"]), r["id"]), reverse=True)
    ended = [r["id"] for r in newest if r["phase"] in FINAL]
    left_out = set() if limit is None else set(ended[limit:])
    return [r for r in newest if r["id"] not in left_out], bool(left_out)


def open_(id: RolloutId, json: Json = False) -> None:
    """Print the address of a rollout's page."""
    with backend() as service:
        address = f"{service.address()}/rollouts/{service.show(id)['id']}"
    if json:
        print_json({"address": address})
    else:
        echo(address)


def show(id: RolloutId, json: Json = False) -> None:
    """One rollout: what happens next, when, and why not yet."""
    with backend() as service:
        document = service.show(id)
        alive = service.service_is_alive()
    if json:
        print_json(document)
        return
    console().print(picture(document))
    if not alive and document["phase"] not in FINAL:
        console(stderr=True).print(
            "no service is running: nothing happens until you run `rollout serve`", style="yellow"
        )


def watch(id: RolloutId, json: Json = False) -> None:
    """Follow one rollout live until it ends. Exit 5 if it did not end as promoted."""
    with backend() as service:
        follow(service, id, json)


def history(
    id: RolloutId,
    after: Annotated[int, typer.Option("--after", help="Only entries after this sequence number.")] = 0,
    export: Annotated[
        str | None,
        typer.Option(
            "--export", metavar="FILE", help="Write the whole journal as JSON Lines with the hash chain; - prints it."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """The journal of one rollout: every step, by whom and why."""
    from rollout.interfaces.views.journal import wording

    if export is not None:
        if after or json:
            raise InputError("--export writes the whole journal as JSON Lines: leave out --after and --json")
        from rollout.interfaces.cli import exports

        exports.export(id, export)
        return
    with backend() as service, waiting("reading the journal"):
        entries = service.history(id, after)
    if json:
        print_json(entries)
        return
    shown = table("#", "when", "who", "what", "why", keys=("#", "what"))
    for e in entries:
        words = wording(e["kind"], e["reason"], e["data"])
        shown.add_row(str(e["seq"]), local(e["at"]), plain(e["actor"]), plain(e["kind"]), plain(words))
    console().print(shown)


# ------------------------------------------------------------------ following


def follow(service: Backend, id_: str, as_json: bool = False) -> None:
    """Show a rollout until it is final, and then its document as JSON; raise NotPromoted unless it was promoted."""
    try:
        document = _follow(service, id_)
    except Interrupted:
        raise Interrupted(
            f"the rollout continues; follow it: rollout watch {id_}; stop it: rollout pause {id_}, or "
            f"rollout rollback {id_}"
        ) from None
    if as_json:
        print_json(document)
    if document["phase"] != "promoted":
        why = document["reason"] or document["why"]
        raise NotPromoted(f"{document['id']} ended as {document['phase']}: {plain(why)}")


def _follow(service: Backend, id_: str) -> dict[str, Any]:
    """Show the rollout on standard error until it is final: as a picture, or in a line whenever that changes."""
    out = console(stderr=True)
    document: dict[str, Any] = {}
    if out.is_terminal:
        from rich.live import Live

        with Live(console=out, refresh_per_second=4, transient=False) as live:
            for document in documents(service, id_):
                live.update(picture(document))
    else:
        last = None
        for document in documents(service, id_):
            if (line := _line(document)) != last:
                echo(line, err=True)
                last = line
    return document


def _line(document: dict[str, Any]) -> str:
    """A rollout in one line, for output that is no terminal."""
    line = f"{document['phase']} at {document['position']['wave']}.{document['position']['step']}"
    line += f" ({percent(document['weight'])}): {plain(document['why'])}"
    if unread := document.get("calls_unreadable"):
        line += f"; calls cannot be read since {local(unread['since'])}: {plain(unread['why'])}"
    return line


def picture(document: dict[str, Any]) -> RenderableType:
    """A rollout on a terminal."""
    from rich.console import Group
    from rich.text import Text

    from rollout.interfaces.views.agent_tests import lines as test_lines

    at = document["position"]
    head = Text.assemble(
        (plain(document["name"]), "bold"),
        "  ",
        (document["id"], "dim"),
        "  ",
        (document["phase"], PHASES.get(document["phase"], "")),
        f"  at {at['wave']}.{at['step']}",
        f"  {staircase(document)}",
        f"  confirmed {percent(document['weight'])}",
    )
    lines: list[RenderableType] = [head]
    if document.get("retreated") is not None and document["phase"] not in FINAL:
        head.append(f"  retreated to {percent(document['retreated'])}", "yellow")
    if document.get("by_hand") is not None and document["phase"] not in FINAL:
        head.append(f"  ships {plain(document['shipped'])}" if document["shipped"] else "  set by a person", "yellow")
    if document["reason"]:
        lines.append(Text(f"reason  {plain(document['reason'])}"))
    due = (
        f"{local(document['due_at'])} ({span(document['due_at'])})" if document["due_at"] else "when something changes"
    )
    if document["phase"] not in FINAL:
        lines.append(Text(f"next    {plain(document['next'])}, next check {due}"))
    lines.append(Text(f"why     {plain(document['why'])}"))
    if unread := document.get("calls_unreadable"):
        lines.append(Text(f"calls   {_unread(unread)}", "yellow"))
    lines += [Text("tests   " + plain(line).removeprefix("tests: ")) for line in test_lines(document.get("tests"))]
    if document.get("timetable"):
        lines.append(Text(f"then    {plain(document['timetable'])}"))
    for line in document.get("gates_text", []):
        lines.append(Text(f"gates   {plain(line)}"))
    numbers = table("number", "wave", "state", "confirmed", "was", keys=("number", "state"))
    for t in document["targets"][:25]:
        numbers.add_row(t["number"], str(t["wave"]), t["state"], split_text(t["confirmed"]), split_text(t["baseline"]))
    lines.append(numbers)
    if len(document["targets"]) > 25:
        lines.append(Text(f"and {len(document['targets']) - 25} more numbers; --json shows all", style="dim"))
    return Group(*lines)


def _unread(found: dict[str, Any]) -> str:
    return f"cannot be read since {local(found['since'])} ({span(found['since'])}): {plain(found['why'])}"


def _phase(r: dict[str, Any]) -> str:
    return f"{r['phase']} ({plain(r['reason'])})" if r["phase"] == "held" else str(r["phase"])
