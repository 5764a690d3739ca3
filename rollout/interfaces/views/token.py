"""The JSON of a token, without its secret parts; the command line and the API show the same."""

from __future__ import annotations

from typing import Any

from rollout.adapters.store.tokens import TokenRow
from rollout.interfaces.views.rollout import when


def token(row: TokenRow) -> dict[str, Any]:
    """A token's owner, what it may do, and its times in UTC."""
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "numbers": None if row.numbers is None else list(row.numbers),
        "created_at": when(row.created_at),
        "created_by": row.created_by,
        "expires_at": when(row.expires_at),
        "revoked_at": when(row.revoked_at),
        "last_used_at": when(row.last_used_at),
    }
