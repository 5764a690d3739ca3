"""One command for many rollouts at once: which ones it touches, and the orders, each recorded by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rollout.domain.errors import InputError, RolloutError
from rollout.domain.lifecycle.commands import By, parse_position
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.auth.roles import Caller

CHOSEN = "at-"  # and the id: the form's field for one rollout, with the position that the reader saw
_TOUCHED: Mapping[str, frozenset[Phase]] = {
    "pause": frozenset({Phase.PENDING, Phase.PROGRESSING}),
    "resume": frozenset({Phase.PAUSED}),
    "rollback": frozenset({Phase.PENDING, Phase.PROGRESSING, Phase.PAUSED, Phase.HELD}),
}


class BulkCommand(StrEnum):
    """The commands that many rollouts can be given at once."""

    PAUSE = "pause"
    RESUME = "resume"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """The outcome of the order for one rollout; `trouble` says why nothing was changed, "" if it was done."""

    id: str
    name: str
    phase: str
    trouble: str = ""


def touches(command: BulkCommand, r: Rollout) -> bool:
    """True if the command changes anything in the phase that this rollout is in."""
    return r.phase in _TOUCHED[command]


def chosen(form: Mapping[str, str]) -> dict[str, str]:
    """rollout id -> the position that the reader saw, as WAVE.STEP; InputError when none is chosen."""
    found = {name.removeprefix(CHOSEN): value for name, value in form.items() if name.startswith(CHOSEN)}
    if not found:
        raise InputError("rollouts: choose at least one")
    return found


def order(
    service: ApiService, caller: Caller, command: BulkCommand, by: By, form: Mapping[str, str]
) -> list[BulkAnswer]:
    """Give every chosen rollout the command, even if others fail; started ones go before scheduled ones.

    InputError when none is chosen; then nothing is changed.
    """
    places = chosen(form)
    live = {r.id: r for r in service.live(caller)}

    def give(id_: str) -> BulkAnswer:
        r = live.get(id_)
        name = id_ if r is None else r.name
        try:
            # A rollback asks for nothing that it could be refused for.
            more = {} if command is BulkCommand.ROLLBACK else {"expect": parse_position(places[id_])}
            answer = service.command(caller, str(command), id_, by.each(id_), **more)
        except RolloutError as error:
            return BulkAnswer(id_, name, "" if r is None else str(r.phase), error.message)
        return BulkAnswer(id_, name, str(answer.phase))

    return [give(id_) for id_ in sorted(places, key=lambda i: i in live and live[i].phase is Phase.PENDING)]
