"""gate evaluate, rehearse, replay, report: what the gates say, said, and would say."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, NotWritable, RolloutError
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, Needs, PlanPath, RolloutId, backend, direct_app, plan_text, read_plan
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import console, echo, plain, plain_lines, table

if TYPE_CHECKING:
    from rollout.domain.gates.replay import OtherDecision
    from rollout.domain.plan.plan import Plan
    from rollout.interfaces.cli.screen import Table

gate = typer.Typer(help="The gates' arithmetic by hand.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(rehearse)
    app.command()(report)
    app.command()(replay)
    app.add_typer(gate, name="gate")


@gate.command("evaluate")
def evaluate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Counts as JSON; - reads standard input.")],
    json: Json = False,
) -> None:
    """Counts in, evidence out: {"cells": [["0.1", [fc, sc, fb, sb]], ...], "margins": ["0.25"], "history": "0.12"}."""
    from rollout.domain.gates.evaluate import evaluate as compute

    text, name = plan_text(file)
    try:
        document = jsons.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: this is not JSON: {error}") from None
    found = compute(document)
    if json:
        print_json(found)
        return
    low, high = found["interval"]
    echo(f"harm      E = {found['harm']['E']:.6g}  (the canary is worse)")
    for margin, value in found["safe"].items():
        echo(f"safe      E = {value['E']:.6g}  (not worse by {margin} or more)")
    echo(f"ledger    E = {found['ledger']['E']:.6g}  (harm, with a fresh ledger per cell; roll back at 10)")
    echo(f"split     E = {found['split']['E']:.6g}  (the calls do not follow the weights; alarm at 100)")
    echo(f"interval  {100 * low:+.1f} to {100 * high:+.1f} points of the bad rate, valid at any time")
    echo(f"posterior P(canary worse) = {found['prob_worse']:.3f}  (for looking at, not a rule)")


def rehearse(
    plan: PlanPath,
    calls_per_day: Annotated[
        float | None, typer.Option("--calls-per-day", help="Calls per day on all numbers together.")
    ] = None,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Take the calls per day from Retell's list of last week.")
    ] = False,
    canary: Annotated[
        str | None, typer.Option("--canary", help="One more canary: success=0.75,hard_error=0.05")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", help="Rollouts per kind of canary.")] = 1000,
    json: Json = False,
) -> None:
    """Play a plan against modelled callers: when would it be decided, and what can it not detect?"""
    from rollout.adapters.clock import SystemClock
    from rollout.adapters.planfile.calendar_file import calendars_at
    from rollout.engine import rehearse as rehearsals
    from rollout.settings import load_settings

    loaded = read_plan(plan).plan
    if from_history:
        if calls_per_day is not None:
            raise InputError("write --calls-per-day or --from-history, not both")
        calls_per_day = _last_weeks(loaded)
    per_day = rehearsals.USUAL_CALLS_PER_DAY if calls_per_day is None else calls_per_day
    with waiting(f"{loaded.name}: playing {runs} rollouts of each kind"):
        document = rehearsals.rehearse(
            loaded,
            per_day,
            calendars=calendars_at(load_settings().calendars if loaded.calendar else None),
            now=SystemClock().now(),
            canary=rehearsals.parse_canary(canary),
            runs=runs,
        )
    if json:
        print_json(document)
    else:
        _show_rehearsal(document, f"{plain(loaded.name)}, {per_day:g} calls a day, {runs} rollouts of each kind")


def _show_rehearsal(document: dict[str, Any], heading: str) -> None:
    out = console()
    out.print(plain(document["line"]))
    out.print(heading)
    out.print(_scenarios(document["scenarios"]))
    if (decision := document.get("decision")) is not None:
        out.print(
            f"the A/B test is decided after {decision['days']:.1f} days and {decision['calls']:,} calls; of "
            f"{decision['runs']} tests of each kind"
        )
        out.print(_decisions(decision["ends"]))
    for note in document["notes"]:
        out.print(f"note: {plain(note)}", style="yellow")
    if (better := document.get("proposal")) is not None:
        out.print(f"this plan takes long to decide: {plain(better['why'])}", style="yellow")
        for name, figures in (("as it is", better["now"]), (f"with {better['change']}", better["then"])):
            days = "" if figures["days"] is None else f" after {figures['days']:.1f} days"
            out.print(
                f"{plain(name)}: an equal canary is promoted in {_share(figures['equal_promoted'])}{days}; one 10 points "
                f"worse is rolled back in {_share(figures['worse_rolled_back'])} and promoted in "
                f"{_share(figures['worse_promoted'])}"
            )
        out.print("write")
        out.print(plain_lines(better["yaml"]), soft_wrap=True, highlight=False)


def _last_weeks(plan: Plan) -> float:
    """Calls a day that the plan's numbers took in the last week, by Retell's list."""
    from rollout.engine.traffic import calls_per_day

    with direct_app(Needs.NOTHING) as app:
        assert app.calls is not None
        found = app.commands.check(plan)
        found.refuse()
        per_day = calls_per_day(found, app.calls, app.store.now())
    if not per_day:
        raise InputError("--from-history: the numbers had no calls last week; write --calls-per-day")
    return per_day


def _scenarios(scenarios: list[dict[str, Any]]) -> Table:
    shown = table(
        "canary",
        "promoted",
        "rolled back",
        "undecided",
        "calls to promote",
        "days",
        "canary calls to roll back",
        "days",
        keys=("canary",),
    )
    for s in scenarios:
        shown.add_row(
            s["name"],
            _share(s["promoted"]),
            _share(s["rolled_back"]),
            _share(s["undecided"]),
            _number(s["calls_to_promote"]),
            _number(s["days_to_promote"]),
            _number(s["canary_to_roll_back"]),
            _number(s["days_to_roll_back"]),
        )
    return shown


def _decisions(ends: list[dict[str, Any]]) -> Table:
    first, *_ = variants = list(ends[0]["shipped"])
    columns = (*(f"{name} shipped" for name in variants), "nothing shipped", "gates failed before")
    shown = table(f"{first} is", *columns, keys=(f"{first} is",))
    for end in ends:
        parts = (*end["shipped"].values(), end["nothing"], end["failed"])
        shown.add_row(end["name"], *map(_share, parts))
    return shown


def report(
    id: RolloutId,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one self-contained HTML file.")
    ] = None,
    json: Json = False,
) -> None:
    """The report: what was tried, how the calls of each version went, and what to do or was done."""
    from rollout.interfaces.views.report_form import ReportForm

    form = ReportForm.HTML if html is not None else ReportForm.JSON if json else ReportForm.TEXT
    with backend() as service, waiting("reading the gates' evidence"):
        found = service.report(id, form)
    if html is not None:
        try:
            html.write_text(found, encoding="utf-8")
        except OSError as error:
            raise NotWritable.at(html, error) from None
        echo(str(html))
    elif json:
        print_json(jsons.loads(found))
    else:
        for line in found.splitlines():
            echo(plain(line))


def replay(
    id: RolloutId,
    gates: Annotated[
        str | None, typer.Option("--gate", metavar="FILE", help="A plan, or a gates: entry, to compare with.")
    ] = None,
    json: Json = False,
) -> None:
    """Compute every stored look again, and what another gate would have decided. Exit 1 if one differs."""
    from rollout.adapters.planfile import load_gates
    from rollout.adapters.store.gate_records import StoredGateRecords
    from rollout.domain.gates.replay import replay as again

    other = None
    if gates is not None:
        other = load_gates(*plan_text(gates)).model_dump(mode="json", by_alias=True, exclude_none=True)
    with direct_app() as app, waiting("judging every look again"):
        rollout, _ = app.store.load(app.store.resolve(id))
        found = again(StoredGateRecords(app.database).looks(rollout.id), other)
    if json:
        print_json(found.to_json())
    else:
        echo(f"{found.looks} looks, {'all the same' if found.same else 'NOT all the same'}")
        for arm, decided in found.decided.items():
            echo(f"{arm}: first decided as {decided.outcome} after {decided.calls} calls")
        for arm, other_decided in (found.other or {}).items():
            echo(f"{arm}: the other gate: {other_decided.outcome}" + _sooner(other_decided))
    if not found.same:
        differing = found.to_json()["different"]
        raise RolloutError(f"{len(differing)} looks differ from what was stored: {differing[:3]}")


def _sooner(decided: OtherDecision) -> str:
    by = decided.sooner_by
    if decided.calls is None or by is None:
        return ""
    return f" after {decided.calls} calls ({abs(by)} calls {'sooner' if by >= 0 else 'later'})"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}".rstrip("0").rstrip(".")
