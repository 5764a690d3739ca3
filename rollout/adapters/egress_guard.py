"""The guard on addresses that plans name: the outside, by encrypted protocols, and no host inside the network.

A plan is written by many, the service stands inside: without this, a plan could make it talk to its
neighbours. The check sits where a connection is made (an audit hook of the interpreter sees every one, with
the address it really goes to), so a name that resolves twice, a redirect and a plugin's own ideas do not pass.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ENCRYPTED = _words(
    """
    https jsons xmls forms slack discord tgram workflows workflow gchat wxteams zulip pagerduty opsgenie pover
    squadcast incidentio spike betterstack twilio mailgun sendgrid ntfys gotifys mmosts rockets matrixs mailto
    mailtos
    """
)
# The same services in plain text, to a host that the address names.
_PLAIN = frozenset({"json", "xml", "form", "ntfy", "gotify", "mmost", "rocket", "matrix"})
# The arguments that a plan may give. Whatever is not here might read a file of this machine, turn a check off,
# make us wait, or call a failure a success; a new version of apprise may bring more of it.
_FOR_PLANS = _words(
    """
    action actions album alert alias api-version apikey auth avatar avatar_url batch bcc blocks botname cc channel
    channels class click component content dedup details detect emojis entity expire fields flags footer footer_logo
    format from group href icon_url id image interval key mdv metadata method mode msgtype name overflow pa pass
    ping policy powerautomate preview priority region reply route routeid severity sid sig silent smtp sound source
    sp sv tags team team_wait thread timestamp to token topic tts tz url url_title user ver version webhook
    workspace wrap xtags
    """
)
_MOST_RECEIVERS = 20  # of one address: a service is asked once a second or so for each
# Attributes of plugins that read files, wait, or hide a failure, with the argument that sets each.
_BUILT = {
    "retry": "retry",
    "optional": "optional",
    "template": "template",
    "attach": "attach",
    "use_pgp": "pgp",
    "include": "include",
    "keyfile": "keyfile",
    "subfile": "subfile",
}
_OWN_FIELDS = ("+", "-", ":")  # headers and fields of the receiver's own
# Files of installed programs; no other file is read while the address of a plan is built or used.
_OWN_FILES = tuple(
    str(Path(place).resolve()) + os.sep
    for place in (sys.prefix, sys.base_prefix, Path(__file__).parent, "/usr/share/zoneinfo", "/etc/ssl")
)
_SOCKET_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_REFUSED_EVENTS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "syslog.openlog", "syslog.syslog", "socket.bind"}
)


class Inside(OSError):
    """A connection that the address of a plan may not make."""


class Guard:
    """The rules while one notice for a plan's address is sent; `refused` says what was prevented."""

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
        elif event == "open":
            self._read(args[0])
        elif event in _REFUSED_EVENTS:
            self._refuse(f"it asks for {event}, but an address in a plan may only send")

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
            self._refuse("it asks for a local socket")
        elif host not in self._allowed and plain_host(host) not in self.hosts and inside(host):
            self._refuse(f"it leads to {host}, inside the network; only ROLLOUT_NOTIFY_HOSTS can allow that")

    def _read(self, path: object) -> None:
        if not isinstance(path, str | bytes):
            return  # a descriptor that is open already
        real = os.path.realpath(os.fsdecode(path))
        if real not in ("/dev/null", "/dev/urandom", "/etc/mime.types") and not real.startswith(_OWN_FILES):
            # Not noted as refused: libraries look for files of their own (.netrc) and work without them.
            raise Inside("it reads a local file")

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
    """True if an IP address is not one of the public internet: loopback, private, link-local, shared, multicast."""
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
        if ip.is_site_local:  # fec0::/10, which the standard library calls global
            return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved


def _is_inside(host: str) -> bool:
    """True if a host is written as an address inside the network; of names only a connection knows."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return inside(host)


def plain_host(host: str) -> str:
    """A host as it is compared: lower case, without the root's dot and without brackets."""
    return host.strip("[]").rstrip(".").lower()


def complaint(url: str, hosts: Iterable[str]) -> str | None:
    """The reason to refuse a plan's address, with what to write instead; None if it is acceptable."""
    try:
        parts = urlsplit(url)
        host = plain_host(parts.hostname or "")
    except ValueError:
        return "it is not a valid address; write it as apprise's documentation says"
    scheme = parts.scheme.lower()
    allowed = host in {plain_host(h) for h in hosts}
    if scheme in _PLAIN and not allowed:
        return f"{scheme}:// sends in plain text; write {scheme}s://, or have ROLLOUT_NOTIFY_HOSTS name its host"
    if scheme not in _ENCRYPTED | _PLAIN:
        return f"a plan may not use {scheme}://; put the address into ROLLOUT_NOTIFY_URLS"
    pairs = re.split("[&;]", parts.query) if parts.query else []
    return _argument_complaint(unquote(pair.partition("=")[0]) for pair in pairs)


def _argument_complaint(names: Iterable[str], built: Iterable[str] = ()) -> str | None:
    plain = {str(name).strip().lower() for name in names}
    refused = {name for name in plain if name[:1] not in _OWN_FIELDS and name not in _FOR_PLANS} | set(built)
    if not refused:
        return None
    listed = ", ".join(f"{name[:40]}=" for name in sorted(refused)[:5])
    return f"a plan may not give {listed}; put the address into ROLLOUT_NOTIFY_URLS"


def built_complaint(parsed: Mapping[str, Any], plugin: object, hosts: Iterable[str]) -> str | None:
    """As `complaint`, by what apprise has read and built of the address: it reads some texts otherwise than we do."""
    found, host = str(parsed.get("schema", "")).lower(), plain_host(str(parsed.get("host") or ""))
    allowed = host in {plain_host(h) for h in hosts}
    if not allowed and _is_inside(host):
        return f"it leads to {host}, inside the network; only ROLLOUT_NOTIFY_HOSTS can allow that"
    if found in _PLAIN and not allowed:
        return f"{found}:// sends in plain text; write {found}s://, or have ROLLOUT_NOTIFY_HOSTS name its host"
    if found not in _ENCRYPTED | _PLAIN:
        return f"a plan may not use {found}://; put the address into ROLLOUT_NOTIFY_URLS"
    built = [argument for name, argument in _BUILT.items() if getattr(plugin, name, None)]
    if (why := _argument_complaint(parsed.get("qsd") or (), built)) is not None:
        return why
    if str((parsed.get("qsd") or {}).get("mode", "")).lower() == "insecure":
        return "a plan may not give mode=insecure: it sends in plain text"
    receivers = len(plugin) if isinstance(plugin, Sized) else 1
    if receivers > _MOST_RECEIVERS:
        return f"it names {receivers} receivers, and a plan's address may name {_MOST_RECEIVERS}"
    return None
