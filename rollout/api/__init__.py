"""The HTTP API: routes, tokens, streams, hooks, and the doors that stay shut."""

from __future__ import annotations

from rollout.api.doors import refuse_unsafe_bind
from rollout.api.factory import make_api

__all__ = ["make_api", "refuse_unsafe_bind"]
