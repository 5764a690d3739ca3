"""Failures of requests to Retell, as sentences and as errors."""

from __future__ import annotations

from rollout.domain.errors import KeyRefused, NotReachable
from rollout.domain.writes.answers import Failure


def unreachable(failure: Failure) -> str:
    """The reason that Retell could not be asked, for people."""
    if failure.key_refused:
        return f"Retell refuses the API key ({failure.status})"
    return f"Retell cannot be reached: {failure.detail}"


def not_reachable(failure: Failure) -> NotReachable:
    """The error to raise; KeyRefused for the API key."""
    kind = KeyRefused if failure.key_refused else NotReachable
    return kind(unreachable(failure))
