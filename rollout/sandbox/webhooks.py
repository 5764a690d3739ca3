"""Optional webhooks: call_ended and call_analyzed, signed as Retell signs them, to a receiver on loopback.

Body `{"event", "call"}`; header `x-retell-signature: v=<ms>,d=<HMAC-SHA256 hex of body + ms>`; 10 s for an
answer, up to 3 retries (Retell's webhook pages and the SDK's webhook_auth). Redirects are not followed.
"""

import hashlib
import heapq
import hmac
import http.client
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from rollout.sandbox.clock import milliseconds, wall
from rollout.sandbox.conversations import Conversation
from rollout.sandbox.messages import dump

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT = 10.0
RETRIES = 3
PAUSE = 0.02
"""Real seconds between two looks for what is due."""


def signature(body: bytes, key: str, at_ms: int) -> str:
    """The value of `x-retell-signature`."""
    digest = hmac.new(key.encode(), body + str(at_ms).encode(), hashlib.sha256).hexdigest()
    return f"v={at_ms},d={digest}"


class Webhooks:
    """A queue of coming events and one thread that sends those that are due, in order."""

    def __init__(self, lock: threading.RLock, look: Callable[[], float]) -> None:
        self._lock = lock
        self._look = look
        self._due: list[tuple[float, int, str, Conversation]] = []
        self._count = 0
        self._target: tuple[str, int, str] | None = None
        self._key = ""
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.sent: list[dict[str, Any]] = []
        """Event, call id and the receiver's status (None: no answer) of each attempt."""

    def send_to(self, url: str, key: str) -> None:
        """Send events of calls that start from now on. Raises ValueError for a URL not on loopback."""
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK or parts.port is None:
            raise ValueError(f"url {url!r} is not on loopback: write http://127.0.0.1:PORT/path")
        if not key:
            raise ValueError("key is empty: write the key that the receiver checks the signature with")
        with self._lock:
            self._look()
            query = f"?{parts.query}" if parts.query else ""
            self._target, self._key = (str(parts.hostname), parts.port, (parts.path or "/") + query), key
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="sandbox-webhooks", daemon=True
                )
                self._thread.start()

    def expect(self, call: Conversation) -> None:
        """A call has started: its events will be due. Chats have events of other names and are left out."""
        if self._target is None or call.is_chat:
            return
        for at, event in ((call.end, "call_ended"), (call.analysed, "call_analyzed")):
            self._count += 1
            heapq.heappush(self._due, (at, self._count, event, call))

    def clear(self) -> None:
        """Send nothing more."""
        with self._lock:
            self._target = None
            self._due.clear()
            self.sent.clear()
            self._stop.set()
            self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(PAUSE):
            for event, call, body in self._take():
                if not stop.is_set():
                    self._deliver(event, call, body, stop)

    def _take(self) -> list[tuple[str, str, bytes]]:
        """Events that are due, with their bodies as of the time they are due."""
        with self._lock:
            now = self._look()
            taken = []
            while self._due and self._due[0][0] <= now:
                at, _, event, call = heapq.heappop(self._due)
                shown = call.to_json(at, transcript=True)
                if event == "call_ended":
                    shown.pop("call_analysis", None)
                taken.append((event, call.id, dump({"event": event, "call": shown})))
            return taken

    def _deliver(self, event: str, call_id: str, body: bytes, stop: threading.Event) -> None:
        for attempt in range(1 + RETRIES):
            with self._lock:
                target, key = self._target, self._key
            if target is None or (attempt and stop.wait(0.1 * 2**attempt)):
                return
            status = _post(target, body, key)
            with self._lock:
                self.sent.append({"event": event, "call_id": call_id, "status": status})
            if status is not None and 200 <= status < 300:
                return


def _post(target: tuple[str, int, str], body: bytes, key: str) -> int | None:
    """One attempt; the receiver's status, or None without an answer."""
    host, port, path = target
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        headers = {"content-type": "application/json", "x-retell-signature": signature(body, key, milliseconds(wall()))}
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
