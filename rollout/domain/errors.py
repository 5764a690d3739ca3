"""Every error the product raises on purpose. The docstring is the default message.

`exit_code` is the contract of the command line: 2 the input is wrong, 3 refused by the state,
by drift or by pre-flight, 4 Retell, database or service not reachable, 1 unexpected.
`status` is the HTTP status that the API answers with, `hint` the next thing to do at a command line, for programs;
empty where the message has it.
"""

from __future__ import annotations

import re
from typing import Any, Self


class RolloutError(Exception):
    """Something went wrong."""

    exit_code = 1
    status = 500
    hint = ""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.details = details

    @property
    def message(self) -> str:
        return str(self.args[0])


class InputError(RolloutError):
    """The input is wrong."""

    exit_code = 2
    status = 422
    hint = "add --help to the command to see its options"


class NotWritable(InputError):
    """The file cannot be written."""

    hint = "name a file in a folder that exists, on a disk with room"

    @classmethod
    def at(cls, path: object, error: OSError) -> Self:
        return cls(f"{path}: cannot be written: {error.strerror or type(error).__name__}")


class PlanError(InputError):
    """The plan is not valid."""

    hint = "config/plan.schema.json describes every key; `rollout check PLAN` checks a plan"


class SplitError(InputError):
    """The weights cannot be written as a split."""


class SettingsError(InputError):
    """A setting is wrong."""

    hint = "`rollout doctor` shows and tests the settings"


class UnknownRollout(InputError):
    """There is no rollout with this id."""

    status = 404
    hint = "`rollout list` shows the rollouts"

    @classmethod
    def for_id(cls, text: str) -> Self:
        """For an id or a name that nothing has."""
        return cls(f"there is no rollout {text}; `rollout list` shows them", id=text)


class Refused(RolloutError):
    """The rollout's state does not allow this."""

    exit_code = 3
    status = 409
    hint = "`rollout show ID` shows its state"


class NameTaken(Refused):
    """A live rollout has this name."""

    hint = "choose another name, or wait until that rollout has ended"


class AmbiguousName(Refused):
    """Several rollouts match this name."""

    hint = "write the full id; `rollout list` shows it"


class StaleExpectation(Refused):
    """The rollout has moved on since you looked."""

    hint = "run `rollout show ID`, then repeat the command with the position it shows"


class ClaimLost(Refused):
    """Another process or a command has taken over the rollout: nothing was recorded."""


class PreflightRefused(Refused):
    """Pre-flight found a reason not to start."""

    status = 422
    hint = "`rollout check PLAN` shows every problem"


class SchemaRefused(Refused):
    """The database has an old or unknown schema; run: rollout db upgrade."""

    status = 503
    hint = "run `rollout db upgrade`"


class IllegalTransition(Refused):
    """There is no such transition."""


class NotReachable(RolloutError):
    """Retell, the database or the service cannot be reached."""

    exit_code = 4
    status = 503
    hint = "`rollout doctor` tests the database, Retell and the service"


class KeyRefused(NotReachable):
    """Retell refuses the API key."""

    hint = "set RETELL_API_KEY to a valid key"


class NoDatabase(NotReachable):
    """There is no database at this address."""

    hint = "set ROLLOUT_DATABASE_URL, or run `rollout db upgrade`"


class DatabaseReplaced(NotReachable):
    """The database was replaced while this process was running: what it still writes to the old one will be lost."""


class TransactionEnded(NotReachable):
    """The database ended a transaction in which this process stood still: nothing of it is recorded."""

    hint = "repeat the command"


class DiskFull(NotReachable):
    """The database's disk is full."""

    hint = "free space on that disk, then repeat the command"


class Unauthenticated(RolloutError):
    """A token is needed."""

    exit_code = 4
    status = 401
    hint = "set ROLLOUT_TOKEN to a token made by `rollout token create`"


class Forbidden(RolloutError):
    """The token's role does not allow this."""

    exit_code = 3
    status = 403
    hint = "use a token with another role; `rollout token create --role ROLE` creates one"


class NotPromoted(RolloutError):
    """The rollout did not end as promoted."""

    exit_code = 5
    hint = "`rollout history ID` and `rollout report ID` say why"


def code_of(error: type[RolloutError]) -> str:
    """StaleExpectation -> stale_expectation: how a program recognises the error."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).lower()
