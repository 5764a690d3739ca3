"""A webhook service on loopback: keeps what it takes, and fails, hangs or drips when a test says so."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Receiver:
    """`taken` are the bodies it answered 200 to, `asked` counts every request, `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.taken: list[dict[str, Any]] = []
        self.hang = threading.Event()
        self.hang.set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.hang.wait(10)
                with receiver._lock:
                    receiver.asked += 1
                    status = receiver.status
                    if status == 200:
                        receiver.taken.append(body)
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.port = self._server.server_port

    def url(self, secret: str = "hunter2hunter2", path: str = "/hook") -> str:
        """Its apprise address, with a password in it."""
        return f"json://ops:{secret}@127.0.0.1:{self.port}{path}"

    def counts(self) -> Counter[str]:
        """How often each event was taken."""
        return Counter(str(body["event"]) for body in self.taken)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
