"""The page: server-rendered, with charts drawn on the server. `pages` makes its routes, sign-in included."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from rollout.app import App
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.dashboard.routes import routes


def pages(app: App, service: ApiService) -> Sequence[BaseRoute]:
    """Every route of the page; with those of OpenID Connect where an issuer is set."""
    found = list(routes(app, service).routes)
    if app.settings.oidc_issuer:
        from rollout.interfaces.dashboard.sign_in.oidc_routes import make_router  # authlib is an extra

        found = [*make_router(app.settings).routes, *found]
    return found


__all__ = ["pages"]
