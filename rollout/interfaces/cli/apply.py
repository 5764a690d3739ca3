"""apply: a folder of plans, kept in git, against what the service has; what is new is started.

A plan is known by its name and its content. Nothing that runs is ever changed from here, and what has ended is
not started again: both are a person's to decide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, Refused
from rollout.domain.lifecycle.machine import FINAL
from rollout.domain.one_line import in_one_line
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, Reason, backend, by, read_plan, say_if_nobody_works
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import console, plain, table

if TYPE_CHECKING:
    from rollout.interfaces.backend.local import Backend
    from rollout.interfaces.backend.plan_text import PlanText

SUFFIXES = (".yaml", ".yml", ".json")
STYLES = {"started": "green", "new": "green", "refused": "red", "differs": "yellow"}
MOST_DIFFERENCES = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(apply)


def apply(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of plans; its subfolders are included.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be started; start nothing.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only validate the plans; needs no database and no Retell.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse on warnings, too.")] = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Start the plans of a folder that are new; change nothing that runs. Exit 3 if one differs or is refused."""
    found = _plans(folder)
    if offline:
        rows = [_row(each, "valid", "", "") for each in found]
    else:
        with backend() as service, waiting("reading the rollouts") as say:
            rows = []
            for each in found:
                say(f"{each.name}: comparing with the live rollout")
                rows.append(_one(service, each, dry_run, strict, reason))
            if any(r["result"] == "started" for r in rows):
                say_if_nobody_works(service)
    if json:
        print_json({"dry_run": dry_run, "plans": rows})
    else:
        _print(rows)
    trouble = [r for r in rows if r["result"] in ("differs", "refused")]
    if trouble:
        raise Refused(
            f"{len(trouble)} of {len(rows)} plans not started: "
            + "; ".join(f"{r['file']}: {r['detail']}" for r in trouble[:3])
        )


def _plans(folder: str) -> list[PlanText]:
    """Every plan of the folder; InputError with every complaint when one of them is not valid."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: there is no such folder; write the folder that holds the plans")
    files = sorted(
        p
        for p in root.rglob("*")
        if p.suffix in SUFFIXES and p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
    )
    if not files:
        raise InputError(f"{folder}: there is no plan in this folder (*.yaml, *.yml, *.json)")
    found, complaints, names = [], [], dict[str, str]()
    for path in files:
        try:
            written = read_plan(str(path))
        except InputError as error:
            complaints.append(error.message)
            continue
        name = written.plan.name
        if (other := names.setdefault(name, str(path))) != str(path):
            complaints.append(f"{path}: name: {other} is called {name}, too; give each plan its own name")
        found.append(written)
    if complaints:
        raise InputError("\n".join([*complaints, "nothing was started"]))
    return found


def _one(service: Backend, each: PlanText, dry_run: bool, strict: bool, reason: str) -> dict[str, Any]:
    wanted = comparable(each.plan.canonical())
    named = service.list(name=each.plan.name)
    live = next((r for r in named if r["phase"] not in FINAL), None)
    if live is not None:
        differences = list(plan_differences(wanted, comparable(service.show(live["id"])["plan"])))
        if not differences:
            return _row(each, "running", live["id"], f"{live['phase']} at {_at(live)}")
        more = len(differences) - MOST_DIFFERENCES
        detail = "; ".join(differences[:MOST_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        return _row(each, "differs", live["id"], f"{live['phase']} with another plan: {detail}")
    for ended in named:
        if not list(plan_differences(wanted, comparable(service.show(ended["id"])["plan"]))):
            return _row(each, "ended", ended["id"], f"{ended['phase']} on {str(ended['updated_at'])[:10]}")
    try:
        if dry_run:
            return _rehearsed(service, each, strict)
        # The same plan applied twice at the same time, say by two runs of CI, has one answer.
        request = f"apply-{each.plan.digest()[:32]}"
        answer = service.start(each, by(reason or in_one_line(f"apply {each.name}", "?"), request), strict=strict)
        return _row(each, "started", answer.id, "; ".join(answer.preflight.warnings))
    except (Refused, InputError) as error:
        return _row(each, "refused", "", error.message)


def _rehearsed(service: Backend, each: PlanText, strict: bool) -> dict[str, Any]:
    report = service.check(each, strict=strict)
    found = [*report["problems"], *report["warnings"]]
    return _row(each, "new" if report["ok"] else "refused", "", "; ".join(found))


def _row(each: PlanText, result: str, id_: str, detail: str) -> dict[str, Any]:
    return {"file": each.name, "name": each.plan.name, "result": result, "id": id_ or None, "detail": detail}


def _at(shown: Mapping[str, Any]) -> str:
    return f"{shown['position']['wave']}.{shown['position']['step']}"


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    shown = table("file", "plan", "result", "id", "detail", keys=("result", "id"))
    for r in rows:
        shown.add_row(
            plain(r["file"]),
            plain(r["name"]),
            r["result"],
            r["id"] or "-",
            plain(r["detail"]),
            style=STYLES.get(r["result"]),
        )
    console().print(shown)


# ------------------------------------------------------------------ what differs


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's document with defaults written out, and without the addresses of notices (a service hides them)."""
    from rollout.domain.plan.gates import with_new_names
    from rollout.domain.plan.plan import Plan

    bare = {k: v for k, v in document.items() if k != "notify"}
    with contextlib.suppress(ValueError):  # made by another version of this program: compared as it stands
        bare = Plan.model_validate(with_new_names(bare)).canonical()
    notices = [{k: v for k, v in n.items() if k != "url"} for n in document.get("notify") or ()]
    return {**bare, "notify": notices}


def plan_differences(file: Any, running: Any, path: str = "") -> Iterator[str]:
    """The differences between a plan in a file and the one that runs, one phrase for each field."""
    if isinstance(file, dict) and isinstance(running, dict):
        for key in sorted(file.keys() | running.keys()):
            yield from plan_differences(file.get(key), running.get(key), f"{path}.{key}" if path else key)
    elif isinstance(file, list) and isinstance(running, list) and len(file) == len(running) and _objects(file):
        for i, (a, b) in enumerate(zip(file, running, strict=True)):
            yield from plan_differences(a, b, f"{path}[{i}]")
    elif file != running:
        yield f"{path} is {_short(file)} here and {_short(running)} there"


def _objects(entries: Sequence[Any]) -> bool:
    return all(isinstance(entry, dict) for entry in entries)


def _short(value: Any) -> str:
    if value is None:
        return "left out"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
