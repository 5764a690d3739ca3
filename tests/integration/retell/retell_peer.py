"""A server of raw sockets for the client's tests: it can misbehave in every way a server can."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEY = "key_canary_5f3a91"
NUMBER = "+14157774444"
ENTRY = {"agent_id": "agent_abc", "agent_version": 7, "weight": 1}
BODY = json.dumps({"inbound_agents": [ENTRY]})


@dataclass
class Seen:
    """One request as it arrived; `connection` counts the connections from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def number(self) -> str:
        return self.path.rpartition("/")[2].replace("%2B", "+")


# Sends what it likes on the socket; False closes the connection.
Behaviour = Callable[[Seen, socket.socket], bool | None]


@dataclass
class Peer:
    """Listens on a free port; `behave` answers each request."""

    behave: Behaviour
    seen: list[Seen] = field(default_factory=list)
    accepted: int = 0
    idle_seconds: float = 30.0
    wrap: Callable[[socket.socket], socket.socket] | None = None
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Peer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drop_all(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        for sock in self._open[:]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def methods(self, method: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method]

    def _run(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(sock)
            self._run(self._serve, sock, self.accepted)

    def _serve(self, sock: socket.socket, index: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.wrap is not None:
                self._open.remove(sock)
                sock = self.wrap(sock)
                self._open.append(sock)
            sock.settimeout(self.idle_seconds)
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (data := sock.recv(65536)):
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                length = int(headers.get("content-length", "0"))
                while len(buffer) < length:
                    buffer += sock.recv(65536)
                method, path, _ = first.split(" ")
                seen = Seen(method, path, headers, buffer[:length], index, time.monotonic())
                buffer = buffer[length:]
                self.seen.append(seen)
                if self.behave(seen, sock) is False:
                    return
        except OSError:
            return
        finally:
            sock.close()


def http(body: object, status: int = 200, *headers: str, version: str = "HTTP/1.1", length: int | None = None) -> bytes:
    """A whole answer. Text and bytes go as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    size = len(data) if length is None else length
    lines = [f"{version} {status} Said", f"content-length: {size}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def shown(number: str = NUMBER, **fields: Any) -> dict[str, Any]:
    """A PhoneNumberResponse."""
    return {
        "phone_number": number,
        "phone_number_type": "custom",
        "nickname": "Front",
        "inbound_agents": [ENTRY],
        "last_modification_timestamp": 1_703_413_636_133,
    } | fields


def good(seen: Seen, sock: socket.socket) -> None:
    """Answers every request on a number as Retell does."""
    sock.sendall(http(shown(seen.number)))


def on(method: str, behaviour: Behaviour, otherwise: Behaviour = good) -> Behaviour:
    """This behaviour for one method, another for the rest."""
    return lambda seen, sock: (behaviour if seen.method == method else otherwise)(seen, sock)


def says(*answers: bytes) -> Behaviour:
    """These answers one after the other; the last one for ever."""
    left = list(answers)

    def behave(seen: Seen, sock: socket.socket) -> None:
        sock.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


def closes(seen: Seen, sock: socket.socket) -> bool:
    """Answers as Retell does and closes, as an HTTP/1.0 server."""
    sock.sendall(http(shown(seen.number), version="HTTP/1.0"))
    return False


def drops(seen: Seen, sock: socket.socket) -> bool:
    """Takes the request and closes without a byte."""
    return False


def drips(seen: Seen, sock: socket.socket) -> bool:
    """A good answer, one byte every 50 ms: each byte is in time, the whole never is."""
    for byte in http(shown(seen.number, nickname="x" * 200)):
        sock.sendall(bytes([byte]))
        time.sleep(0.05)
    return True


def until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    """Wait until the condition holds; fail after so many seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.005)
