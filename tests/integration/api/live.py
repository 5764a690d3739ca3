"""A real service on a free port, with the sandbox behind it, and a client that is a plain socket."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.scheduler import Scheduler
from rollout.adapters.store import migrate
from rollout.app import App, build
from rollout.domain.calls import CallRecord
from rollout.interfaces import dashboard
from rollout.interfaces.api.server import Server, run_server
from rollout.interfaces.auth.roles import create_token
from rollout.sandbox import Sandbox
from rollout.settings import Settings

AGENT = "agent_frontdesk"
_numbers = itertools.count(1000)
_names = itertools.count(1)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Live:
    """A running service."""

    app: App
    server: Server
    sandbox: Sandbox
    scheduler: Scheduler | None
    tokens: dict[str, str]
    seen: list[CallRecord]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "admin",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request on a connection of its own. `token` is a role's name, a token, or None."""
        sent = {}
        if token is not None:
            sent["Authorization"] = f"Bearer {self.tokens.get(token, token)}"
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent["Content-Type"] = "application/json"
        sent |= dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)
        try:
            connection.request(method, path, raw, sent)
            got = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in got.getheaders():
                known = found.get(name.lower())
                found[name.lower()] = value if known is None else f"{known}\n{value}"
            return Answer(got.status, found, got.read())
        finally:
            connection.close()

    def number(self) -> str:
        """A new number that serves version 6."""
        number = f"+1415888{next(_numbers)}"
        self.sandbox.add_number(number, inbound_agents=[{"agent_id": AGENT, "agent_version": 6, "weight": 1}])
        return number

    def plan(self, *numbers: str, name: str | None = None, **more: Any) -> dict[str, Any]:
        """A plan under a name of its own."""
        return {
            "version": 1,
            "name": name or f"frontdesk-{next(_names)}",
            "numbers": list(numbers) or [self.number()],
            "channels": ["inbound"],
            "canary": {"agent_id": AGENT, "agent_version": 7},
            "steps": [{"weight": 0.1, "hold": "1h"}, {"weight": 0.5, "hold": "1h"}, {"weight": 1.0, "hold": "1d"}],
            "gates": [],
            **more,
        }

    def start(self, *numbers: str, confirmed: bool = True, **more: Any) -> str:
        """A rollout's id; its first step is confirmed."""
        answer = self.ask("POST", "/api/v1/rollouts", {"plan": self.plan(*numbers, **more)})
        assert answer.status == 201, answer.raw
        id_: str = answer.json["id"]
        if confirmed:
            self.until(lambda: self.show(id_).get("confirmed_at"))
        return id_

    def show(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/api/v1/rollouts/{id_}").json
        return found

    def served(self, number: str) -> list[tuple[int, float]]:
        """(version, weight) of what the sandbox serves on a number."""
        entries = self.sandbox.number(number).split()
        return [(e["agent_version"], e["weight"]) for e in entries]

    def until(self, look: Callable[[], Any], seconds: float = 10) -> Any:
        """Waits until it is true."""
        end = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.02)
        return found

    def token(self, role: str, **more: Any) -> tuple[str, str]:
        """(id, token)"""
        given = {"expires": None, "numbers": None, **more}
        return create_token(self.app.store, role, f"{role} of a test", actor="tests", **given)


@contextmanager
def live(
    folder: Path, *, tokens: bool = True, ticking: bool = True, page: bool = False, **settings: Any
) -> Iterator[Live]:
    """A service with one token of each role."""
    with Sandbox() as sandbox:
        sandbox.add_ready_world()
        given = Settings(
            **{
                "database_url": f"sqlite:///{folder}/rollout.db",
                "retell_api_key": "key_of_the_tests",
                "retell_base_url": sandbox.url,
                "tick_seconds": 0.2,
                "provider_idle": 1,
                "provider_apply": 0.5,
                "horizon_margin": 0.5,
                "request_deadline": 1,
                "send_window": 0.5,
                "lease": 3,
                **settings,
            }
        )
        app = build(given)
        migrate.upgrade(app.database)
        scheduler = Scheduler(app) if ticking else None
        if scheduler is not None:
            scheduler.start()
        seen: list[CallRecord] = []
        server = run_server(
            app,
            scheduler,
            "127.0.0.1",
            0,
            observe=seen.extend,
            metrics=lambda: b"rollout_up 1\n",
            rehearse=lambda plan: {"line": f"a plan of {len(plan.steps)} steps"},
            pages=dashboard.pages if page or "oidc_issuer" in settings else None,
        )
        server.start()
        found = Live(app, server, sandbox, scheduler, {}, seen)
        try:
            if tokens:
                for role in ("viewer", "responder", "operator", "admin", "trigger"):
                    found.tokens[role] = found.token(role)[1]
            yield found
        finally:
            server.stop()
            if scheduler is not None:
                scheduler.stop()
            app.close()
