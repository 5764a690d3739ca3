"""Request ids: a repeated id returns the first answer, and an id used for something else is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from rollout.adapters.store.tables import requests
from rollout.domain.errors import Refused
from rollout.domain.lifecycle.records import Request


def first_answer(connection: Connection, request: Request) -> dict[str, Any] | None:
    """The answer this request id was given before; Refused when it was used for another command."""
    row = connection.execute(
        select(requests).where(requests.c.actor == request.actor, requests.c.request_id == request.id)
    ).one_or_none()
    if row is None:
        return None
    if row.digest != request.digest:
        raise Refused(
            f"the request id {request.id} was already used for a different request ({row.command}); use a new id"
        )
    answer: dict[str, Any] = row.answer
    return answer


def remember(
    connection: Connection, request: Request, rollout_id: str | None, answer: dict[str, Any], now: datetime
) -> None:
    """Keep the answer, in the same transaction as what it answers."""
    connection.execute(
        insert(requests),
        {
            "actor": request.actor,
            "request_id": request.id,
            "command": request.command,
            "digest": request.digest,
            "rollout_id": rollout_id,
            "answer": answer,
            "at": now,
        },
    )
