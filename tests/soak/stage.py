"""A sandbox, a database, and `rollout serve` on them as a process: what a soak acts on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.interfaces.auth.roles import create_token
from rollout.sandbox import Sandbox
from tests.support.service import service

AGENT = "agent_frontdesk"
KEY = "key_of_a_soak"
# The bounds of the protocol, scaled down together, so that a rollout ends within half a minute.
BOUNDS = {
    "ROLLOUT_SEND_WINDOW": "1",
    "ROLLOUT_REQUEST_DEADLINE": "5",
    "ROLLOUT_LEASE": "15",
    "ROLLOUT_PROVIDER_IDLE": "3",
    "ROLLOUT_PROVIDER_APPLY": "2",
    "ROLLOUT_HORIZON_MARGIN": "2",
    # nobody is refused for asking often: every answer counts
    "ROLLOUT_READ_RATE": "1000000",
    "ROLLOUT_CHANGE_RATE": "1000000",
}


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: nothing did."""

    status: int
    body: bytes
    seconds: float
    cookie: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stage:
    """A running service; `database` is only looked at from here."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    database: Database
    sandbox: Sandbox
    token: str
    cookie: str = ""

    def ask(self, method: str, path: str, body: Any = None, *, page: bool = False) -> Answer:
        """One request on a connection of its own."""
        headers = {"Accept": "text/html"} if page else {"Authorization": f"Bearer {self.token}"}
        raw: bytes | None = None
        if page:
            headers["Cookie"] = self.cookie
            headers["Origin"] = f"http://127.0.0.1:{self.port}"
        if body is not None and page:
            raw = urlencode(body).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            raw = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, raw, headers)
            got = connection.getresponse()
            text = got.read()
            cookie = (got.getheader("Set-Cookie") or "").partition(";")[0]
            return Answer(got.status, text, time.perf_counter() - began, cookie)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, repr(error).encode(), time.perf_counter() - began)
        finally:
            connection.close()

    def sign_in(self) -> None:
        """A session for the pages."""
        self.cookie = self.ask("POST", "/sign-in", {"token": self.token}, page=True).cookie
        assert self.cookie, "no session was given"

    def memory(self) -> float:
        """MB resident of the service's process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def processor(self) -> float:
        """Seconds of processor time that the service's process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(folder: Path, url: str, port: int, retell: str) -> dict[str, str]:
    """The whole environment of a process of the product."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TZ": "UTC",
        "PYTHONPATH": str(Path.cwd()),
        **BOUNDS,
        "ROLLOUT_DATABASE_URL": url,
        "ROLLOUT_PORT": str(port),
        "ROLLOUT_KIT_DIR": str(folder / "kits"),
        "ROLLOUT_RETELL_BASE_URL": retell,
        "RETELL_API_KEY": KEY,
        "ROLLOUT_WEBHOOK_KEY": KEY,
    }


@contextlib.contextmanager
def made(folder: Path, url: str) -> Iterator[Database]:
    """The database with its schema."""
    database = Database(url, SystemClock())
    migrate.upgrade(database)
    try:
        yield database
    finally:
        database.close()


@contextlib.contextmanager
def stage(folder: Path, database: Database) -> Iterator[Stage]:
    """The service, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    _, token = create_token(Store(database), "admin", "soak", actor="tests.soak", expires=None, numbers=None)
    with Sandbox(key=KEY) as sandbox:
        sandbox.add_agent(AGENT, versions=[6, 7])
        environ = environment(folder, database.url, port, sandbox.url)
        with service(folder, environ) as running:
            made_ = Stage(folder, port, running.process, running.log, database, sandbox, token)
            made_.sign_in()
            yield made_
            running.stop(30)
