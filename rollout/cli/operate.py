"""promote, pause, resume, stop, adopt, restore, rollback, kit: what a person does to a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rollout.cli.common import (
    Expect,
    Interrupted,
    Json,
    Reason,
    RequestId,
    RolloutId,
    backend,
    by,
    direct_app,
    position,
    print_json,
    unexpected,
)
from rollout.cli.screen import echo, plain_lines
from rollout.domain.errors import InputError, RolloutError

All = Annotated[bool, typer.Option("--all", help="Every live rollout: stop the line.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command()(promote)
    app.command()(pause)
    for name, words in (
        ("resume", "Go on after a pause."),
        ("stop", "End the rollout and leave the split as it is."),
        ("adopt", "Answer drift: take the live split as ours, and go on."),
        ("restore", "Answer drift: write our split again, and go on."),
    ):
        app.command(name, help=words)(_plain_command(name))
    app.command()(rollback)
    app.command()(kit)


def _say(command: str, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    at = answer["position"]
    echo(f"{answer['id']}: {command}: {answer['phase']} at {at['wave']}.{at['step']}")


def promote(
    id: RolloutId,
    full: Annotated[bool, typer.Option("--full", help="Go to the last step at once.")] = False,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Go to the next step now, whatever the hold and the gates; in the last step, end its bake."""
    with backend() as service:
        answer = service.command("promote", id, by(reason, request_id), expect=position(expect), full=full)
        _say("promote", answer, json)


def pause(
    id: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    every: All = False,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Hold where it stands; gates go on watching."""
    with backend() as service:
        if every:
            answers = []
            for live in service.list(live=True):
                if live["phase"] in ("pending", "progressing"):
                    answers.append(service.command("pause", live["id"], by(reason, None)))
            if json:
                print_json(answers)
            for answer in answers if not json else []:
                _say("pause", answer, False)
            return
        if id is None:
            raise InputError("pause: name a rollout, or write --all")
        _say("pause", service.command("pause", id, by(reason, request_id), expect=position(expect)), json)


def _plain_command(name: str) -> Any:
    def run(
        id: RolloutId,
        reason: Reason = "",
        expect: Expect = None,
        request_id: RequestId = None,
        json: Json = False,
    ) -> None:
        with backend() as service:
            _say(name, service.command(name, id, by(reason, request_id), expect=position(expect)), json)

    return run


def rollback(
    id: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    number: Annotated[
        str | None, typer.Option("--number", metavar="+1...", help="The rollout of this number.")
    ] = None,
    every: All = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return when the order is committed.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the read-back.")] = 60.0,
    reason: Reason = "",
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Write every baseline back, now. Works beside a running service, and without one."""
    if sum((id is not None, number is not None, every)) != 1:
        raise InputError("rollback: write one of: a rollout's id, --number +1..., or --all")
    with backend() as service:
        if every:
            ids = [r["id"] for r in service.list(live=True) if r["phase"] != "pending"]
        else:
            ids = [id if id is not None else service.on_number(str(number))]
        answers: list[dict[str, Any]] = []
        failure: RolloutError | None = None
        # Every order is committed before the first one is waited for.
        for each in ids:
            answers.append(service.rollback(each, by(reason, request_id), wait=False))
        if not no_wait:
            for i, each in enumerate(ids):
                try:
                    answers[i] = service.follow_rollback(answers[i]["id"], timeout)
                except Interrupted:
                    raise Interrupted(
                        "the rollback is ordered, and a running service goes on with it; without one: "
                        f"rollout rollback {answers[i]['id']}"
                    ) from None
                except RolloutError as error:
                    failure = error
                    echo(f"{each}: {plain_lines(error.message)}", err=True)
                except Exception as error:  # noqa: BLE001 - the other rollbacks are followed all the same
                    failure = RolloutError(f"{each}: {unexpected(error)}; the rollback is ordered")
                    echo(failure.message, err=True)
        if json:
            print_json(answers if every else answers[0])
        else:
            for answer in answers:
                _say_rollback(answer)
            if not answers:
                echo("nothing to roll back: no rollout is live")
        if failure is not None:
            raise failure


def _say_rollback(answer: dict[str, Any]) -> None:
    seconds = answer.get("seconds")
    restored = [t for t in answer.get("targets", []) if t["state"] == "restored"]
    count = f"{len(restored)} number{'' if len(restored) == 1 else 's'}"
    if seconds is None or "targets" not in answer:
        echo(f"{answer['id']}: {answer['phase']}")
        return
    echo(
        f"{answer['id']}: {count} read back at the baseline {seconds:.3f} s after the order ({answer['phase']})"
    )
    for t in answer["targets"]:
        if t["state"] in ("missing", "foreign"):
            echo(f"  {t['number']}: {t['state']}")
    if answer["phase"] == "rolling_back":
        echo("  a write whose outcome is unknown may still land; the service watches until it cannot")


def kit(
    id: RolloutId,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write it to.")] = Path(),
    json: Json = False,
) -> None:
    """Write a rollback that needs neither this service, nor its database, nor any package."""
    from rollout.kit import write_kit

    with direct_app() as app:
        rollout, now = app.store.load(app.commands.resolve(id))
        path = write_kit(
            rollout,
            output,
            base_url=rollout.base_url,
            lease=app.timing.lease,
            horizon=app.timing.horizon,
            now=now,
        )
    if json:
        print_json({"id": rollout.id, "path": str(path)})
    else:
        echo(str(path))
