"""The HTTP API: routes, tokens, streams, hooks and limits."""

from __future__ import annotations

from rollout.interfaces.api.factory import make_api
from rollout.interfaces.api.middleware import refuse_unsafe_bind

__all__ = ["make_api", "refuse_unsafe_bind"]
