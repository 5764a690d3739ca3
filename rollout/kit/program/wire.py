"""One request to Retell, by the standard library alone, over within 15 seconds however slowly it drips.

Each request has a connection of its own: there is none that could have died while nobody looked. No redirect, no
hidden second try; a proxy is asked for a tunnel and for nothing else. Paths and statuses are those of Retell's
OpenAPI (get-phone-number, update-phone-number).
"""
# ruff: noqa: TID251 - a kit runs where rollout.adapters.clock is not

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from rollout.kit.program.proxy import is_this_machine, open_tunnel, proxy_for

DEADLINE = 15.0  # seconds, for one request in all
CONNECT = 5.0  # seconds for one of several addresses
LARGEST = 1 << 20  # bytes of an answer that are read
LONGEST_PAUSE = 300.0  # seconds; a longer Retry-After is cut to this


class NoAnswer(Exception):
    """No whole answer came. A write may have happened or may still happen."""


class Reply(NamedTuple):
    """A whole answer. `retry_after` is in seconds, None without such a header."""

    status: int
    body: bytes
    retry_after: float | None


class Origin(NamedTuple):
    """Retell's address."""

    secure: bool
    host: str
    port: int
    prefix: str
    authority: str


def origin(base_url: str) -> Origin:
    """The parts of a base URL. Raises ValueError unless it is https, or http on this machine."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.username is not None or parts.query or parts.fragment or not host:
        raise ValueError(f"base URL {base_url!r}: write https://HOST, without user, query or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(host)):
        raise ValueError(f"base URL {base_url!r} would send the API key in the clear: write https://HOST")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return Origin(secure, host, port, parts.path.rstrip("/"), parts.netloc)


class Retell:
    """A client that reads and writes one phone number at a time; may be used by several threads. Never logs the key."""

    def __init__(self, base_url: str, key: str) -> None:
        self.origin = origin(base_url)
        self._key = key
        self._tls = ssl.create_default_context() if self.origin.secure else None  # by SSL_CERT_FILE and _DIR
        here = self.origin
        self.proxy = proxy_for(here.host, here.port, os.environ) if here.secure else None
        self._known: list[tuple[int, Any]] = []

    def read(self, number: str) -> Reply:
        """GET the number. Raises NoAnswer."""
        return self._ask("GET", "/get-phone-number/" + quote(number, safe=""), None)

    def write(self, number: str, body: bytes) -> Reply:
        """PATCH the number, once. Raises NoAnswer."""
        return self._ask("PATCH", update_path(number), body)

    def _ask(self, method: str, path: str, body: bytes | None) -> Reply:
        until = time.monotonic() + DEADLINE
        headers = {
            "Host": self.origin.authority,
            "Authorization": "Bearer " + self._key,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "rollout-kit",
            "Connection": "close",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        sock = None
        try:
            sock = self._open(until)
            connection = http.client.HTTPConnection(self.origin.host, self.origin.port)
            timed: Any = _Timed(sock, until)
            connection.sock = timed
            connection.request(method, self.origin.prefix + path, body, headers)
            answer = connection.getresponse()
            text = answer.read(LARGEST)
            return Reply(answer.status, text, _seconds(answer.getheader("Retry-After")))
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(_plain(error)) from None
        finally:
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.close()

    def _open(self, until: float) -> socket.socket:
        """A connection to the first address that takes one, TLS included."""
        host, port = self.proxy[:2] if self.proxy else (self.origin.host, self.origin.port)
        failed: OSError = OSError(f"the name {host} was not found")

        def remaining() -> float:
            left = until - time.monotonic()
            if left <= 0:
                raise socket.timeout("timed out")  # noqa: UP041 - a class of its own before Python 3.10
            return min(CONNECT, left)

        for family, address in self._addresses(host, port, until):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(remaining())
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.proxy:
                    open_tunnel(sock, self.proxy, self.origin.host, self.origin.port, remaining)
                sock.settimeout(remaining())
                return self._tls.wrap_socket(sock, server_hostname=self.origin.host) if self._tls else sock
            except OSError as error:
                sock.close()
                failed = error
        raise failed

    def _addresses(self, host: str, port: int, until: float) -> list[tuple[int, Any]]:
        """The addresses behind the host. A lookup knows no time limit, so it has a thread of its own;
        when it fails or is late, the last good answer serves again: TLS still proves who answers."""
        if host == "localhost":  # never looked up: a hosts file may point it elsewhere
            return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]

        def look_up() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                self._known = [(family, at) for family, _, _, _, at in found] or self._known

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(min(CONNECT, until - time.monotonic()))
        return self._known


def update_path(number: str) -> str:
    """The path of a number's PATCH; the plus is written %2B."""
    return "/update-phone-number/" + quote(number, safe="")


class _Timed(io.RawIOBase):
    """A socket of which every wait ends at one moment: a limit for each wait would let an answer drip on."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        super().__init__()
        self._sock, self._until = sock, until

    def _in_time(self) -> socket.socket:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")  # noqa: UP041 - a class of its own before Python 3.10
        self._sock.settimeout(left)
        return self._sock

    def sendall(self, data: Any) -> None:
        self._in_time().sendall(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._in_time().recv_into(buffer)

    def close(self) -> None:
        """Do nothing: http.client closes before it has read, and the code that opened the socket closes it."""


def _seconds(text: str | None) -> float | None:
    """Retry-After: seconds or a date; None if there is none or it cannot be read."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip(), re.ASCII):
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _plain(error: Exception) -> str:
    """The error in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate could not be verified: {error.verify_message} (name your own certificates in SSL_CERT_FILE)"
    if isinstance(error, socket.timeout):
        return "no whole answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.HTTPException):
        return "the answer ended early or was not HTTP"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
