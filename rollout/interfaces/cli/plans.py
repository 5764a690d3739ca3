"""check and start: from a plan file to a rollout."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, PreflightRefused
from rollout.domain.versions.difference import difference_lines
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import (
    Json,
    Needs,
    PlanPath,
    Reason,
    RequestId,
    backend,
    by,
    moment,
    read_plan,
    say_if_nobody_works,
)
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import console, echo, percent, plain, plain_lines, table
from rollout.interfaces.cli.show_commands import follow

if TYPE_CHECKING:
    from rich.console import Console

    from rollout.domain.plan.plan import Plan
    from rollout.interfaces.backend.local import Backend
    from rollout.interfaces.backend.plan_text import PlanText

Strict = Annotated[bool, typer.Option("--strict", help="Refuse on warnings, too.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(check)
    app.command()(start)


def check(
    plan: Annotated[
        list[str], typer.Argument(metavar="PLAN...", help="Plan files, YAML or JSON; - reads standard input.")
    ],
    strict: Strict = False,
    tests: Annotated[
        bool, typer.Option("--tests", help="Run the plan's tests of the agent now, and wait for their result.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Check only the plan itself; do not ask Retell.")] = False,
    json: Json = False,
) -> None:
    """Validate a plan, check it against the live numbers, print the exact requests. Writes nothing."""
    if tests and offline:
        raise InputError("--tests asks Retell: leave out --offline")
    plans, refusal = [], None
    for path in plan:
        try:
            plans.append(read_plan(path))
        except InputError as error:
            if len(plan) == 1:
                raise
            echo(plain_lines(error.message), err=True)
            refusal = error  # check the others, too, so that you can fix all of them at once
    reports = []
    with contextlib.ExitStack() as stack:
        service = None if offline or not plans else stack.enter_context(backend(Needs.NOTHING))
        for written in plans:
            reports.append(_check(service, written, strict, tests))
            if not json:
                _print_check(reports[-1])
    if json:
        print_json(reports[0] if len(plan) == 1 else reports)
    if refusal is not None:
        raise InputError(f"{len(plan) - len(plans)} of {len(plan)} plans are not valid")
    for report in reports:
        if not report["ok"]:
            found = [*report["problems"], *(report["warnings"] if strict else [])]
            raise PreflightRefused(f"this plan would be refused: {found[0]}" if found else None)


def _check(service: Backend | None, written: PlanText, strict: bool, tests: bool) -> dict[str, Any]:
    loaded = written.plan
    if service is None:
        from rollout.interfaces.views import rollout

        problems = _addresses(loaded)
        return {
            "name": loaded.name,
            "ok": not problems,
            "offline": True,
            "problems": problems,
            "warnings": [],
            "numbers": [],
            "steps": rollout.steps(loaded),
            "requests": [],
        }
    with waiting(f"{loaded.name}: reading {_numbers(loaded)}") as say:
        return service.check(written, strict=strict, tests=say if tests else None)


def _addresses(loaded: Plan) -> list[str]:
    """Reasons to refuse a plan for the addresses of its notices, by this machine's settings."""
    if not loaded.notify:
        return []
    from rollout.adapters.notify import address_problems
    from rollout.settings import load_settings

    return address_problems(loaded, load_settings().notify_hosts)


def _numbers(loaded: Plan) -> str:
    """The number of a plan's numbers, for people who wait."""
    if any(not isinstance(n, str) for n in loaded.numbers):
        return "the numbers it selects"
    return f"{len(loaded.numbers)} number{'' if len(loaded.numbers) == 1 else 's'}"


def start(
    plan: PlanPath,
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="Start at this time (ISO 8601).")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; exit 5 unless promoted.")] = False,
    strict: Strict = False,
    reason: Reason = "",
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Start a rollout; prints its id."""
    start_at = moment(at)
    written = read_plan(plan)  # before a database may be made for it
    with backend(Needs.NEW) as service:
        with waiting(f"{written.plan.name}: reading {_numbers(written.plan)}"):
            answer = service.start(written, by(reason, request_id), at=start_at, strict=strict)
        if not json:
            echo(answer.id)
        elif not wait:
            print_json(answer.to_json())
        for warning in answer.preflight.warnings:
            echo(f"warning: {plain(warning)}", err=True)
        for line in difference_lines(answer.preflight.differences):
            echo(plain(line), err=True)
        say_if_nobody_works(service)
        if wait:
            follow(service, answer.id, json)


def _print_check(report: dict[str, Any]) -> None:
    from rollout.interfaces.views.agent_tests import lines as test_lines

    out = console()
    out.print(_verdict(report), style="green" if report["ok"] else "red")
    for problem in report["problems"]:
        out.print(f"  refused: {plain(problem)}", style="red")
    for warning in report["warnings"]:
        out.print(f"  warning: {plain(warning)}", style="yellow")
    for line in difference_lines(report.get("differences", [])):
        out.print(f"  {plain(line)}", soft_wrap=True, highlight=False, markup=False)
    if report["numbers"]:
        numbers = table("number", "wave", "nickname", "serves now", keys=("number",))
        for n in report["numbers"]:
            serves = "; ".join(f"{field.removesuffix('_agents')}: {text}" for field, text in n["serves"].items())
            numbers.add_row(n["number"], str(n["wave"]), plain(n["nickname"] or ""), plain(serves))
        out.print(numbers)
    steps = table("step", "weight", "hold", "then", keys=("step",))
    for s in report["steps"]:
        weights = ", ".join(f"{percent(w)} {name}" for name, w in s["weights"].items())
        then = [f"{s['min_calls']} calls"] if s["min_calls"] else []
        then += ["a person promotes"] if s["approve"] else []
        steps.add_row(str(s["step"]), weights, s["hold"], ", ".join(then))
    out.print(steps)
    for request in report["requests"]:
        _print_request(out, request)
    told = [("tests", line.removeprefix("tests: ")) for line in test_lines(report.get("tests"))]
    told += [(name, str(report[name])) for name in ("timetable", "forecast") if report.get(name)]
    for name, line in told:
        out.print(f"{name}: {plain(line)}")
    if (better := report.get("proposal")) is not None:
        _print_proposal(out, better)


def _verdict(report: dict[str, Any]) -> str:
    """The whole report in one line."""
    counts = [(len(report[name]), name) for name in ("problems", "warnings", "numbers", "steps")]
    found = ", ".join(f"{n} {word if n != 1 else word[:-1]}" for n, word in counts if n)
    verdict = "is ok: nothing was written" if report["ok"] else "would be refused"
    return f"plan {plain(report['name'])} {verdict} ({found})"


def _print_request(out: Console, request: dict[str, Any]) -> None:
    numbers = ", ".join(request["numbers"][:3])
    if len(request["numbers"]) > 3:
        numbers += f" and {len(request['numbers']) - 3} more"
    out.print(f"{request['method']} {request['path']} for {numbers}")
    for i, body in enumerate(request["steps"], 1):
        out.print(f"  step {i}    {plain(body)}", soft_wrap=True)
    if request.get("retreat"):
        out.print(f"  retreat   {plain(request['retreat'])}", soft_wrap=True)
    out.print(f"  rollback  {plain(request['rollback'])}", soft_wrap=True)


def _print_proposal(out: Console, better: dict[str, Any]) -> None:
    now, then = better["now"], better["then"]
    out.print(f"this plan takes long to decide: {better['why']}", style="yellow")
    out.print(
        f"{better['change']} would do: about {then['calls']:,} calls or {then['days']:g} days instead of "
        f"{now['calls']:,} or {now['days']:g}; write"
    )
    out.print(plain_lines(better["yaml"]), soft_wrap=True, highlight=False)
