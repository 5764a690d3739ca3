"""The commands pause and rollback. With --all, each live rollout gets the command, even if others fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, RolloutError
from rollout.interfaces.cli.answer import print_json, say_where
from rollout.interfaces.cli.common import (
    Expect,
    Interrupted,
    Json,
    OptionalRolloutId,
    Reason,
    RequestId,
    backend,
    by,
    position,
    say_if_nobody_works,
    unexpected,
)
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import echo, local, plain, plain_lines

if TYPE_CHECKING:
    from rollout.interfaces.backend.local import Backend

All = Annotated[bool, typer.Option("--all", help="Every live rollout, also scheduled ones.")]


def pause(
    id: OptionalRolloutId = None,
    every: All = False,
    reason: Reason = "",
    expect: Expect = None,
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Hold at the current position; gates keep watching. One that is scheduled does not start until it is resumed."""
    if (id is not None) == every:
        raise InputError(
            "pause: name a rollout, or write --all" if id is None else "pause: write an ID or --all, not both"
        )
    if every and expect is not None:
        raise InputError("pause: --expect works with one rollout only; leave it out with --all")
    with backend() as service:
        if id is not None:
            given = service.command("pause", id, by(reason, request_id), expect=position(expect))
            say_where("pause", given.to_json(), json)
            say_if_nobody_works(service, given.phase)
            return
        live = [r for r in service.list(live=True) if r["phase"] in ("pending", "progressing")]
        line = _Line(service, sorted(live, key=_waits))
        for each in line.live:
            line.order(
                each, lambda asked: service.command("pause", asked, by(reason, request_id).each(asked)).to_json()
            )
        if json:
            print_json(line.answers)
        else:
            for answer in line.answers:
                say_where("pause", answer, False)
                if answer["scheduled"]:
                    echo(f"  {plain(answer['name'])}, {answer['scheduled']}, does not start until it is resumed")
            if not line.answers and line.failure is None:
                echo("nothing to pause: no rollout is running or scheduled")
        if line.answers:
            say_if_nobody_works(service)
        if line.failure is not None:
            raise line.failure


@dataclass
class _Line:
    """The rollouts that --all is for: each gets the command, even if others fail."""

    service: Backend
    live: Sequence[Mapping[str, Any]]
    answers: list[dict[str, Any]] = field(default_factory=list)
    failure: RolloutError | None = None

    def order(self, each: Mapping[str, Any], ask: Callable[[str], dict[str, Any]]) -> None:
        """Order one; an answer says its name, the phase it was in, and what it waited for if it had not started."""
        id_ = str(each["id"])
        try:
            answer = ask(id_)
        except RolloutError as error:
            self.failure = error
            echo(f"{id_}: {plain_lines(error.message)}", err=True)
            return
        except Exception as error:  # noqa: BLE001 - the others are ordered all the same
            self.failure = RolloutError(f"{id_}: {unexpected(error)}")
            echo(self.failure.message, err=True)
            return
        told = {"name": each["name"], "was": each["phase"], "scheduled": None}
        with contextlib.suppress(RolloutError):  # it is ordered; what it waited for is a courtesy
            told["scheduled"] = self._scheduled(each)
        self.answers.append({**answer, **told})

    def _scheduled(self, each: Mapping[str, Any]) -> str | None:
        if each["phase"] not in ("pending", "paused"):
            return None
        whole = self.service.show(str(each["id"]))
        if whole["started_at"] is not None:
            return None
        if whole["start_at"] is not None:
            return f"scheduled for {local(whole['start_at'])}"
        after = whole["plan"].get("after")
        return None if after is None else f"scheduled after {plain(after)}"


def _waits(each: Mapping[str, Any]) -> bool:
    return bool(each["phase"] == "pending")


def rollback(
    id: OptionalRolloutId = None,
    number: Annotated[str | None, typer.Option("--number", metavar="+1...", help="The rollout of this number.")] = None,
    every: All = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the rollback is ordered; do not wait for the read-back.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the read-back.")] = 60.0,
    reason: Reason = "",
    request_id: RequestId = None,
    json: Json = False,
) -> None:
    """Write every baseline back, now. Works beside a running service, and without one."""
    if sum((id is not None, number is not None, every)) != 1:
        raise InputError("rollback: write one of: a rollout's id, --number +1..., or --all")
    with backend() as service:
        # What moves callers goes first, what is only scheduled last.
        line = _Line(service, sorted(service.list(live=True), key=_waits) if every else [])
        # Every order is committed before the first one is waited for.
        for one in line.live:
            line.order(one, lambda asked: service.rollback(asked, by(reason, request_id).each(asked)))
        if not every:
            asked = id if id is not None else service.on_number(str(number))
            line.answers.append(service.rollback(asked, by(reason, request_id)))
        if not no_wait:
            with waiting("writing the baselines back"):
                _follow(service, line, timeout)
        answers, failure = line.answers, line.failure
        if json:
            print_json(answers if every else answers[0])
        else:
            for answer in answers:
                _say_rollback(answer)
            if not answers and failure is None:
                echo("nothing to roll back: no rollout is live")
        if answers:
            say_if_nobody_works(service, *(answer["phase"] for answer in answers))
        if failure is not None:
            raise failure


def _follow(service: Backend, line: _Line, timeout: float) -> None:
    """Wait for the read-back of each rollback; the failure of one does not keep the others from being followed."""
    for answer in line.answers:
        id_ = str(answer["id"])
        try:
            answer |= service.follow_rollback(id_, timeout)
        except Interrupted:
            raise Interrupted(
                "the rollback is ordered, and a running service carries it out; without one: "
                f"rollout rollback {answer['id']}"
            ) from None
        except RolloutError as error:
            line.failure = error
            if len(line.answers) > 1:  # one failure alone is the command's, and told as that
                echo(f"{id_}: {plain_lines(error.message)}", err=True)
        except Exception as error:  # noqa: BLE001 - the other rollbacks are followed all the same
            line.failure = RolloutError(f"{id_}: {unexpected(error)}; the rollback is ordered")
            echo(line.failure.message, err=True)


def _say_rollback(answer: dict[str, Any]) -> None:
    if answer.get("scheduled"):
        echo(f"{answer['id']}: {plain(answer['name'])}, {answer['scheduled']}, will not start ({answer['phase']})")
        return
    seconds = answer.get("seconds")
    restored = [t for t in answer.get("targets", []) if t["state"] == "restored"]
    count = f"{len(restored)} number{'' if len(restored) == 1 else 's'}"
    if seconds is None or "targets" not in answer:
        echo(f"{answer['id']}: {answer['phase']}")
        return
    echo(f"{answer['id']}: {count} read back at the baseline {seconds:.3f} s after the order ({answer['phase']})")
    for t in answer["targets"]:
        if t["state"] in ("missing", "foreign"):
            echo(f"  {t['number']}: {t['state']}")
    if answer["phase"] == "rolling_back":
        echo("  a write with an unknown outcome may still land; the service watches until it no longer can")
