"""promote, set, ship, resume, stop, adopt, restore, kit: what a person does to a rollout.

pause and rollback, which also take --all, are in pause_and_rollback.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, SplitError
from rollout.interfaces.cli.answer import print_json, say_where
from rollout.interfaces.cli.common import (
    Expect,
    Json,
    Reason,
    RequestId,
    RolloutId,
    backend,
    by,
    direct_app,
    position,
    say_if_nobody_works,
)
from rollout.interfaces.cli.pause_and_rollback import pause, rollback
from rollout.interfaces.cli.screen import echo

if TYPE_CHECKING:
    from rollout.domain.lifecycle.commands import By


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(promote)
    app.command("set")(set_weights)
    app.command()(ship)
    app.command()(pause)
    for name, words in (
        ("resume", "Continue after a pause."),
        ("stop", "End the rollout and leave the split as it is."),
        ("adopt", "Resolve drift: accept the live split, and continue."),
        ("restore", "Resolve drift: write the rollout's split again, and continue."),
    ):
        app.command(name, help=words)(_plain_command(name))
    app.command()(rollback)
    app.command()(kit)


def promote(
    id: RolloutId,
    full: Annotated[bool, typer.Option("--full", help="Go straight to the last step.")] = False,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Go to the next step now, whatever the hold and the gates; in the last step, end its bake."""
    _order("promote", id, by(reason, request_id), expect, json, full=full)


def set_weights(
    id: RolloutId,
    weight: Annotated[
        str | None, typer.Option("--weight", metavar="0.2", help="The canary's share of new calls.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="b=0.2,c=0.1", help="Share of each variant; left out: none.")
    ] = None,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Set the weights by hand, between the plan's steps: the step's hold starts again, then the plan continues."""
    if (weight is None) == (weights is None):
        raise InputError("set: write --weight 0.2, or --weights b=0.2,c=0.1 for a plan with variants")
    asked = _weights(weights) if weight is None else {"canary": _share("weight", weight)}
    _order("set", id, by(reason, request_id), expect, json, weights=asked)


def ship(
    id: RolloutId,
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="The variant; of a single canary: canary.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Ship even without enough evidence; the journal records it.")
    ] = False,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Give a version every call of every number; it bakes like the last step, and is promoted."""
    _order("ship", id, by(reason, request_id), expect, json, variant=variant, anyway=anyway)


def _weights(text: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in (text or "").split(","):
        arm, equals, share = part.partition("=")
        arm = arm.strip()
        if not arm or not equals:
            raise InputError(f"weights: {part[:40]!r} is not NAME=SHARE; write for example b=0.2,c=0.1")
        if arm in found:
            raise InputError(f"weights: {arm} is given twice; write it once")
        found[arm] = _share(f"weights: {arm}", share)
    return found


def _share(field: str, text: str) -> float:
    from rollout.domain.splits import splits

    try:
        return splits.basis_points(text.strip()) / splits.TOTAL
    except SplitError as error:
        raise InputError(f"{field}: {error.message}", field=field.partition(":")[0]) from None


def _plain_command(name: str) -> Any:
    def run(
        id: RolloutId, reason: Reason = "", expect: Expect = None, request_id: RequestId = None, json: Json = False
    ) -> None:
        _order(name, id, by(reason, request_id), expect, json)

    return run


def _order(name: str, id_: str, who: By, expect: str | None, as_json: bool, **more: Any) -> None:
    """Give one command, and say where that leads and whether a service is at work."""
    with backend() as service:
        answer = service.command(name, id_, who, expect=position(expect), **more)
        say_where(name, answer.to_json(), as_json)
        say_if_nobody_works(service, answer.phase)


def kit(
    id: RolloutId,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write it to.")] = Path(),
    json: Json = False,
) -> None:
    """Write a rollback that needs neither this service, nor its database, nor any package."""
    from rollout.kit.build import write_kit

    with direct_app() as app:
        rollout, now = app.store.load(app.store.resolve(id))
        path = write_kit(
            rollout, output, base_url=rollout.base_url, lease=app.timing.lease, horizon=app.timing.horizon, now=now
        )
    if json:
        print_json({"id": rollout.id, "path": str(path)})
    else:
        echo(str(path))
