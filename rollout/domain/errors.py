"""Every error the product raises on purpose. The docstring is the default message.

`exit_code` is the contract of the command line: 2 the input is wrong, 3 refused by the state,
by drift or by pre-flight, 4 Retell, database or service not reachable, 1 unexpected.
`status` is the HTTP status that the API answers with.
"""

from __future__ import annotations

from typing import Any, Self


class RolloutError(Exception):
    """Something went wrong."""

    exit_code = 1
    status = 500

    def __init__(self, message: str | None = None, **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.details = details

    @property
    def message(self) -> str:
        return str(self.args[0])


class InputError(RolloutError):
    """The input is wrong."""

    exit_code = 2
    status = 422


class PlanError(InputError):
    """The plan is not valid."""


class SplitError(InputError):
    """The weights cannot be written as a split."""


class SettingsError(InputError):
    """A setting is wrong."""


class UnknownRollout(InputError):
    """There is no rollout with this id."""

    status = 404

    @classmethod
    def called(cls, text: str) -> Self:
        """For an id or a name that nothing has."""
        return cls(f"there is no rollout {text}; `rollout list` shows them", id=text)


class Refused(RolloutError):
    """The rollout's state does not allow this."""

    exit_code = 3
    status = 409


class NameTaken(Refused):
    """A live rollout has this name."""


class AmbiguousName(Refused):
    """Several live rollouts have this name."""


class StaleExpectation(Refused):
    """The rollout has moved on since you looked."""


class ClaimLost(Refused):
    """Another process or a command took the rollout over: nothing was recorded."""


class PreflightRefused(Refused):
    """Pre-flight found a reason not to start."""

    status = 422


class SchemaRefused(Refused):
    """The database has an old or unknown schema; run: rollout db upgrade."""

    status = 503


class IllegalTransition(Refused):
    """There is no such transition."""


class NotReachable(RolloutError):
    """Retell, the database or the service cannot be reached."""

    exit_code = 4
    status = 503


class KeyRefused(NotReachable):
    """Retell refuses the API key."""


class NoDatabase(NotReachable):
    """There is no database where the address says."""


class DatabaseReplaced(NotReachable):
    """The database is not the one that this process began with: what it has open is lost when it stops."""


class DiskFull(NotReachable):
    """The disk of the database is full."""


class Unauthenticated(RolloutError):
    """A token is needed here."""

    exit_code = 4
    status = 401


class Forbidden(RolloutError):
    """The token's role does not allow this."""

    exit_code = 3
    status = 403


class NotPromoted(RolloutError):
    """The rollout did not end as promoted."""

    exit_code = 5
