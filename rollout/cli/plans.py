"""check and start: from a plan file to a rollout."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rollout.cli.common import (
    Json,
    PlanPath,
    Reason,
    RequestId,
    backend,
    by,
    moment,
    plan_text,
    print_json,
)
from rollout.cli.screen import console, percent, plain, table
from rollout.domain.errors import PreflightRefused

Strict = Annotated[bool, typer.Option("--strict", help="Warnings refuse, too.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command()(check)
    app.command()(start)


def check(
    plan: PlanPath,
    strict: Strict = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only the plan itself; Retell is not asked.")
    ] = False,
    json: Json = False,
) -> None:
    """Validate a plan, check it against the live numbers, print the exact requests. Writes nothing."""
    text, name = plan_text(plan)
    from rollout.planfile import load_plan

    loaded = load_plan(text, name)
    if offline:
        from rollout import views

        report: dict[str, Any] = {
            "name": loaded.name, "ok": True, "offline": True, "problems": [], "warnings": [], "numbers": [],
            "steps": views.steps(loaded), "requests": [],
        }  # fmt: skip
    else:
        with backend() as service:
            report = service.check(text, name, strict=strict)
    if json:
        print_json(report)
    else:
        _print_check(report)
    if not report["ok"]:
        found = [*report["problems"], *(report["warnings"] if strict else [])]
        raise PreflightRefused(f"this plan would be refused: {found[0]}" if found else None)


def start(
    plan: PlanPath,
    at: Annotated[
        str | None, typer.Option("--at", metavar="T", help="Start at this time (ISO 8601).")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it to its end; exit 5 unless promoted.")
    ] = False,
    strict: Strict = False,
    reason: Reason = "",
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Start a rollout; prints its id."""
    text, name = plan_text(plan)
    start_at = moment(at)
    with backend() as service:
        if not strict:
            from rollout.planfile import load_plan

            load_plan(text, name)
        answer = service.start(text, name, by(reason, request_id), at=start_at, strict=strict)
        if json and not wait:
            print_json(answer)
        else:
            typer.echo(answer["id"])
        for warning in answer.get("warnings", []):
            typer.echo(f"warning: {plain(warning)}", err=True)
        if not service.service_is_alive():
            typer.echo("no service is running on this database: start one with `rollout serve`", err=True)
        if wait:
            from rollout.cli.look import follow

            follow(service, answer["id"])


def _print_check(report: dict[str, Any]) -> None:
    out = console()
    out.print(f"plan {plain(report['name'])}")
    for problem in report["problems"]:
        out.print(f"  refused: {plain(problem)}", style="red")
    for warning in report["warnings"]:
        out.print(f"  warning: {plain(warning)}", style="yellow")
    if report["numbers"]:
        numbers = table("number", "wave", "nickname", "serves now")
        for n in report["numbers"]:
            serves = "; ".join(
                f"{field.removesuffix('_agents')}: {text}" for field, text in n["serves"].items()
            )
            numbers.add_row(n["number"], str(n["wave"]), plain(n["nickname"] or ""), plain(serves))
        out.print(numbers)
    steps = table("step", "weight", "hold", "then")
    for s in report["steps"]:
        weights = ", ".join(f"{percent(w)} {name}" for name, w in s["weights"].items())
        then = [f"{s['min_calls']} calls"] if s["min_calls"] else []
        then += ["a person promotes"] if s["approve"] else []
        steps.add_row(str(s["step"]), weights, s["hold"], ", ".join(then))
    out.print(steps)
    for request in report["requests"]:
        numbers_text = ", ".join(request["numbers"][:3]) + (
            f" and {len(request['numbers']) - 3} more" if len(request["numbers"]) > 3 else ""
        )
        out.print(f"{request['method']} {request['path']} for {numbers_text}")
        for i, body in enumerate(request["steps"], 1):
            out.print(f"  step {i}    {plain(body)}", soft_wrap=True)
        out.print(f"  rollback  {plain(request['rollback'])}", soft_wrap=True)
    for name in ("timetable", "forecast"):
        if report.get(name):
            out.print(f"{name}: {plain(report[name])}")
    if report["ok"]:
        out.print("ok: nothing was written", style="green")
