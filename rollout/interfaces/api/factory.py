"""The application: routes, middleware, errors, and the API's description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rollout.app import App
from rollout.domain.calls import CallRecord
from rollout.domain.plan.plan import Plan
from rollout.domain.version import __version__
from rollout.interfaces.api import problems
from rollout.interfaces.api.answers import ProblemDocument
from rollout.interfaces.api.middleware import Middleware
from rollout.interfaces.api.routes import commands, hooks, numbers, plans, rollouts, system, tokens
from rollout.interfaces.api.service import ApiService, SchedulerState

_ABOUT = """\
Moves live callers step by step from one version of a Retell voice agent to another, and back.

Every change takes `reason`, `expect` (the position you saw) and a request id (`Idempotency-Key`): the same id
gives the first answer again. A conflict is 409 and has the rollout's state. Errors are RFC 9457
documents. Times are ISO 8601 in UTC, durations seconds, weights 0..1.
"""


Pages = Callable[[App, ApiService], Sequence[BaseRoute]]


class Api(FastAPI):
    """The application with the middleware outside of everything, also of what the framework puts around itself."""

    outermost: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self.outermost(scope, receive, send)

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application behind the middleware."""
        await super().__call__(scope, receive, send)


def make_api(
    app: App,
    scheduler_state: SchedulerState | None = None,
    *,
    observe: Callable[[Sequence[CallRecord]], None] | None = None,
    metrics: Callable[[], bytes] | None = None,
    rehearse: Callable[[Plan], dict[str, Any]] | None = None,
    hosts: Iterable[str] = (),
    pages: Pages | None = None,
) -> FastAPI:
    """The HTTP side of one process.

    observe: takes calls that webhooks told of. metrics: Prometheus text. rehearse: plays a plan.
    hosts: more names that the Host header may have, beside the settings' and loopback's. pages: the web page's
    routes, served beside the API.
    `api.state.service` is the Service; call its `stop()` at the end.
    """
    service = ApiService(app, scheduler_state, observe, metrics, rehearse)
    api = Api(
        title="rollout",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.service = service
    api.state.checks = system.Checks(service)
    for part in (system, rollouts, commands, plans, tokens, numbers, hooks):
        api.router.routes.extend(part.router.routes)  # flat: the route table is walked by tests and by 405
    if pages is not None:
        api.router.routes.extend(pages(app, service))
    problems.install(api)
    own = [app.settings.host, *app.settings.allowed_hosts, *hosts]
    names = [h for h in own if h not in ("", "0.0.0.0", "::")]  # noqa: S104 - names, not a bind
    api.outermost = Middleware(
        api.inside, hosts=names, secure=app.settings.behind_tls_proxy, root=app.settings.root_path
    )
    api.openapi = lambda: _describe(api)  # type: ignore[method-assign]  # FastAPI's documentation extends it so
    return api


def _describe(api: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of every route that is not the page's."""
    if api.openapi_schema:
        return api.openapi_schema
    document = get_openapi(
        title=api.title,
        version=api.version,
        description=api.description,
        routes=[r for r in api.routes if getattr(r, "right", None) is not None],
        tags=[
            {"name": "rollouts", "description": "The state of rollouts, and starting one."},
            {"name": "commands", "description": "Commands to a rollout."},
            {"name": "plans", "description": "Check and rehearse plans before you start them."},
            {"name": "numbers", "description": "Phone numbers across rollouts."},
            {"name": "tokens", "description": "API tokens and their roles."},
            {"name": "hooks", "description": "Alerts and Retell's webhooks."},
            {"name": "service", "description": "Health, readiness, metrics."},
        ],
    )
    if root := api.state.service.app.settings.root_path:
        document["servers"] = [{"url": root}]
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas[ProblemDocument.__name__] = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "rlt_ and 43 characters; made by `rollout token create` or POST /api/v1/tokens. Roles: viewer < "
            "responder (pause, rollback) < operator < admin, and trigger (alert hooks). While no token exists, "
            "loopback may read.",
        }
    }
    for path in document["paths"].values():
        for operation in path.values():
            for key in ("x-pool", "x-body", "x-limited"):
                operation.pop(key, None)
    api.openapi_schema = document
    return document
