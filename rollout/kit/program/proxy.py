"""The way out of a company's network: which proxy HTTPS_PROXY and NO_PROXY name, and a tunnel through it.

A proxy is only ever asked for a tunnel (CONNECT); TLS is spoken inside it with the host itself, so the proxy sees
neither the key nor a number. This machine is never asked for through a proxy.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from typing import Callable, Mapping, NamedTuple  # noqa: UP035 - Python 3.8
from urllib.parse import unquote_to_bytes, urlsplit

PROXY_ADVICE = "write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT with special characters as %40"
LARGEST_HEAD = 65536  # bytes of a proxy's answer


class NoTunnel(OSError):
    """The proxy opened no way to the host."""


class Proxy(NamedTuple):
    """An HTTP proxy; `credentials` is the value of Proxy-Authorization, or empty."""

    host: str
    port: int
    credentials: str

    @property
    def place(self) -> str:
        """HOST:PORT, without user and password."""
        return place_of(self.host, self.port)


def place_of(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def variable(environ: Mapping[str, str], name: str) -> str:
    """A variable that people write in small or in large letters; the small ones win, as everywhere."""
    return (environ.get(name.lower()) or environ.get(name.upper()) or "").strip()


def is_this_machine(host: str) -> bool:
    """True if a host is this machine, by the name `localhost` or a literal address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy to reach this host by https; None: the direct way. Raises ValueError with what to write."""
    text = variable(environ, "HTTPS_PROXY")
    if not text or is_this_machine(host) or exception_for(host, port, environ):
        return None
    return parse_proxy(text)


def parse_proxy(text: str) -> Proxy:
    """HTTPS_PROXY's value. Raises ValueError, in which no part of the value appears."""
    if not re.fullmatch(r"[!-\[\]-~]+", text):
        raise ValueError(f"HTTPS_PROXY: it holds a space, a backslash or a control character; {PROXY_ADVICE}")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    if scheme.lower() != "http":
        raise ValueError(f"HTTPS_PROXY: only proxies reached by plain http are supported; {PROXY_ADVICE}")
    try:
        parts = urlsplit("http://" + rest)
        host, port = parts.hostname or "", 80 if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    else:
        if parts.path not in ("", "/") or "?" in rest or "#" in rest:
            host = ""
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or not port:
        raise ValueError(f"HTTPS_PROXY: it is not an address; {PROXY_ADVICE}")
    user, at, _ = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    secret = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return Proxy(host, port, "Basic " + base64.b64encode(secret).decode() if at else "")


def exception_for(host: str, port: int, environ: Mapping[str, str]) -> str:
    """The entry of NO_PROXY that names this host; empty if none does.

    An entry is `*`, a name (which stands for all names below it, with or without a dot before it), an address, or a
    network such as 10.0.0.0/8; each may end with :PORT.
    """
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in re.split(r"[,\s]+", variable(environ, "NO_PROXY")):
        text = entry.lower()
        try:
            network = ipaddress.ip_network(text.strip("[]"), strict=False)
        except ValueError:
            network = None
        if network is not None:
            if address is not None and address in network:
                return entry
            continue
        found = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?", text)
        if found is None or (found.group(2) and int(found.group(2)) != port):
            continue
        name = found.group(1).strip("[]").rstrip(".")
        name = name[2:] if name.startswith("*.") else name.lstrip(".")
        if name == "*" or host == name or (address is None and host.endswith("." + name)):
            return entry
    return ""


def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int, left: Callable[[], float]) -> None:
    """Have the proxy at the other end of a fresh socket connect it to the host.

    `left` gives the seconds that are left, and raises OSError when there are none. Raises NoTunnel, OSError.
    """
    place = place_of(host, port)
    head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: rollout\r\n"
    if proxy.credentials:
        head += f"Proxy-Authorization: {proxy.credentials}\r\n"
    sock.settimeout(left())
    sock.sendall(head.encode("ascii") + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        sock.settimeout(left())
        data = sock.recv(4096)
        answer += data
        if not data or len(answer) > LARGEST_HEAD:
            raise NoTunnel(
                "the proxy closed the connection without an answer" if not data else "the proxy's answer does not end"
            )
    found = re.match(rb"HTTP/1\.[01] (\d{3})[ \r]", answer)
    status = int(found.group(1)) if found else 0
    if status == 407:
        if proxy.credentials:
            raise NoTunnel("the proxy rejects the user name or the password (407); see HTTPS_PROXY")
        raise NoTunnel("the proxy asks for a user name and a password (407); " + PROXY_ADVICE)
    if not 200 <= status < 300:
        raise NoTunnel(f"the proxy refuses the connection ({status})" if status else "the proxy does not speak HTTP")
    if not answer.endswith(b"\r\n\r\n") or answer.count(b"\r\n\r\n") > 1:
        raise NoTunnel("the proxy sent more than its answer")  # inside the tunnel we speak first
