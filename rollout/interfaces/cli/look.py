"""list, show, watch, history: what is going on, what comes next and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, NotPromoted
from rollout.interfaces.backend.following import documents
from rollout.interfaces.cli.common import Interrupted, Json, RolloutId, backend, print_json
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
from rollout.interfaces.views.journal import wording

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rollout.interfaces.backend.direct import Backend

LISTED = 100  # rollouts of a list that nobody has asked to be longer
FINAL = ("promoted", "rolled_back", "stopped")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(watch)
    app.command()(history)


def list_(
    live: Annotated[bool, typer.Option("--live", help="Only unfinished ones.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="The newest N, and every unfinished one.")
    ] = LISTED,
    every: Annotated[bool, typer.Option("--all", help="Every one, however many there are.")] = False,
    json: Json = False,
) -> None:
    """Rollouts, newest first: every unfinished one, and of the others the newest 100."""
    with backend() as service:
        unfinished = [] if every else service.list(live=True)
        rollouts = unfinished if live else service.list(limit=None if every else limit + 1)
    more = not live and not every and len(rollouts) > limit
    if more:
        shown_already = {r["id"] for r in rollouts[:limit]}
        rollouts = rollouts[:limit] + [r for r in unfinished if r["id"] not in shown_already]
        echo(f"the newest {limit} and every unfinished one; there are more: rollout list --limit N, or --all", err=True)
    if json:
        print_json(rollouts)
        return
    if not rollouts:
        echo("no rollouts yet; start one with `rollout start PLAN`")
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
        console(stderr=True).print("no service is running: nothing moves until `rollout serve`", style="yellow")


def watch(id: RolloutId) -> None:
    """Follow one rollout live until it ends. Exit 5 if it did not end as promoted."""
    with backend() as service:
        follow(service, id)


def history(
    id: RolloutId,
    after: Annotated[int, typer.Option("--after", help="Only entries behind this sequence number.")] = 0,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="FILE", help="Whole, as JSON Lines with the hash chain; - prints it."),
    ] = None,
    json: Json = False,
) -> None:
    """The journal of one rollout: every step, by whom and why."""
    if export is not None:
        if after or json:
            raise InputError("--export writes the whole journal as JSON Lines: leave out --after and --json")
        from rollout.interfaces.cli import exports

        exports.export(id, export)
        return
    with backend() as service:
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


def follow(service: Backend, id_: str) -> None:
    """Show a rollout until it is final; raise NotPromoted unless it was promoted."""
    try:
        _follow(service, id_)
    except Interrupted:
        raise Interrupted(
            f"the rollout goes on; follow it: rollout watch {id_}; stop it: rollout pause {id_}, or "
            f"rollout rollback {id_}"
        ) from None


def _follow(service: Backend, id_: str) -> None:
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
    if document["phase"] != "promoted":
        why = document["reason"] or document["why"]
        raise NotPromoted(f"{document['id']} ended as {document['phase']}: {plain(why)}")


def _line(document: dict[str, Any]) -> str:
    """A rollout in one line, where nobody looks at a terminal."""
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
    if document["reason"]:
        lines.append(Text(f"reason  {plain(document['reason'])}"))
    due = (
        f"{local(document['due_at'])} ({span(document['due_at'])})" if document["due_at"] else "when something changes"
    )
    if document["phase"] not in FINAL:
        lines.append(Text(f"next    {plain(document['next'])}, looked at again {due}"))
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
