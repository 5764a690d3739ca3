"""A real service on a free port with a store, a scheduler and the sandbox, and a client that is a plain socket."""

from __future__ import annotations

import http.client
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page
from pydantic import SecretStr

from jobs.scheduler import Scheduler
from rollout.adapters.store import migrate
from rollout.app import App, build
from rollout.domain.lifecycle.commands import By
from rollout.domain.plan.plan import Plan
from rollout.engine.rehearse import rehearse
from rollout.interfaces import dashboard
from rollout.interfaces.api.server import Server, run_server
from rollout.interfaces.auth.roles import create_token
from rollout.sandbox import Sandbox
from rollout.settings import Settings

AGENT = "agent_frontdesk"
ROLES = ("viewer", "responder", "operator", "admin")
STEPS = [{"weight": 0.1, "hold": "1h"}, {"weight": 0.5, "hold": "1h"}, {"weight": 1.0, "hold": "1d"}]
_counter = itertools.count(2000)
_names = itertools.count(1)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.text)
        assert found is not None, self.text[:500]
        return found[1]


@dataclass
class World:
    """A running service."""

    app: App
    sandbox: Sandbox
    scheduler: Scheduler | None
    server: Server
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    # -------------------------------------------------------------- as a browser without JavaScript

    def ask(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        cookie: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; a form is sent as this site's own pages send it. A header that is None is left out."""
        sent: dict[str, str | None] = {}
        body = None
        if method == "POST":
            body = urlencode(form or {})
            sent = {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": self.url,
                "Sec-Fetch-Site": "same-origin",
            }
        if cookie:
            sent["Cookie"] = cookie
        sent |= dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, body, {k: v for k, v in sent.items() if v is not None})
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode())
        finally:
            connection.close()

    def session(self, role: str) -> str:
        """A session cookie of this role; the same one whenever it is asked for."""
        if role not in self.sessions:
            self.sessions[role] = self.new_session(role)
        return self.sessions[role]

    def new_session(self, role: str) -> str:
        answer = self.ask("POST", "/sign-in", {"token": self.tokens[role]})
        assert answer.status == 303, answer.text
        return answer.headers["set-cookie"].partition(";")[0]

    # -------------------------------------------------------------- as a browser

    def sign_in(self, page: Page, role: str) -> None:
        """Gives the browser a session without the way over the form, which has a test of its own."""
        name, _, value = self.session(role).partition("=")
        cookie = {"name": name, "value": value, "url": self.url, "httpOnly": True, "sameSite": "Strict"}
        page.context.add_cookies([cookie])

    # -------------------------------------------------------------- rollouts

    def number(self, version: int = 6) -> str:
        """A new number that serves this version."""
        number = f"+1415999{next(_counter)}"
        entry = {"agent_id": AGENT, "agent_version": version, "weight": 1}
        self.sandbox.add_number(number, inbound_agents=[entry], nickname="Front desk")
        return number

    def plan(self, *numbers: str, **more: Any) -> dict[str, Any]:
        return {
            "version": 1,
            "name": f"frontdesk-v7-{next(_names)}",
            "numbers": list(numbers) or [self.number()],
            "channels": ["inbound"],
            "canary": {"agent_id": AGENT, "agent_version": 7},
            "steps": STEPS,
            "gates": [],
            **more,
        }

    def start(self, *numbers: str, **more: Any) -> str:
        """A rollout's id; its first step is confirmed."""
        plan = Plan.model_validate(self.plan(*numbers, **more))
        id_ = self.app.commands.start(plan, By("cli:test", "a test starts it")).id
        self.until(lambda: self.app.store.load(id_)[0].confirmed_at)
        return id_

    def phase(self, id_: str) -> str:
        return str(self.app.store.load(id_)[0].phase)

    def position(self, id_: str) -> str:
        return str(self.app.store.load(id_)[0].position)

    def served(self, number: str) -> list[tuple[int, float]]:
        """(version, weight) of what Retell would serve on a number."""
        return [(e["agent_version"], e["weight"]) for e in self.sandbox.number(number).inbound_agents or []]

    def reasons(self, id_: str, kind: str) -> list[tuple[str, str]]:
        """(actor, reason) of every entry of this kind in the journal."""
        return [(e.actor, e.reason) for e in self.app.store.history(id_) if e.kind == kind]

    def until(self, look: Callable[[], Any], seconds: float = 20) -> Any:
        """Waits until it is true."""
        end = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.02)
        return found

    # -------------------------------------------------------------- the service goes and comes

    def go(self) -> None:
        """The HTTP side goes away; the port is free."""
        self.server.stop()

    def come(self) -> None:
        """It is back, at the same address."""
        self.server = _server(self.app, self.scheduler, self.server.port)


def _server(app: App, scheduler: Scheduler | None, port: int) -> Server:
    return run_server(
        app,
        scheduler,
        "127.0.0.1",
        port,
        rehearse=lambda plan: rehearse(plan, 200.0, calendars=app.calendars, now=app.store.now(), runs=20),
        pages=dashboard.pages,
    ).start()


@contextmanager
def world(folder: Path, *, tokens: bool = True, ticking: bool = True, root_path: str = "") -> Iterator[World]:
    """A service, by default with one token of each role and a scheduler."""
    with Sandbox() as sandbox:
        sandbox.add_agent(AGENT, [6, 7, 8])
        settings = Settings(
            database_url=f"sqlite:///{folder / 'rollout.db'}",
            retell_api_key=SecretStr("key_of_a_test"),
            retell_base_url=sandbox.url,
            tick_seconds=0.05,
            observe_seconds=5,
            watch_seconds=0.3,
            drift_seconds=0.5,
            read_rate=10_000,  # a file of tests asks with one token for each role, as fast as it can,
            change_rate=10_000,  # for the pages that confirm a command, too
            root_path=root_path,
            send_window=0.9,
            request_deadline=1.5,
            lease=3,
            provider_idle=1,
            provider_apply=0.5,
            horizon_margin=0.5,
        )
        app = build(settings)
        migrate.upgrade(app.database)
        scheduler = Scheduler(app) if ticking else None
        if scheduler is not None:
            scheduler.start()
        found = World(app, sandbox, scheduler, _server(app, scheduler, 0))
        try:
            for role in ROLES if tokens else ():
                found.tokens[role] = create_token(app.store, role, f"{role} of a test", None, None, "cli:test")[1]
            yield found
        finally:
            found.server.stop()
            if scheduler is not None:
                scheduler.stop()
            app.close()
