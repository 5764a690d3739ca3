"""Lists of rollouts: which ones fit, and in which order; the command line and the page share both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.waiting import WaitingFor


class ListOrder(StrEnum):
    """The order of a list."""

    CREATED = "created"
    UPDATED = "updated"
    DUE = "due"
    NAME = "name"
    PHASE = "phase"
    WEIGHT = "weight"


# First the rollouts that need a person, then those that roll back, then those that progress, and last the ended ones.
PHASE_ORDER = (
    Phase.HELD,
    Phase.ROLLING_BACK,
    Phase.PAUSED,
    Phase.PROGRESSING,
    Phase.PENDING,
    Phase.PROMOTED,
    Phase.ROLLED_BACK,
    Phase.STOPPED,
)
_PLACES = {str(phase): place for place, phase in enumerate(PHASE_ORDER)}


def _changed(r: Mapping[str, Any]) -> float:
    return -datetime.fromisoformat(r["updated_at"]).timestamp()


# Keys for the summaries of `views.rollout`, in lists that are newest first, and stay so where these are equal.
ORDERS: Mapping[ListOrder, Callable[[Mapping[str, Any]], Any]] = {
    ListOrder.CREATED: lambda _: 0,
    ListOrder.UPDATED: _changed,
    ListOrder.DUE: lambda r: (r["due_at"] is None, datetime.fromisoformat(r["due_at"] or r["created_at"])),
    ListOrder.NAME: lambda r: r["name"].casefold(),
    ListOrder.PHASE: lambda r: (_PLACES[r["phase"]], r["waiting_for"] != WaitingFor.APPROVAL, _changed(r)),
    ListOrder.WEIGHT: lambda r: -r["weight"],
}


def fits(r: Mapping[str, Any], phases: Collection[str] | None, agent: str | None) -> bool:
    """True if a summary is in one of these phases and tries this agent, written ID or ID:VERSION; None: any."""
    if phases and r["phase"] not in phases:
        return False
    if agent is None:
        return True
    tried = {f"{a['agent_id']}{version}" for a in r["agents"] for version in ("", f":{a['agent_version']}")}
    return agent in tried
