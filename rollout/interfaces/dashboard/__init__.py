"""The page: server-rendered, with charts drawn on the server. `routes` makes its router."""

from __future__ import annotations

from rollout.interfaces.dashboard.routes import routes

__all__ = ["routes"]
