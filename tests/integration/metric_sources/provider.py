"""A server of metrics on this machine that answers, is slow, misbehaves or is gone, as the test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rollout.adapters.metric_sources.poller import ExternalMetrics

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Provider:
    """Listens on a free port of 127.0.0.1; keeps the requests it saw. It may stop, and come back on its port."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.behaviour: Behaviour = says({"value": 0.01})
        self.port = 0
        self._tls = tls
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.seen.append(self.path)
                provider.headers.append({k.lower(): v for k, v in self.headers.items()})
                try:
                    provider.behaviour(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self._tls is not None:
            sock = self._server.socket
            self._server.socket = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def says(body: Any, status: int = 200, **headers: str) -> Behaviour:
    """This answer; text and bytes go as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content_length": str(len(data)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return behave


def sample(value: str, kind: str = "vector") -> dict[str, Any]:
    """An instant query's answer with one number."""
    pair = [1_700_000_000.1, value]
    result = pair if kind == "scalar" else [{"metric": {}, "value": pair}]
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def waits(gate: threading.Event, then: Behaviour) -> Behaviour:
    """Answers only when the test opens the gate."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        gate.wait(10)
        then(request)

    return behave


def drips(request: BaseHTTPRequestHandler) -> None:
    """A good answer, one byte every 20 ms: each byte is in time, the whole is not."""
    data = b'HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{"value": 1' + b" " * 388 + b"}"
    pause = threading.Event()
    for byte in data:
        request.wfile.write(bytes([byte]))
        pause.wait(0.02)


def last_trouble(externals: ExternalMetrics, metric: str) -> str | None:
    """Why the metric of this name could not be read when it was last tried; None if it could."""
    named = [kept for kept in externals._kept.values() if kept.metric == metric]
    if not named:
        return None
    last = max(named, key=lambda kept: kept.asked_at)
    return "its first read has not ended yet" if last.read_at is None else last.trouble
