"""A command's answer as JSON: one document on standard output, of which a failure is a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollout.interfaces.cli.screen import echo, json_text

_found: list[Any] = []  # by the command of this process, which prints it when it has ended


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """A failure for programs; `message` is what standard error says, `hint` what to do about it."""

    code: str
    message: str
    hint: str
    exit_code: int


def print_json(value: Any) -> None:
    """Print the stable machine form when the command has ended: with its error if it fails after all."""
    _found.append(value)


def say_where(command: str, answer: dict[str, Any], as_json: bool) -> None:
    """Print where a rollout stands after a command."""
    if as_json:
        print_json(answer)
        return
    at = answer["position"]
    echo(f"{answer['id']}: {command}: {answer['phase']} at {at['wave']}.{at['step']}")


def finish(failure: CommandFailure | None, as_json: bool) -> None:
    """Print what the command has found. With --json a failure is `error` in it: {"code", "message", "hint"}.

    A list that cannot hold it becomes `items` beside it.
    """
    found, there = (_found[-1], True) if _found else (None, False)
    _found.clear()
    if failure is not None and as_json:
        beside = {} if not there else found if isinstance(found, dict) else {"items": found}
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        found, there = {**beside, "error": error}, True
    if there:
        echo(json_text(found))
