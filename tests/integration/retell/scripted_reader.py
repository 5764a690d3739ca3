"""A reader of Retell for the tests: answers by path, and a record of what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollout.adapters.retell.request import RequestSpec, unusable
from rollout.adapters.retell.wire import AnswerError
from rollout.domain.writes.answers import Failure, Trouble

GONE = Failure(Trouble.REJECTED, "Retell answered 404", 404)


def failure(status: int | None, trouble: Trouble = Trouble.UNREACHABLE) -> Failure:
    """The failure of a request that was answered so."""
    return Failure(trouble, f"Retell answered {status}", status)


class ScriptedReader:
    """Stands for `Reader`. A list of answers is given out one by one; a path without an answer is a 404."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[RequestSpec] = []
        self.within: list[float] = []
        self.urgent: list[bool] = []

    @property
    def paths(self) -> list[str]:
        return [ask.path for ask in self.asked]

    def ask(self, ask: RequestSpec, parse: Callable[[Any], Any], *, within: float, urgent: bool = False) -> Any:
        self.asked.append(ask)
        self.within.append(within)
        self.urgent.append(urgent)
        found = self.answers.get(ask.path, GONE)
        if isinstance(found, Answers):
            found = found.pop(0)
        try:
            return found if isinstance(found, Failure) else parse(found)
        except AnswerError as error:
            return unusable(error, write=ask.once)


class Answers(list[Any]):
    """Answers to one path, the first first."""
