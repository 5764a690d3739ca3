"""Handling of an alert: find the live rollouts that it concerns, and give each the command once."""

from __future__ import annotations

import hashlib
from typing import Any

from rollout.domain.errors import NotReachable, RolloutError
from rollout.domain.incoming import alerts
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.notices import Reaction
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.auth.roles import Caller


def take(service: ApiService, caller: Caller, source: str, document: object) -> dict[str, Any]:
    """Act on one delivery and tell what was done.

    InputError when the body is not understood. NotReachable when something could not be recorded: the
    sender tries again, and what was done already is not done twice, by its request id.
    """
    found = alerts.read(source, document)
    concerned: list[tuple[Rollout, list[str]]] | None = None
    done: list[dict[str, Any]] = []
    for alert in found:
        if concerned is None:
            concerned = _candidates(service, caller)
        for rollout, numbers in concerned:
            action = alerts.reaction(rollout.plan.alerts, numbers, alert)
            if action is not None:
                answer = _act(service, caller, rollout, action, alert)
                done.append(
                    {"rollout": rollout.id, "name": rollout.name, "alert": alert.name, "action": str(action), **answer}
                )
    if found and not done:
        first = found[0]
        data = {"source": source, "blind": sum(alert.is_blind for alert in found)}
        service.note("alert_passed_over", caller.actor, first.name, first.key, data)
    return {"alerts": len(found), "done": done}


def _candidates(service: ApiService, caller: Caller) -> list[tuple[Rollout, list[str]]]:
    """Live rollouts that listen to alerts and are this caller's business, with their numbers."""
    listening = [r for r in service.live(caller) if r.plan.alerts]
    numbers = service.queries.numbers([r.id for r in listening])
    return [(r, numbers.get(r.id) or service.numbers_of(r)) for r in listening]


def _act(
    service: ApiService, caller: Caller, rollout: Rollout, action: Reaction, alert: alerts.Alert
) -> dict[str, Any]:
    digest = _digest(alert, rollout.id)
    if alert.status == alerts.RESOLVED:
        if not alert.lasting:
            service.access.forget([digest])  # the next occurrence has the same name, and must act again
        return {"done": False, "why": "it is resolved"}
    if alert.status != alerts.FIRING:
        return {"done": False, "why": "it is neither firing nor resolved"}
    if service.access.known([digest]):
        return {"done": False, "why": "it was already handled"}
    named = "alert" if alert.name == alerts.UNNAMED else f"alert {alert.name}"
    reason = alerts.clean(f"{named} ({alert.source}): {alert.summary or alert.name}", 500)
    # Some tools name no occurrence, so names repeat: the request id then has the time of this one.
    moment = "" if alert.lasting else service.app.store.now().isoformat()
    request_id = "alert-" + hashlib.sha256(f"{digest}{moment}".encode()).hexdigest()[:40]
    by = By(caller.actor, reason, request_id, alerts.clean(alert.name, 200))
    try:
        if action is Reaction.ROLLBACK:
            service.app.commands.rollback(rollout.id, by)
            service.followers.follow(rollout.id)
        else:
            service.app.commands.pause(rollout.id, by)
    except NotReachable:
        raise
    except RolloutError as error:
        return {"done": False, "why": error.message}
    # After the act: a crash in between makes it act again, under the same request id, which does nothing.
    service.access.remember([digest])
    return {"done": True, "why": reason}


def _digest(alert: alerts.Alert, rollout_id: str) -> str:
    text = "\n".join((alert.source, alert.key, rollout_id))
    return "a" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:63]
