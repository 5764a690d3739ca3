"""What the address of a plan may reach: the outside, by encrypted protocols, and no host inside the network.

A plan is written by many, the service stands inside: without this, a plan could make it talk to its
neighbours. The check sits where a connection is made (an audit hook of the interpreter sees every one, with
the address it really goes to), so a name that resolves twice, a redirect and a plugin's own ideas do not pass.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ENCRYPTED = frozenset({
    "https", "jsons", "xmls", "forms", "slack", "discord", "tgram", "workflows", "gchat", "wxteams",
    "zulip", "pagerduty", "opsgenie", "pover", "squadcast", "incidentio", "spike", "betterstack",
    "twilio", "mailgun", "sendgrid", "ntfys", "gotifys", "mmosts", "rockets", "matrixs", "mailto",
    "mailtos",
})  # fmt: skip
# The same services in plain text, to a host that the address names.
_PLAIN = frozenset({"json", "xml", "form", "ntfy", "gotify", "mmost", "rocket", "matrix"})
# Arguments that read files of this machine, turn checks off or make us wait.
_NOT_FOR_PLANS = frozenset({
    "template", "keyfile", "subfile", "pgp", "pgpkey", "verify", "redirect", "cto", "rto", "retry",
    "wait", "store", "optional", "include",
})  # fmt: skip
_SOCKET_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_REFUSED_EVENTS = frozenset(
    {
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "syslog.openlog",
        "syslog.syslog",
        "socket.bind",
    }
)


class Inside(OSError):
    """A connection that the address of a plan may not make."""


class Guard:
    """The rules while one notice for a plan's address is sent; `refused` says what it was kept from."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self.hosts = hosts
        self.refused: str | None = None
        self._allowed: set[str] = set()
        self._resolving = False

    def see(self, event: str, args: tuple[Any, ...]) -> None:
        """Called for every audit event under this guard; raises Inside to prevent it."""
        if event == "socket.getaddrinfo":
            self._resolve(args[0])
        elif event in _SOCKET_EVENTS:
            if args[1] is not None:
                self._check(args[1])
        elif event in _REFUSED_EVENTS:
            self._refuse(f"it asks for {event}, and the address of a plan only sends")

    def _resolve(self, host: object) -> None:
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if self._resolving or not isinstance(host, str) or plain_host(host) not in self.hosts:
            return
        self._resolving = True  # what is asked here is seen here again
        try:
            self._allowed |= {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
        finally:
            self._resolving = False

    def _check(self, address: object) -> None:
        host = address[0] if isinstance(address, tuple) and address else None
        if not isinstance(host, str):
            self._refuse("it asks for a socket of this machine")
        elif host not in self._allowed and plain_host(host) not in self.hosts and inside(host):
            self._refuse(f"it leads to {host}, inside the network; only ROLLOUT_NOTIFY_HOSTS can allow that")

    def _refuse(self, why: str) -> None:
        self.refused = why
        raise Inside(why)


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)
_installing = threading.Lock()
_installed = False


def _hook(event: str, args: tuple[Any, ...], _current: Any = _guard.get) -> None:
    guard = _current()
    if guard is not None:
        guard.see(event, args)


@contextmanager
def guarded(hosts: Iterable[str]) -> Iterator[Guard]:
    """In this block, and in this thread alone, nothing inside the network is connected to, save these hosts."""
    global _installed
    with _installing:
        if not _installed:
            sys.addaudithook(_hook)  # for the rest of the process; idle outside of such a block
            _installed = True
    guard = Guard(frozenset(plain_host(h) for h in hosts))
    token = _guard.set(guard)
    try:
        yield guard
    finally:
        _guard.reset(token)


def inside(address: str) -> bool:
    """Whether an IP address is not one of the public internet: loopback, private, link-local, shared, multicast."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True  # not an address: nothing is known of it
    if isinstance(ip, ipaddress.IPv6Address):
        for inner in (ip.ipv4_mapped, ip.sixtofour, ip.teredo[1] if ip.teredo else None):
            if inner is not None:
                return inside(str(inner))
        if ip in _NAT64:
            return inside(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return not ip.is_global or ip.is_multicast or ip.is_reserved


def plain_host(host: str) -> str:
    """A host as it is compared: lower case, without the root's dot and without brackets."""
    return host.strip("[]").rstrip(".").lower()


def complaint(url: str, hosts: Iterable[str]) -> str | None:
    """Why the address of a plan is not used, and what to write instead; None when nothing speaks against it."""
    try:
        parts = urlsplit(url)
        host = plain_host(parts.hostname or "")
    except ValueError:
        return "it cannot be read as an address; write it as apprise's documentation says"
    scheme = parts.scheme.lower()
    allowed = host in {plain_host(h) for h in hosts}
    if scheme in _PLAIN and not allowed:
        return (
            f"{scheme}:// sends in plain text; write {scheme}s://, or have ROLLOUT_NOTIFY_HOSTS name its host"
        )
    if scheme not in _ENCRYPTED | _PLAIN:
        return f"a plan may not use {scheme}://; put the address into ROLLOUT_NOTIFY_URLS"
    names = {name.lstrip("+-:").lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if refused := sorted(names & _NOT_FOR_PLANS):
        return f"a plan may not give {refused[0]}=; put the address into ROLLOUT_NOTIFY_URLS"
    return None
