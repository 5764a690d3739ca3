"""One phone number: what it serves now, whether a rollout wrote that, and its history across rollouts."""

from __future__ import annotations

from typing import Any

from rollout.domain.errors import InputError
from rollout.domain.phone_numbers import is_e164
from rollout.interfaces.api.routes.numbers import describe
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import formatting
from rollout.interfaces.dashboard.account_page import drifted
from rollout.interfaces.dashboard.page_state import PageState


def page(page_state: PageState, caller: Caller, number: str, fresh: bool) -> dict[str, Any]:
    """Everything the number's page shows; `fresh` reads it from Retell now (NotReachable when that fails)."""
    if not is_e164(number):
        raise InputError("number: write E.164, a plus and digits, for example +14157774444")
    found = describe(page_state.service, caller, number, fresh)
    newest = next((s for s in found["rollouts"] if s["written"]), None)
    driving = (found["driven_by"] or {}).get("id", "")
    return {
        "number": number,
        "found": found,
        "seen_at": formatting.parse_time(found["seen_at"]),
        "fresh": fresh,
        "drift": _drift(found, newest),
        "newest": newest,
        "driver": next((s["name"] for s in found["rollouts"] if s["id"] == driving), driving),
        "now": page_state.service.app.store.now(),
        "stays": [
            {**s, "created": formatting.parse_time(s["created_at"]), "seen": formatting.parse_time(s["live_at"])}
            for s in found["rollouts"]
        ],
    }


def _drift(found: dict[str, Any], newest: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The channels in which the number shows something else than the newest rollout left there."""
    if newest is None or not found["serves"]:
        return []
    left = newest["baseline"] if newest["phase"] == "rolled_back" else newest["confirmed"]
    return [
        {"channel": field, "ours": left[field], "live": found["serves"].get(field)}
        for field in drifted(found["serves"], left)
    ]
