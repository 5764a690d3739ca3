"""A company's network for the tests: a proxy that opens tunnels, a private authority, and TLS before a plain server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.parts import need

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True)
class Authority:
    """A private certificate authority: `ca` is its certificate, `leaf` a host's certificate with its key."""

    ca: Path
    leaf: Path

    def wrap(self, sock: socket.socket) -> socket.socket:
        """The host's side of TLS on an accepted socket."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.leaf)
        return context.wrap_socket(sock, server_side=True)


def authority(folder: Path, host: str) -> Authority:
    """An authority made for this folder, and a certificate of its for one host."""
    openssl = need("openssl", "apt-get install openssl")

    def make(name: str, subject: str, *more: str) -> None:
        kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        command = [openssl, *kind, "-subj", f"/CN={subject}", *files, *more]
        subprocess.run(command, check=True, capture_output=True)

    make("ca", "A company's authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    signed = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
    end = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=DNS:{host}"]
    make("leaf", host, *signed, *end)
    both = folder / "both.pem"
    both.write_bytes((folder / "leaf.pem").read_bytes() + (folder / "leaf.key").read_bytes())
    return Authority(folder / "ca.pem", both)


@dataclass
class Listener:
    """Takes connections on a free port, each in a thread of its own, until it is closed."""

    _open: list[socket.socket] = field(default_factory=list, init=False)
    accepted: int = field(default=0, init=False)

    def serve(self, sock: socket.socket) -> None:
        """One connection, to its end."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)

    def drop_all(self) -> None:
        """Closes every open connection."""
        for sock in self._open[:]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._one, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(sock)
        self._open.remove(sock)


@dataclass
class TlsFront(Listener):
    """TLS before a plain server at `behind`."""

    authority: Authority
    behind: int

    def serve(self, sock: socket.socket) -> None:
        inside = self.authority.wrap(sock)
        with inside, socket.create_connection(("127.0.0.1", self.behind)) as there:
            _join(inside, there)


@dataclass
class Proxy(Listener):
    """Opens tunnels to the `places` it knows (HOST:PORT to a port here); keeps every byte that it was sent.

    `answer` replaces what it says to a CONNECT; `acts` has the connection to itself after the request.
    """

    places: Mapping[str, int] = field(default_factory=dict)
    answer: bytes = OPEN
    acts: Callable[[socket.socket], None] | None = None
    asked: list[str] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := sock.recv(4096)):
                return
            head += data
        self.heard += head
        self.asked.append(head.decode("latin-1"))
        if self.acts is not None:
            self.acts(sock)
            return
        port = self.places.get(head.split()[1].decode())
        if port is None:
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        sock.sendall(self.answer)
        if self.answer.startswith(b"HTTP/1.1 2"):
            with socket.create_connection(("127.0.0.1", port)) as there:
                _join(sock, there, self.heard)


def _join(here: socket.socket, there: socket.socket, heard: bytearray | None = None) -> None:
    """Carries bytes both ways until either side ends."""

    def back() -> None:
        _carry(there, here, None)

    thread = threading.Thread(target=back, daemon=True)
    thread.start()
    _carry(here, there, heard)
    thread.join(5)


def _carry(source: socket.socket, target: socket.socket, heard: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard += data
            target.sendall(data)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
