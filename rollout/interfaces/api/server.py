"""The HTTP server in a thread of its own: starts when it listens, stops within a few seconds."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import uvicorn

from rollout.app import App
from rollout.domain.calls import CallRecord
from rollout.domain.errors import NotReachable
from rollout.domain.plan.plan import Plan
from rollout.interfaces.api.factory import Pages, make_api
from rollout.interfaces.api.http_protocol import Patience
from rollout.interfaces.api.middleware import refuse_unsafe_bind
from rollout.interfaces.api.service import ApiService, SchedulerState

log = structlog.get_logger(__name__)
GRACE_SECONDS = 2


def _worth_a_line(record: logging.LogRecord) -> bool:
    """False for a line of uvicorn's that only says that a client sent something other than HTTP."""
    return not str(record.msg).startswith("Invalid HTTP request received")


logging.getLogger("uvicorn.error").addFilter(_worth_a_line)


class Server:
    """uvicorn around one application."""

    def __init__(self, api: Any, host: str, port: int) -> None:
        self.service: ApiService = api.state.service
        self.api = api
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        # Without the graceful time-out an open event stream would keep the process alive.
        config = uvicorn.Config(
            api,
            http=Patience().protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=512,
        )
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """The address that it listens on."""
        return f"http://{self._at}"

    @property
    def _at(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self) -> Server:
        """Listen; return when requests are answered. NotReachable when the port cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; without, answers wait 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            listening.listen(512)
        except OSError as error:
            listening.close()
            raise NotReachable(f"cannot listen on {self._at}: {error.strerror}; choose another ROLLOUT_PORT") from None
        self._socket, self.port = listening, listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="http", daemon=True)
        self._thread.start()
        clock = self.service.app.clock
        while not self._server.started and self._thread.is_alive():
            clock.sleep(0.01)
        if not self._server.started:
            raise NotReachable(f"the HTTP server did not start on {self._at}")
        log.info("listening", url=self.url)
        return self

    def stop(self, seconds: float = 5.0) -> None:
        """Take nothing new, end event streams, let requests end for two seconds, then leave."""
        self.service.stopping = True
        self.service.hub.stop()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                log.warning("the HTTP server did not stop in time", seconds=seconds)
        self.service.stop()
        if self._socket is not None:
            self._socket.close()


def run_server(  # noqa: PLR0913 - what the service adds to the API, each given by its name
    app: App,
    scheduler: SchedulerState | None,
    host: str | None = None,
    port: int | None = None,
    *,
    observe: Callable[[Sequence[CallRecord]], None] | None = None,
    metrics: Callable[[], bytes] | None = None,
    rehearse: Callable[[Plan], dict[str, Any]] | None = None,
    pages: Pages | None = None,
) -> Server:
    """A server that is ready to `start()`; `stop()` ends it. SettingsError for an unsafe address.

    host and port default to the settings'; port 0 takes a free one (`server.port`).
    """
    host = app.settings.host if host is None else host
    port = app.settings.port if port is None else port
    refuse_unsafe_bind(app.settings, app.store, host)
    names = [host] if host else []
    api = make_api(app, scheduler, observe=observe, metrics=metrics, rehearse=rehearse, hosts=names, pages=pages)
    return Server(api, host, port)
